"""A rust-libp2p peer for Martlet's tests: lattica, in a network of its own.

  rust_libp2p_peer.py PEERS FOLDER    PEERS is where the peers were unpacked; FOLDER is for what it writes

It does what lines tell it: listen (over TCP with Noise, and QUIC), or dial PEER ADDRESS, which it can at its start
alone, so it is one or the other, once; then pinged PEER, which waits for the answer to its own ping, and about PEER,
which tells what identify brought.

It keeps no peer that identifies itself with another `protocolVersion` than its own. To those it keeps it opens as many
streams as it can, so tests are short.
"""
import os
import sys
import time

from confined import confine, serve, tell

confine()
sys.path.insert(0, os.path.join(sys.argv[1], "lattica"))
from lattica import Lattica  # noqa: E402

FOLDER = sys.argv[2]
# In a network of its own every port is free.
PORT = 4001
VERSION = "/martlet-interop"
node = None


def start(bootstraps):
    global node
    builder = Lattica.builder().with_protocol(VERSION).with_idle_timeout(300)
    builder.with_listen_addrs([f"/ip4/127.0.0.1/tcp/{PORT}", f"/ip4/127.0.0.1/udp/{PORT}/quic-v1"])
    builder.with_mdns(False).with_upnp(False).with_autonat(False).with_dcutr(False)
    for name, option in (("store", "with_storage_path"), ("dht", "with_dht_db_path"), ("key", "with_key_path")):
        getattr(builder, option)(os.path.join(FOLDER, name))
    if bootstraps:
        builder.with_bootstraps(bootstraps)
    node = builder.build()


def listen():
    start([])
    own = node.peer_id()
    roads = (f"tcp/{PORT}", f"udp/{PORT}/quic-v1")
    return dict(peer=own, addresses=[f"/ip4/127.0.0.1/{road}/p2p/{own}" for road in roads])


def dial(peer, at):
    start([f"{at}/p2p/{peer}"])
    return dict(peer=node.peer_id())


def about(peer):
    info = node.get_peer_info(peer)
    return dict(agent=info.agent_version, protocols=info.protocols, listen=info.listen_addresses)


def pinged(peer):
    """The round trip to `peer` in microseconds. The library tells no events, so it is asked again and again."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return dict(microseconds=int(node.get_peer_rtt(peer) * 1e6))
        except (RuntimeError, TypeError):
            time.sleep(0.01)
    raise TimeoutError("no answer to a ping")


tell("ready")
serve({"listen": listen, "dial": dial, "about": about, "pinged": pinged})
