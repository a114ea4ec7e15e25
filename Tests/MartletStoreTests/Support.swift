import CSQLite
import Foundation
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletStore
import MartletWire
import Testing

/// Somebody with a number.
func peer(_ number: Int) -> PeerID {
    let digits = Array(String(number).utf8)
    let hash = Bytes([0x12, 0x20] + digits + [UInt8](repeating: 0, count: 32 - digits.count))
    guard let peer = try? PeerID(bytes: hash.span) else { preconditionFailure("not a peer id") }
    return peer
}

func address(_ text: String) -> Multiaddr {
    guard let address = Multiaddr(text) else { preconditionFailure("\(text) is no address") }
    return address
}

/// The address of peer number `number` at port `port`.
func address(_ number: Int, port: Int = 4001) -> Multiaddr {
    address("/ip4/192.0.\(number / 250).\(number % 250 + 1)/udp/\(port)/quic-v1")
}

func metadata(
    _ number: Int, sequence: UInt64, record: Int = 16, name: String = "", capabilities: [String] = [],
    topics: [Bytes] = [], members: [Bytes] = [], services: [PeerService] = []
) -> PeerChange {
    .metadata(
        PeerMetadata(
            peer: peer(number), sequence: sequence, record: Bytes([UInt8](repeating: 7, count: record)), name: name,
            version: "1.0", type: "public", nat: "none", capabilities: capabilities, topics: topics,
            members: members, services: services))
}

/// A directory that is removed with this value.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "martlet-store-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

private final class Silence: LogSink {
    func write(_ record: LogRecord) {}
}

/// Runs `body` on the loop of an environment of this machine whose files are in `folder`.
func withEnvironment<Result: Sendable>(
    _ folder: Folder, _ body: nonisolated(nonsending) @Sendable @escaping (SystemEnvironment) async throws -> Result
) async throws -> Result {
    let environment = try SystemEnvironment(
        name: "test", directory: folder.path,
        log: Logger(subsystem: "test", sink: Silence(), levels: LogLevels(.critical)), watchdogLimit: nil)
    do {
        let result = try await environment.loop.run { try await body(environment) }
        await environment.shutdown()
        return result
    } catch {
        await environment.shutdown()
        throw error
    }
}

/// Runs `body` with a store in a folder of its own, which is closed afterwards.
func withStore<Result: Sendable>(
    limits: StoreLimits = StoreLimits(),
    _ body: nonisolated(nonsending) @Sendable @escaping (PeerStore) async throws -> Result
) async throws -> Result {
    let folder = try Folder()
    return try await withEnvironment(folder) { environment in
        let store = try await PeerStore.open(environment, limits: limits) { event in
            Issue.record("nothing should happen here: \(event)")
        }
        let result = try await body(store)
        try await store.close()
        return result
    }
}

/// What a store told.
final class Events {
    private(set) var all: [StoreEvent] = []

    func add(_ event: StoreEvent) { all.append(event) }
}

/// A database in the hands of someone who knows SQL.
final class ByHand {
    private let handle: OpaquePointer

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    init(_ path: String) throws {
        var handle: OpaquePointer?
        guard sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nil) == SQLITE_OK,
            let handle
        else { throw Failure(description: "\(path) cannot be opened") }
        self.handle = handle
    }

    deinit { sqlite3_close_v2(handle) }

    func run(_ sql: String) throws {
        guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else {
            throw Failure(description: String(cString: sqlite3_errmsg(handle)))
        }
    }

    /// The rows of a query, their columns joined by `|`.
    func rows(_ sql: String) throws -> [String] {
        var statement: OpaquePointer?
        guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else {
            throw Failure(description: String(cString: sqlite3_errmsg(handle)))
        }
        defer { sqlite3_finalize(statement) }
        var rows: [String] = []
        while sqlite3_step(statement) == SQLITE_ROW {
            let columns = (0..<sqlite3_column_count(statement)).map { column in
                sqlite3_column_text(statement, column).map { String(cString: $0) } ?? "NULL"
            }
            rows.append(columns.joined(separator: "|"))
        }
        return rows
    }
}

/// Runs `body` on a host of a simulated world, to its end.
func inWorld(
    seed: UInt64 = 1, within limit: Duration = .seconds(1000), _ prepare: (MartletSimulator.Host) -> Void = { _ in },
    _ body: nonisolated(nonsending) @escaping (SimulatedEnvironment) async throws -> Void
) throws -> MartletSimulator.Host {
    let world = World(seed: seed)
    let host = world.host("one", IPAddress(192, 0, 2, 1))
    prepare(host)
    var isDone = false
    host.start { environment in
        try await body(environment)
        isDone = true
    }
    try world.run(within: limit) { isDone }
    return host
}

/// What `body` throws, if it is a store's error.
nonisolated(nonsending) func failure(_ body: nonisolated(nonsending) () async throws -> Void) async -> StoreError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? StoreError
    }
}
