import MartletIdentity
import MartletRuntime
import MartletWire
import Testing

@testable import MartletStore

@Suite("Readers of the peer store")
struct ReaderTests {
    @Test("readers that ask while a writer writes see no batch by half, and neither waits for the other")
    func wholeBatches() async throws {
        var limits = StoreLimits()
        limits.batch = 50
        let (answers, seen) = try await withStore(limits: limits) { store in
            let loop = store.environment.loop
            var isWriting = true
            var answers = 0
            var seen: Set<UInt64> = []
            let readers = (0..<3).map { number in
                loop.spawn {
                    var last: UInt64 = 0
                    while isWriting {
                        if number == 0 {
                            // Several statements, and yet of one moment.
                            let details = try? await store.peer(peer(7))
                            #expect(details?.summary.sequence == details?.metadata.first?.sequence)
                            #expect(details?.addresses.count == details?.summary.addresses)
                            continue
                        }
                        let peers = (try? await store.peers()) ?? []
                        let sequences = Set(peers.map(\.sequence))
                        #expect(sequences.count <= 1 && [0, 50].contains(peers.count))
                        let sequence = (sequences.first ?? nil) ?? 0
                        #expect(sequence >= last)
                        last = sequence
                        seen.insert(sequence)
                        answers += 1
                    }
                }
            }
            for sequence in 1...60 as ClosedRange<UInt64> {
                // As many as a batch has, so that each batch is all of one number.
                for number in 0..<50 { store.record(metadata(number, sequence: sequence)) }
                try await store.flush()
            }
            isWriting = false
            for reader in readers { await reader.value }
            #expect(store.statistics.batches == 60)
            return (answers, seen.count)
        }
        #expect(answers > 50 && seen > 10, "\(answers) answers, \(seen) different")
    }

    @Test("a reader that is cancelled leaves the store as it was")
    func cancelled() async throws {
        try await withStore { store in
            for number in 0..<2000 { store.record(.addresses(peer(number), [address(number)], .dht)) }
            try await store.flush()
            for _ in 0..<20 {
                let reader = store.environment.loop.spawn { _ = try? await store.peers() }
                await Task.yield()
                reader.cancel()
                await reader.value
            }
            let flush = store.environment.loop.spawn { #expect(await failure { try await store.flush() } == nil) }
            flush.cancel()
            await flush.value
            #expect(try await store.peers().count == 1000)
            #expect(try await store.peers(matching: PeerQuery(limit: .max)).count == 2000)
        }
    }

    @Test("what was recorded when the store is closed in the middle of its work is written")
    func closedEarly() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            for number in 0..<5000 { store.record(.seen(peer(number))) }
            let flush = environment.loop.spawn { try? await store.flush() }
            await Task.yield()
            for number in 5000..<6000 { store.record(.seen(peer(number))) }
            try await store.close()
            await flush.value
            store.record(.seen(peer(9999)))
            let again = try await PeerStore.open(environment)
            #expect(try await again.counts().peers == 6000)
            try await again.close()
        }
    }

    @Test("an environment that is shut down under an open store ends it")
    func shutDown() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            store.record(.seen(peer(1)))
            try await store.flush()
            store.record(.seen(peer(2)))
        }
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            #expect(try await store.peer(peer(1)) != nil)
            try await store.close()
        }
    }
}
