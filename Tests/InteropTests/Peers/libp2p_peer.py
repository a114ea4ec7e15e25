"""A py-libp2p peer for Martlet's tests: prints one JSON object a line.

  libp2p_peer.py listen MULTIADDR            answers identify, ping, /echo, /half and /reset, and tells how /watch ends
  libp2p_peer.py dial MULTIADDR TASK...      does the tasks: identify, ping, echo, half, reset, watch-reset, wrong-peer

Over TCP it speaks Noise, or TLS alone where the first argument is --tls.
"""
import hashlib
import json
import sys

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING
from libp2p.host.ping import perform_ping_roundtrip
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.network.stream.exceptions import StreamEOF, StreamError
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.security.tls.transport import PROTOCOL_ID as TLS
from libp2p.security.tls.transport import TLSTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils.varint import read_length_prefixed_protobuf
from multiaddr import Multiaddr

ECHO, HALF, RESET, WATCH = (TProtocol(name) for name in ("/echo", "/half", "/reset", "/watch"))
SIZE = 10 * 1000 * 1000
USES_TLS = sys.argv[1] == "--tls"
ARGUMENTS = sys.argv[2:] if USES_TLS else sys.argv[1:]


def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def make_host(address):
    keys = create_new_key_pair()
    if USES_TLS:
        security = {TLS: TLSTransport(keys)}
    else:
        security = {NOISE: Noise(keys, noise_privkey=create_x25519().private_key)}
    return new_host(
        key_pair=keys,
        sec_opt=security,
        muxer_opt={TProtocol(YAMUX): Yamux},
        listen_addrs=[Multiaddr(address)],
    )


async def read(stream):
    """
    The next piece; nothing at the end, which some of py-libp2p's streams raise.

    Its QUIC streams look into their buffer, wait for a lock, and then look whether the stream has ended: a piece that
    comes meanwhile, in one packet with the end, is missed, and found at the second try.
    """
    for _ in range(2):
        try:
            return await stream.read(65536)
        except StreamEOF:
            pass
    return b""


async def end_of(stream):
    """Reads to the end, and says how many bytes came and what the end was."""
    count = 0
    try:
        while piece := await read(stream):
            count += len(piece)
        return count, "end"
    except StreamError as error:
        return count, type(error).__name__
    except Exception as error:
        return count, "error " + repr(error)[:200]


async def can_write(stream):
    """Whether the other direction lives on: py-libp2p takes a reset that a reader waits for to be an end."""
    try:
        await stream.write(b"x")
        return True
    except Exception:
        return False


def serve(host):
    async def echo(stream):
        while piece := await read(stream):
            await stream.write(piece)
        await stream.close()

    async def half(stream):
        # The other side has ended its direction before this one says anything.
        count, end = await end_of(stream)
        await stream.write(f"{count} {end}".encode())
        await stream.close()

    async def reset(stream):
        await stream.read(1)
        await stream.reset()

    async def watch(stream):
        count, end = await end_of(stream)
        tell("watched", count=count, end=end, writable=await can_write(stream))

    for name, handler in ((ECHO, echo), (HALF, half), (RESET, reset), (WATCH, watch)):
        host.set_stream_handler(name, handler)


async def listen(address):
    host = make_host(address)
    async with host.run(listen_addrs=[Multiaddr(address)]):
        serve(host)
        peer = str(host.get_id())
        addresses = [str(item) for item in host.get_addrs()]
        tell("listening", peer=peer, addresses=[a if "/p2p/" in a else f"{a}/p2p/{peer}" for a in addresses])
        # Ends with the one who started it.
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


async def identify(host, peer):
    stream = await host.new_stream(peer, [IDENTIFY])
    message = parse_identify_response(await read_length_prefixed_protobuf(stream, use_varint_format=True))
    await stream.close()
    tell(
        "identify",
        agent=message.agent_version,
        protocols=list(message.protocols),
        listen=[str(Multiaddr(item)) for item in message.listen_addrs],
        observed=str(Multiaddr(message.observed_addr)),
        signed=len(message.signedPeerRecord),
    )


async def ping(host, peer):
    stream = await host.new_stream(peer, [PING])
    for _ in range(5):
        await perform_ping_roundtrip(stream)
    await stream.close()
    tell("ping", answered=5)


async def echo(host, peer):
    stream = await host.new_stream(peer, [ECHO])
    data = hashlib.shake_256(b"echo").digest(SIZE)
    received = bytearray()

    async def send():
        for start in range(0, SIZE, 16384):
            await stream.write(data[start : start + 16384])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while len(received) < SIZE and (piece := await read(stream)):
            received += piece
    await stream.close()
    tell("echo", unharmed=bytes(received) == data)


async def half(host, peer):
    stream = await host.new_stream(peer, [HALF])
    await stream.write(b"hello")
    await stream.close_write() if hasattr(stream, "close_write") else await stream.close()
    tell("half", answer=(await read(stream)).decode())


async def reset(host, peer):
    stream = await host.new_stream(peer, [RESET])
    await stream.write(b"x")
    count, end = await end_of(stream)
    tell("reset", count=count, end=end, writable=await can_write(stream))


async def watch_reset(host, peer):
    stream = await host.new_stream(peer, [WATCH])
    await stream.write(b"hello")
    # What is written must be there before the reset, which may overtake it.
    await stream.read(1)
    await stream.reset()
    tell("watch-reset")


TASKS = {"identify": identify, "ping": ping, "echo": echo, "half": half, "reset": reset, "watch-reset": watch_reset}


async def dial(address, tasks):
    target = info_from_p2p_addr(Multiaddr(address))
    own = "/ip4/127.0.0.1/udp/0/quic-v1" if "quic-v1" in address else "/ip4/127.0.0.1/tcp/0"
    host = make_host(own)
    async with host.run(listen_addrs=[Multiaddr(own)]):
        if tasks == ["wrong-peer"]:
            other = make_host(own).get_id()
            try:
                await host.connect(PeerInfo(other, target.addrs))
                tell("wrong-peer", refused=False)
            except Exception:
                tell("wrong-peer", refused=True)
            return
        await host.connect(target)
        tell("connected", peer=str(target.peer_id))
        for task in tasks:
            with trio.fail_after(60):
                await TASKS[task](host, target.peer_id)
        tell("done")


if ARGUMENTS[0] == "listen":
    trio.run(listen, ARGUMENTS[1])
else:
    trio.run(dial, ARGUMENTS[1], ARGUMENTS[2:])
