"""A node of libtorrent's on loopback, for MainlineBenchmarks: libtorrent_node.py PORT…

It asks the nodes at these ports to enter its table. It prints its own port, then a line for each that comes in: how many
nodes its table holds.
"""
import sys
import libtorrent as lt

session = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "dht_bootstrap_nodes": "", "announce_to_all_trackers": False,
    # All nodes have one address here.
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False, "dht_ignore_dark_internet": False,
    # What would keep it from answering all that one address can ask. It multiplies these, in 32 bits.
    "dht_upload_rate_limit": 200_000_000, "dht_block_ratelimit": 100_000_000, "dht_block_timeout": 1,
    "alert_mask": 0,
})
while not (session.is_listening() and session.is_dht_running()):
    session.wait_for_alert(50)
    session.pop_alerts()
for port in sys.argv[1:]:
    session.add_dht_node(("127.0.0.1", int(port)))
print(session.listen_port(), flush=True)
for line in sys.stdin:
    session.post_dht_stats()
    while True:
        session.wait_for_alert(1000)
        stats = [alert for alert in session.pop_alerts() if type(alert).__name__ == "dht_stats_alert"]
        if stats:
            print(sum(bucket["num_nodes"] for bucket in stats[0].routing_table), flush=True)
            break
