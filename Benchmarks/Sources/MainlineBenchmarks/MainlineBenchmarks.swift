import CYardsticks
import Foundation
import Martlet
import MartletRuntime

/// A node of the DHT as a process of its own: how many questions it answers over loopback beside a node of libtorrent's
/// that is asked the same in the same run, and how much memory 100,000 announcements take.
///
///     swift build -c release --package-path Benchmarks
///     Benchmarks/.build/release/MainlineBenchmarks [rates | memory]
///
/// libtorrent is that of `.venv`, which `make setup` installs. Its `dht_upload_rate_limit` and `dht_block_ratelimit` are
/// raised out of the way, and our limits for each source are off: all questions come from one address.
@main
struct MainlineBenchmarks {
    private static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    private static let rounds = 7
    private static let roundSeconds = 1.0
    /// How many questions wait for an answer at once.
    private static let window: Int32 = 128

    static func main() async throws {
        let words = CommandLine.arguments.dropFirst()
        if words.first != "memory" { try await rates() }
        if words.first != "rates" { try await memory() }
    }

    /// The program that stands beside this one.
    private static func server(_ words: [String]) throws -> Server {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let program = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("MainlineServer")
        return try Server("martlet", program.path, words)
    }

    // MARK: Rates

    private static func rates() async throws {
        let population = try await Population(256)
        let ports = population.ports.map { "\($0)" }
        let ours = try server(["unlimited"] + ports)
        let theirs = try Server(
            "libtorrent", package.appendingPathComponent(".venv/bin/python").path,
            [package.appendingPathComponent("Benchmarks/Sources/MainlineBenchmarks/libtorrent_node.py").path] + ports)
        for _ in 0..<20 { try await Task.sleep(for: .milliseconds(250)) }
        print("nodes in the tables: martlet \(try ours.state()[0]), libtorrent \(try theirs.state()[0])")
        for (method, key, sources) in [
            ("find_node", "target", Int32(1)), ("find_node", "target", window), ("get_peers", "info_hash", 1),
            ("get_peers", "info_hash", window),
        ] {
            let questions = questions(method, key)
            let name = "\(method) from \(sources) \(sources == 1 ? "socket" : "sockets")"
            var rates: [[Double]] = [[], []]
            var sizes: [Int] = [0, 0]
            var lost = [0, 0]
            var answers = [0, 0]
            let computed = [ours.computed, theirs.computed]
            for _ in 0..<rounds {
                for (number, server) in [ours, theirs].enumerated() {
                    let asked = try ask(server.port, questions, from: sources)
                    rates[number].append(Double(asked.answers) / asked.seconds)
                    sizes[number] = asked.bytes / max(1, asked.answers)
                    lost[number] += asked.lost
                    answers[number] += asked.answers
                }
            }
            for (number, server) in [ours, theirs].enumerated() {
                let sorted = rates[number].sorted()
                let each = (server.computed - computed[number]) * 1e6 / Double(answers[number])
                print(
                    "\(name), \(server.name): median \(Int(sorted[rounds / 2])) answers a second "
                        + "(\(Int(sorted[0])) to \(Int(sorted[rounds - 1]))), \(sizes[number]) bytes and "
                        + "\(String(format: "%.1f", each)) µs of a core each, \(lost[number]) unanswered")
            }
            let medians = rates.map { $0.sorted()[rounds / 2] }
            print("\(name): \(String(format: "%.2f", medians[0] / medians[1])) times libtorrent's rate")
        }
        await population.leave()
    }

