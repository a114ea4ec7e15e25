import BenchmarkHarness
import Foundation
import Martlet
import MartletRuntime
import MartletStore

/// `MartletStore`: what peers learnt a second go into a database on disk, and how fast they are found again.
var storeBenchmarks: [Benchmark] { [storeUpdates, storeSightings, storeMetadata, storeRead] }

/// Changes in one iteration: a batch.
private let batch = 1000
/// How many peers there are.
private let crowd = 10_000

/// Where the stores of this process are. They stay open until it ends, and then their files go.
private let folder: String = {
    atexit { try? FileManager.default.removeItem(atPath: folder) }
    return NSTemporaryDirectory() + "martlet-bench-\(getpid())"
}()

/// A new folder.
private func ownFolder() throws -> String {
    let path = folder + "/" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

/// A store on a disk of its own, with a crowd in it.
///
/// It is `@unchecked Sendable` because it is touched on the loop, and otherwise only while the loop is idle.
private final class Shelf: @unchecked Sendable {
    let bench: Bench
    private(set) var store: PeerStore!
    let peers: [PeerID]
    let addresses: [Multiaddr]
    private var next = 0
    private var sequence: UInt64 = 0

    init() throws {
        bench = try Bench(directory: try ownFolder())
        peers = try (0..<crowd).map { number in
            let digits = Array(String(number).utf8)
            let hash = Bytes([0x12, 0x20] + digits + [UInt8](repeating: 0, count: 32 - digits.count))
            return try PeerID(bytes: hash.span)
        }
        addresses = try (0..<crowd).map {
            try Multiaddr(parsing: "/ip4/10.0.\($0 / 250).\($0 % 250 + 1)/udp/4001/quic-v1")
        }
        bench.converse { [self] in
            store = try? await PeerStore.open(bench.environment)
            for number in 0..<crowd {
                learn(number)
                store.record(.connected(peers[number], addresses[number]))
            }
            try? await store.flush()
        }
        precondition(store?.trouble == nil && store?.statistics.written == 2 * crowd, "no store")
    }

    /// A new record of a peer, of the size that one with a few capabilities and a service has.
    func learn(_ number: Int) {
        sequence += 1
        store.record(
            .metadata(
                PeerMetadata(
                    peer: peers[number], sequence: sequence, record: Bytes([UInt8](repeating: 7, count: 400)),
                    name: "peer \(number)", version: "martlet/1.0", type: "public", nat: "unknown",
                    capabilities: ["relay", "store"], topics: [Bytes([UInt8](repeating: 3, count: 32))],
                    services: [PeerService(name: "web", port: 80, description: "pages")])))
    }

    /// Records what `record` does for each of so many peers in turn, and waits until all of it is in the file.
    func write(_ count: Int, _ record: @escaping @Sendable (Int) -> Void) {
        let first = next
        bench.converse { [self] in
            for start in stride(from: 0, to: count, by: batch) {
                for index in start..<min(start + batch, count) { record((first + index) % crowd) }
                do {
                    try await store.flush()
                } catch {
                    preconditionFailure("not written: \(error)")
                }
            }
        }
        next += count
    }
}

/// An update of a peer: it was connected at an address, its line was measured, and its score follows.
private var storeUpdates: Benchmark {
    Benchmark("store-peer-update", operations: batch) {
        let shelf = try Shelf()
        let sample = QualitySample(
            roundTrip: .milliseconds(20), jitter: .milliseconds(1), packets: 100, lost: 1, bytesIn: 1000,
            bytesOut: 1000, connected: .seconds(10))
        return { iterations in
            shelf.write(iterations * batch) { number in
                shelf.store.record([
                    .connected(shelf.peers[number], shelf.addresses[number]),
                    .quality(shelf.peers[number], sample),
                ])
            }
        }
    }
}

/// A newer metadata record of a peer, in the place of the older.
private var storeMetadata: Benchmark {
    Benchmark("store-metadata-update", operations: batch) {
        let shelf = try Shelf()
        return { iterations in shelf.write(iterations * batch) { shelf.learn($0) } }
    }
}

/// An address of a peer that somebody named again.
private var storeSightings: Benchmark {
    Benchmark("store-address-seen", operations: batch) {
        let shelf = try Shelf()
        return { iterations in
            shelf.write(iterations * batch) { number in
                shelf.store.record(.addresses(shelf.peers[number], [shelf.addresses[number]], .dht))
            }
        }
    }
}

/// All that is known of one peer among ten thousand, asked on the loop.
private var storeRead: Benchmark {
    Benchmark("store-peer-read", operations: 100) {
        let shelf = try Shelf()
        return { iterations in
            shelf.bench.converse {
                for number in 0..<iterations * 100 {
                    let found = try? await shelf.store.peer(shelf.peers[number * 7919 % crowd])
                    precondition(found != nil, "a peer is gone")
                }
            }
        }
    }
}
