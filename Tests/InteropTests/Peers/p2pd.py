"""A client of go-libp2p-daemon's control socket, as far as the tests need it (its protocol: proto/p2pd.proto)."""
import ipaddress
import os
import socket
import struct
import subprocess
import threading
import time

from confined import end_with_parent

IDENTIFY, CONNECT, OPEN, HANDLE = 0, 1, 2, 3


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def read_varint(data, at=0):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def message(*fields):
    """A message of protobuf. A field is (number, value): an int, a text, bytes, or a list of them."""
    out = b""
    for number, values in fields:
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += varint(number << 3) + varint(value)
            else:
                data = value.encode() if isinstance(value, str) else value
                out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def fields(data):
    """The fields of a message of protobuf, each with all its values."""
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7}")
        found.setdefault(key >> 3, []).append(value)
    return found


ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(text):
    number = 0
    for digit in text:
        number = number * 58 + ALPHABET.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


# The protocols of addresses that the tests meet (multiformats' table), and the sizes of their values in bytes.
PROTOCOLS = {"ip4": (4, 4), "tcp": (6, 2), "ip6": (41, 16), "udp": (273, 2), "unix": (400, None), "p2p": (421, None)}
PROTOCOLS["quic-v1"] = (461, 0)
NAMES = {code: (name, size) for name, (code, size) in PROTOCOLS.items()}


def address(text):
    """The bytes of an address."""
    if text.startswith("/unix/"):
        path = text[5:].encode()
        return varint(400) + varint(len(path)) + path
    out, parts = b"", iter(text[1:].split("/"))
    for name in parts:
        code, size = PROTOCOLS[name]
        out += varint(code)
        if size == 0:
            continue
        value = next(parts)
        if name in ("ip4", "ip6"):
            out += ipaddress.ip_address(value).packed
        elif name == "p2p":
            peer = from_base58(value)
            out += varint(len(peer)) + peer
        else:
            out += struct.pack(">H", int(value))
    return out


def address_text(data):
    text, at = "", 0
    while at < len(data):
        code, at = read_varint(data, at)
        name, size = NAMES[code]
        text += "/" + name
        if size is None:
            size, at = read_varint(data, at)
        value, at = data[at : at + size], at + size
        if name in ("ip4", "ip6"):
            text += f"/{ipaddress.ip_address(value)}"
        elif name == "p2p":
            text += "/" + base58(value)
        elif size:
            text += f"/{struct.unpack('>H', value)[0]}"
    return text


def exactly(connection, size):
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return bytes(data)


def delimited(connection):
    """A message that its length goes before."""
    size = exactly(connection, 1)
    while size[-1] > 0x7F:
        size += exactly(connection, 1)
    return exactly(connection, read_varint(size)[0])


class Daemon:
    """A running p2pd, with its socket in `folder`."""

    def __init__(self, program, folder, addresses):
        self.folder = folder
        self.socket = os.path.join(folder, "control")
        command = [program, "-listen", f"/unix{self.socket}", "-hostAddrs", ",".join(addresses)]
        log = open(os.path.join(folder, "log"), "w")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_parent)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.peer, self.addresses = self.identify()
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("p2pd did not start: " + open(log.name).read()[-1000:])
                time.sleep(0.01)

    def request(self, kind, *more):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(self.socket)
        body = message((1, kind), *more)
        connection.sendall(varint(len(body)) + body)
        answer = fields(delimited(connection))
        if answer[1][0] != 0:
            connection.close()
            raise RuntimeError(fields(answer[2][0])[1][0].decode())
        return connection, answer

    def identify(self):
        connection, answer = self.request(IDENTIFY)
        connection.close()
        own = fields(answer[4][0])
        return base58(own[1][0]), [address_text(item) for item in own[2]]

    def connect(self, peer, at):
        self.request(CONNECT, (2, message((1, from_base58(peer)), (2, address(at)), (3, 20))))[0].close()

    def open(self, peer, protocol):
        """A stream, as a socket. Its two directions end together: the daemon's pipe knows no half-close."""
        return self.request(OPEN, (3, message((1, from_base58(peer)), (2, protocol), (3, 20))))[0]

    def handle(self, protocol, body):
        """Runs `body` with the socket of each stream of `protocol`, on a thread of its own."""
        path = os.path.join(self.folder, protocol.strip("/"))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        self.request(HANDLE, (4, message((1, address(f"/unix{path}")), (2, protocol), (3, 0))))[0].close()

        def run(connection):
            with connection:
                delimited(connection)  # Which stream it is.
                body(connection)

        def accept():
            while True:
                threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
