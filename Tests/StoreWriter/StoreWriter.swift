import Glibc
import MartletIdentity
import MartletRuntime
import MartletStore
import MartletWire

/// A program that writes into a peer database, for tests that kill it or take its disk away. It prints a line for
/// everything that it has done.
///
///     StoreWriter batches DIRECTORY            batches of changes to twenty peers, numbered on, without an end
///     StoreWriter full DIRECTORY               fills a small disk under an open store, and makes room again
///     StoreWriter full-large DIRECTORY         the same with a database that is too large for a copy in memory
///     StoreWriter full-meanwhile DIRECTORY     the same, and makes room while the store is failing
///     StoreWriter no-memory DIRECTORY          takes SQLite's memory away for a while
///     StoreWriter full-first DIRECTORY         opens a store on a full disk, and makes room
@main
struct StoreWriter {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else { preconditionFailure("usage: StoreWriter SCENARIO DIRECTORY") }
        let environment = try SystemEnvironment(
            directory: arguments[2], log: Logger(subsystem: "test", sink: Silence(), levels: LogLevels(.critical)))
        let scenario = scenario(arguments[1])
        try await environment.loop.run { try await scenario(environment) }
        await environment.shutdown()
    }
}

private final class Silence: LogSink {
    func write(_ record: LogRecord) {}
}

private typealias Scenario = nonisolated(nonsending) @Sendable (SystemEnvironment) async throws -> Void

private func scenario(_ name: String) -> Scenario {
    switch name {
    case "batches": batches
    case "full": full
    case "full-large": fullLarge
    case "full-meanwhile": fullMeanwhile
    case "no-memory": noMemory
    case "full-first": fullFirst
    default: preconditionFailure("there is no \(name)")
    }
}

/// Prints at once: whoever reads it may kill this program the moment after.
private func say(_ text: String) {
    print(text)
    fflush(nil)
}

private func peer(_ number: Int) -> PeerID {
    let digits = Array(String(number).utf8)
    let hash = Bytes([0x12, 0x20] + digits + [UInt8](repeating: 0, count: 32 - digits.count))
    guard let peer = try? PeerID(bytes: hash.span) else { preconditionFailure("not a peer id") }
    return peer
}

private nonisolated(nonsending) func batches(_ environment: SystemEnvironment) async throws {
    let store = try await PeerStore.open(environment) { say("\($0)") }
    var sequence = try await store.peer(peer(0))?.summary.sequence ?? 0
    while true {
        sequence += 1
        for number in 0..<20 {
            store.record(
                .metadata(
                    PeerMetadata(
                        peer: peer(number), sequence: sequence,
                        record: Bytes([UInt8](repeating: UInt8(truncatingIfNeeded: sequence), count: 300)))))
        }
        try await store.flush()
        say("\(sequence)")
    }
}

private nonisolated(nonsending) func fill(_ environment: SystemEnvironment) async throws {
    for size in [65_536, 4096, 512] {
        let piece = Bytes([UInt8](repeating: 1, count: size))
        var isFull = false
        while !isFull {
            do {
                try await environment.files.append(piece, to: "filler")
            } catch FileError.full {
                isFull = true
            }
        }
    }
    say("filled")
}

private func record(_ numbers: Range<Int>, into store: PeerStore) {
    for number in numbers {
        store.record(
            .metadata(
                PeerMetadata(
                    peer: peer(number), sequence: 1, record: Bytes([UInt8](repeating: 7, count: 300)), name: "some")))
    }
}

private nonisolated(nonsending) func tryToFlush(_ store: PeerStore) async throws {
    do {
        try await store.flush()
        say("flushed")
    } catch {
        say("not flushed: \(error)")
    }
}

private nonisolated(nonsending) func reopen(_ environment: SystemEnvironment) async throws {
    let store = try await PeerStore.open(environment) { say("\($0)") }
    say("kept \(try await store.counts().peers)")
    try await store.close()
}

private nonisolated(nonsending) func full(_ environment: SystemEnvironment) async throws {
    let store = try await PeerStore.open(environment) { say("\($0)") }
    record(0..<50, into: store)
    try await tryToFlush(store)
    try await fill(environment)
    record(50..<2050, into: store)
    try await tryToFlush(store)
    say("known \(try await store.counts().peers)")
    record(2050..<2100, into: store)
    try await tryToFlush(store)
    say("known \(try await store.counts().peers)")
    try await environment.files.remove("filler")
    try await tryToFlush(store)
    say("known \(try await store.counts().peers)")
    try await store.close()
    try await reopen(environment)
}

private nonisolated(nonsending) func fullLarge(_ environment: SystemEnvironment) async throws {
    var limits = StoreLimits()
    limits.memorySize = 4096
    let store = try await PeerStore.open(environment, limits: limits) { say("\($0)") }
    record(0..<50, into: store)
    try await tryToFlush(store)
    try await fill(environment)
    record(50..<2050, into: store)
    try await tryToFlush(store)
    say("known \(try await store.counts().peers)")
    try await environment.files.remove("filler")
    try await tryToFlush(store)
    say("known \(try await store.counts().peers)")
    try await store.close()
    try await reopen(environment)
}

private nonisolated(nonsending) func fullMeanwhile(_ environment: SystemEnvironment) async throws {
    var limits = StoreLimits()
    limits.memorySize = 4096
    let (filler, loop) = ("\(CommandLine.arguments[2])/filler", environment.loop)
    let isOver = Signal(on: loop)
    var store: PeerStore!
    store = try await PeerStore.open(environment, limits: limits) { event in
        say("\(event)")
        guard case .failing = event else { return }
        // The store still looks at what it could do without the disk.
        unlink(filler)
        loop.spawn("flush") { [store] in
            if let store { try? await tryToFlush(store) }
            isOver.signal()
        }
    }
    record(0..<50, into: store)
    try await tryToFlush(store)
    try await fill(environment)
    record(50..<2050, into: store)
    try await tryToFlush(store)
    try await isOver.wait()
    say("known \(try await store.counts().peers)")
    try await store.close()
    try await reopen(environment)
}

/// SQLite's own bound on what it allocates in this process, in bytes; 0 for none.
@_silgen_name("sqlite3_hard_heap_limit64") private func limitHeap(_ bytes: Int64) -> Int64

private nonisolated(nonsending) func noMemory(_ environment: SystemEnvironment) async throws {
    let store = try await PeerStore.open(environment) { say("\($0)") }
    record(0..<50, into: store)
    try await tryToFlush(store)
    _ = limitHeap(1)
    record(50..<250, into: store)
    try await tryToFlush(store)
    _ = limitHeap(0)
    try await tryToFlush(store)
    say("known \(try await store.counts().peers)")
    try await store.close()
    try await reopen(environment)
}

private nonisolated(nonsending) func fullFirst(_ environment: SystemEnvironment) async throws {
    try await fill(environment)
    var limits = StoreLimits()
    limits.waiting = 1000
    let store = try await PeerStore.open(environment, limits: limits) { say("\($0)") }
    record(0..<1500, into: store)
    try await tryToFlush(store)
    say("known \(try await store.counts().peers), lost \(store.statistics.lost)")
    try await environment.files.remove("filler")
    try await tryToFlush(store)
    try await store.close()
    try await reopen(environment)
}
