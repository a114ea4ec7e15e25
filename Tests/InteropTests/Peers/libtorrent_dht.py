"""A private Mainline DHT of libtorrent sessions on loopback, for LibtorrentTests.

    libtorrent_dht.py COUNT

Prints one JSON object a line: first {"ports": [...]}, then an answer for each command that comes in, and what was found.
Commands, one a line, words separated by blanks; NODE is a session's number:

    announce NODE INFOHASH PORT      find NODE INFOHASH
    put NODE TEXT                    get NODE TARGET
    mput NODE SEED PUBLIC SALT TEXT  mget NODE PUBLIC SALT
    know NODE PORT                   tells the session of a node on loopback
    live NODE ID                     the nodes of the table of the session with this id
    stop NODE
"""
import hashlib
import json
import select
import sys
import libtorrent as lt

SETTINGS = {
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "dht_bootstrap_nodes": "", "announce_to_all_trackers": False,
    # All nodes have one address here, which in public only an attacker would.
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False, "dht_ignore_dark_internet": False,
    "dht_upload_rate_limit": 100_000_000, "dht_block_ratelimit": 10_000_000, "dht_block_timeout": 1,
    "alert_mask": int(lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification
                      | lt.alert.category_t.error_notification),
}


def out(**fields):
    print(json.dumps(fields), flush=True)


def expanded(seed):
    """The 64 bytes that libtorrent calls a private key."""
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] &= 63
    digest[31] |= 64
    return bytes(digest)


def sha1(text):
    return lt.sha1_hash(bytes.fromhex(text))


def text_of(item):
    value = item.get("value", item) if isinstance(item, dict) else item
    return value.decode() if isinstance(value, bytes) else str(value)


def report(number, alert):
    name = type(alert).__name__
    if name == "dht_get_peers_reply_alert":
        out(event="peers", node=number, infohash=str(alert.info_hash), peers=["%s:%d" % p for p in alert.peers()])
    elif name == "dht_immutable_item_alert":
        try:
            out(event="item", node=number, target=str(alert.target), value=text_of(alert.item))
        except Exception as error:
            out(event="nothing", node=number, error=repr(error))
    elif name == "dht_mutable_item_alert":
        try:
            out(event="mutable", node=number, value=text_of(alert.item), seq=alert.seq)
        except Exception as error:
            out(event="nothing", node=number, error=repr(error))
    elif name == "dht_put_alert":
        out(event="put", node=number, stored=alert.num_success)
    elif name == "dht_live_nodes_alert":
        nodes = [str(node["endpoint"] if isinstance(node, dict) else node) for node in alert.nodes]
        out(event="live", node=number, nodes=nodes)
    elif name == "listen_failed_alert":
        out(event="error", node=number, message=alert.message())


def obey(sessions, words):
    verb, session = words[0], sessions[int(words[1])]
    if verb == "announce":
        session.dht_announce(sha1(words[2]), int(words[3]), 0)
    elif verb == "find":
        session.dht_get_peers(sha1(words[2]))
    elif verb == "put":
        out(event="target", target=str(session.dht_put_immutable_item(words[2].encode())))
    elif verb == "get":
        session.dht_get_immutable_item(sha1(words[2]))
    elif verb == "mput":
        private, public = expanded(bytes.fromhex(words[2])), bytes.fromhex(words[3])
        session.dht_put_mutable_item(private, public, words[5].encode(), words[4].encode())
    elif verb == "mget":
        session.dht_get_mutable_item(bytes.fromhex(words[2]), words[3].encode())
    elif verb == "know":
        session.add_dht_node(("127.0.0.1", int(words[2])))
    elif verb == "live":
        session.dht_live_nodes(sha1(words[2]))
    elif verb == "stop":
        session.stop_dht()
        session.pause()


def main():
    sessions = [lt.session({**SETTINGS, "listen_interfaces": "127.0.0.1:0"}) for _ in range(int(sys.argv[1]))]
    while not all(session.is_listening() and session.is_dht_running() for session in sessions):
        for session in sessions:
            session.wait_for_alert(100)
            session.pop_alerts()
    ports = [session.listen_port() for session in sessions]
    for number, session in enumerate(sessions):
        for step in range(1, len(ports)):
            session.add_dht_node(("127.0.0.1", ports[(number + step) % len(ports)]))
    out(ports=ports)
    while True:
        for number, session in enumerate(sessions):
            for alert in session.pop_alerts():
                report(number, alert)
        if select.select([sys.stdin], [], [], 0.02)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            try:
                obey(sessions, line.split())
            except Exception as error:
                out(event="error", command=line.strip(), message=repr(error))


main()
