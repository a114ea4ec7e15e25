"""A go-libp2p peer for Martlet's tests: go-libp2p-daemon, in a network of its own.

  go_libp2p_peer.py PEERS FOLDER      PEERS is where the peers were unpacked; FOLDER is for what it writes

It listens over TCP and QUIC, speaks Noise and TLS, answers identify, ping and /echo, and does what lines tell it:
connect PEER ADDRESS, identify PEER, ping PEER, echo PEER SIZE, lost PEER COUNT.
"""
import os
import sys

from confined import comes_back, confine, echo, serve, tell
from p2pd import Daemon, address_text, delimited, exactly, fields

confine()
PROGRAM = os.path.join(sys.argv[1], "hivemind/hivemind/hivemind_cli/p2pd")
daemon = Daemon(PROGRAM, sys.argv[2], ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"])
daemon.handle("/echo", echo)


def identify(peer):
    with daemon.open(peer, "/ipfs/id/1.0.0") as stream:
        about = fields(delimited(stream))
    return dict(
        agent=about[6][0].decode(),
        version=about[5][0].decode(),
        protocols=[name.decode() for name in about[3]],
        observed=address_text(about[4][0]),
        signed=len(about.get(8, [b""])[0]),
    )


def ping(peer):
    with daemon.open(peer, "/ipfs/ping/1.0.0") as stream:
        for _ in range(5):
            data = os.urandom(32)
            stream.sendall(data)
            if exactly(stream, 32) != data:
                raise ValueError("other bytes came back")
    return dict(answered=5)


def echo_task(peer, size):
    with daemon.open(peer, "/echo") as stream:
        return dict(unharmed=comes_back(stream, int(size)))


def lost(peer, count):
    """
    How many of `count` answers to identify do not arrive.

    go-yamux (4.0.1 to 5.1.0, `readData`) acts on a frame's flags before the frame's data is in its buffer. A reader
    that is awake then sees the end of the stream and none of the data of a frame that bears FIN.
    """
    lost = 0
    for _ in range(int(count)):
        try:
            identify(peer)
        except EOFError:
            lost += 1
    return dict(lost=lost)


tell("listening", peer=daemon.peer, addresses=[f"{item}/p2p/{daemon.peer}" for item in daemon.addresses])
serve({"connect": daemon.connect, "identify": identify, "ping": ping, "echo": echo_task, "lost": lost})
