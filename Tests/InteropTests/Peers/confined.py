"""What the peers share that a test drives by lines: a network without a way out, commands, and answers in JSON."""
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import threading

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
PR_SET_PDEATHSIG, SIGKILL = 1, 9

# Libraries in this process print to descriptor 1 as they please. The test reads nothing but answers.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
_libc = ctypes.CDLL(None, use_errno=True)


def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), file=_answers, flush=True)


def confine():
    """Moves this process, while it has one thread, into a network that has a loopback interface and nothing else."""
    if _libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a network of its own takes root's rights")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def end_with_parent():
    """For a child: it is killed when this process is, however that ends."""
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL)


def serve(commands):
    """Does what each line of standard input says, and answers it with one line: the command's name, or `failed`."""
    for line in sys.stdin:
        name, *arguments = line.split()
        try:
            tell(name, **(commands[name](*arguments) or {}))
        except Exception as error:
            tell("failed", command=name, error=repr(error)[:300])
    os._exit(0)


def echo(connection):
    """Sends back what comes, until it ends."""
    while piece := connection.recv(65536):
        connection.sendall(piece)


def comes_back(connection, size):
    """Whether `size` bytes come back from `connection` unharmed. They are sent while they are read."""
    data = os.urandom(size)
    sender = threading.Thread(target=connection.sendall, args=(data,), daemon=True)
    sender.start()
    received = bytearray()
    while len(received) < size and (piece := connection.recv(65536)):
        received += piece
    sender.join(10)
    return bytes(received) == data
