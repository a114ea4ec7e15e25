#!/usr/bin/env python3
"""A small peer of the plain-text mesh, written from the protocol alone, on the standard library.

usage: mesh_peer.py PORT NAME [BOOTSTRAP...]

It listens on localhost, dials the bootstraps and whatever it is told of, says to everyone what it reads on standard
input, and writes what happens to standard output, one line each.
"""
import socket
import sys
import threading

lock = threading.Lock()
peers = {}  # (id, host) -> (socket, name, address)
dialled = set()


def report(*words):
    with lock:
        print(*words, flush=True)


def port_of(peer_id):
    return int(peer_id[5:]) if peer_id.startswith("peer-") and peer_id[5:].isdigit() else None


def host_of(connection):
    host = connection.getpeername()[0]
    return "localhost" if host.startswith("127.") else host


def send(connection, line):
    try:
        connection.sendall((line + "\n").encode())
    except OSError:
        pass


def known_peers(besides):
    with lock:
        return "PEERS:" + ",".join(sorted(address for key, (_, _, address) in peers.items() if key != besides and address))


def learn(text, teller):
    for address in filter(None, text.split(",")):
        host, _, port = address.rpartition(":")
        if host in ("localhost", "127.0.0.1"):
            host = teller
        if int(port) == own_port and host == "localhost":
            continue
        with lock:
            known = any(entry[2] == f"{host}:{port}" for entry in peers.values()) or (host, port) in dialled
            dialled.add((host, port))
        if not known:
            threading.Thread(target=dial, args=(host, int(port)), daemon=True).start()


def converse(connection, lines, key, shares):
    """Speaks with a connected peer until the end. A dialler asks for peers, and shares its own in return."""
    if shares:
        send(connection, "REQUEST_PEERS")
    for line in lines:
        line = line.rstrip("\r\n")
        if line == "PING":
            send(connection, "PONG")
        elif line == "PONG":
            report("PONG", key[0])
        elif line == "REQUEST_PEERS":
            send(connection, known_peers(key))
        elif line.startswith("PEERS:"):
            report("PEERS", key[0], line[6:])
            learn(line[6:], key[1])
            if shares:
                shares = False
                send(connection, known_peers(key))
        else:
            report("CHAT", peers[key][1], line)
    with lock:
        peers.pop(key, None)
    report("GONE", key[0])
    connection.close()


def lines_of(connection):
    return connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")


def accept(connection):
    lines = lines_of(connection)
    try:
        peer_id, _, name = lines.readline().rstrip("\r\n").partition(":")
        key = (peer_id, host_of(connection))
    except OSError:
        return connection.close()
    with lock:
        is_duplicate = key in peers or peer_id == own_id and key[1] == "localhost"
        if not is_duplicate:
            port = port_of(peer_id)
            peers[key] = (connection, name, f"{key[1]}:{port}" if port else None)
    if is_duplicate:
        send(connection, "DUPLICATE")
        return connection.close()
    send(connection, f"{own_id}:{own_name}")
    report("ACCEPTED", peer_id, name)
    converse(connection, lines, key, shares=False)


def dial(host, port):
    try:
        connection = socket.create_connection((host, port), timeout=10)
        connection.settimeout(None)
        send(connection, f"{own_id}:{own_name}")
        lines = lines_of(connection)
        answer = lines.readline().rstrip("\r\n")
    except OSError as error:
        return report("FAILED", f"{host}:{port}", error)
    if answer in ("DUPLICATE", "MAX_PEERS", ""):
        connection.close()
        return report("REFUSED", f"{host}:{port}", answer)
    peer_id, _, name = answer.partition(":")
    key = (peer_id, host_of(connection))
    with lock:
        is_duplicate = key in peers
        if not is_duplicate:
            peers[key] = (connection, name, f"{host}:{port}")
    if is_duplicate:
        return connection.close()
    report("DIALLED", peer_id, name)
    converse(connection, lines, key, shares=True)


own_port, own_name = int(sys.argv[1]), sys.argv[2]
listener = socket.create_server(("127.0.0.1", own_port))
own_port = listener.getsockname()[1]
own_id = f"peer-{own_port}"
report("LISTENING", own_port)


def serve():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=accept, args=(connection,), daemon=True).start()


threading.Thread(target=serve, daemon=True).start()
for bootstrap in sys.argv[3:]:
    learn(bootstrap, "localhost")
for line in sys.stdin:
    line = line.rstrip("\n")
    with lock:
        everyone = [connection for connection, _, _ in peers.values()]
    for connection in everyone:
        send(connection, line)