    private static func ask(
        _ port: UInt16, _ questions: (bytes: [UInt8], sizes: [UInt16]), from sources: Int32
    ) throws -> yardstick_asked {
        var asked = yardstick_asked()
        let count = Int32(questions.sizes.count)
        let error =
            sources == 1
            ? yardstick_ask(port, questions.bytes, questions.sizes, count, window, roundSeconds, &asked)
            : yardstick_ask_from_many(
                port, questions.bytes, questions.sizes, count, sources, roundSeconds, &asked)
        guard error == 0, asked.answers > 0 else { throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO) }
        return asked
    }

    /// 512 questions about what the generator says.
    private static func questions(_ method: String, _ key: String) -> (bytes: [UInt8], sizes: [UInt16]) {
        var random = SystemRandomNumberGenerator()
        let id = NodeID(using: &random)
        var bytes: [UInt8] = []
        var sizes: [UInt16] = []
        for number in UInt16(0)..<512 {
            let question = Question.encoded(
                method, [(key, .string(NodeID(using: &random).bytes))], id: id, transaction: number)
            bytes += question
            sizes.append(UInt16(question.count))
        }
        return (bytes, sizes)
    }

    // MARK: Memory

    private static let announcements = 100_000
    private static let perSource = 90

    /// Fills a node with its default limits with announcements, each of an infohash of its own, by as many hosts as the
    /// limits want. They are told apart by their addresses on loopback.
    private static func memory() async throws {
        let node = try server(["limited"])
        try await Task.sleep(for: .seconds(1))
        let empty = node.residentKiB
        let log = Logger(subsystem: "dht", sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.error))
        let environment = try SystemEnvironment(name: "announcers", log: log)
        let target = SocketAddress(.loopbackV4, port: node.port)
        var stored = 0
        var host: UInt32 = 0
        while stored < announcements {
            for _ in 0..<50 {
                host += 1
                let address = IPAddress(v4: 0x7F01_0000 + host)
                let count = min(perSource, announcements - stored)
                stored += try await environment.loop.run {
                    try await Announcer(address, environment).announce(count, to: target)
                }
            }
        }
        // The gauge is read once a second at most.
        try await Task.sleep(for: .seconds(3))
        let held = try node.state()[1]
        let full = node.residentKiB
        await environment.shutdown()
        print(
            "memory: \(full) KiB resident with \(held) announcements by \(host) hosts of as many infohashes, "
                + "\(empty) KiB without")
    }
}

/// A host that announces.
private final class Announcer {
    private let environment: SystemEnvironment
    private let socket: UDPSocket
    private var answers: [Bencode] = []

    init(_ address: IPAddress, _ environment: SystemEnvironment) throws {
        self.environment = environment
        socket = try environment.bindUDP(SocketAddress(address, port: 0), options: UDPOptions())
    }

    /// Announces so many infohashes, and says how many were stored.
    nonisolated(nonsending) func announce(_ count: Int, to node: SocketAddress) async throws -> Int {
        defer { socket.close() }
        let changed = Signal(on: environment.loop)
        socket.onDatagram = { [weak self] datagram in
            if let message = try? Bencode(Bytes(copying: datagram.bytes)) { self?.answers.append(message) }
            changed.signal()
        }
        var random = environment.random
        let id = NodeID(using: &random)
        func send(_ method: String, _ arguments: [(String, Bencode)]) {
            _ = socket.send(Bytes(Question.encoded(method, arguments, id: id, transaction: 1)).span, to: node)
        }
        send("get_peers", [("info_hash", .string(id.bytes))])
        while answers.isEmpty { try await changed.wait() }
        guard let token = answers.removeFirst()["r"]?["token"] else { return 0 }
        for _ in 0..<count {
            send(
                "announce_peer",
                [
                    ("info_hash", .string(NodeID(using: &random).bytes)), ("port", .integer(4001)), ("token", token),
                ])
        }
        var stored = 0
        var seen = 0
        // What its limits make it drop does not come at all.
        let deadline = environment.loop.now + .milliseconds(200)
        while seen < count, environment.loop.now < deadline {
            try await environment.loop.sleep(for: .milliseconds(1))
            for answer in answers where answer["q"] == nil {
                seen += 1
                if answer["r"] != nil { stored += 1 }
            }
            answers = []
        }
        return stored
    }
}

/// Questions of KRPC.
private enum Question {
    static func encoded(_ method: String, _ arguments: [(String, Bencode)], id: NodeID, transaction: UInt16) -> [UInt8]
    {
        let all = ([("id", .string(id.bytes))] + arguments).map { Bencode.Entry(Bytes(utf8: $0.0), $0.1) }
        let number = Bytes([UInt8(transaction >> 8), UInt8(transaction & 0xFF)])
        return Array(
            Bencode.dictionary([
                Bencode.Entry(Bytes(utf8: "a"), .dictionary(all)),
                Bencode.Entry(Bytes(utf8: "q"), .string(Bytes(utf8: method))),
                Bencode.Entry(Bytes(utf8: "t"), .string(number)),
                Bencode.Entry(Bytes(utf8: "y"), .string(Bytes(utf8: "q"))),
            ]).encoded())
    }
}
