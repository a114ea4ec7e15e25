import BenchmarkHarness
import Martlet

/// `MartletIdentity`: what every peer that is met costs.
var identityBenchmarks: [Benchmark] { [base58, decode, open] }

/// The text of a peer id.
private var base58: Benchmark {
    Benchmark("peer-id-base58") {
        var generator = SplitMix(state: 1)
        let peer = PeerID(PrivateKey.ed25519(using: &generator).publicKey)
        return { iterations in
            for _ in 0..<iterations { consume(peer.description) }
        }
    }
}

/// A peer record with three addresses, out of protobuf, without its signature.
private var decode: Benchmark {
    Benchmark("peer-record-decode") {
        let bytes = try record().record.encoded
        return { iterations in
            for _ in 0..<iterations { consume(try PeerRecord(bytes)) }
        }
    }
}

/// The same out of its envelope, with the signature checked. The yardstick is the check of the signature alone.
private var open: Benchmark {
    var generator = SplitMix(state: 1)
    let key = PrivateKey.ed25519(using: &generator)
    let message = Bytes([UInt8](repeating: 0xA5, count: 160))
    let signature = key.sign(message)
    let check = Benchmark.Yardstick.body("its signature") { iterations in
        for _ in 0..<iterations { consume(key.publicKey.isValid(signature, for: message)) }
    }
    return Benchmark("peer-record-open", yardstick: check) {
        let bytes = try record().envelope.bytes
        return { iterations in
            for _ in 0..<iterations { consume(try SignedPeerRecord(opening: bytes)) }
        }
    }
}

private func record() throws -> SignedPeerRecord {
    var generator = SplitMix(state: 1)
    let addresses = try ["/ip4/192.0.2.1/udp/4001/quic-v1", "/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001"]
        .map { try Multiaddr(parsing: $0) }
    return SignedPeerRecord(addresses: addresses, sequence: 1, signedWith: .ed25519(using: &generator))
}
