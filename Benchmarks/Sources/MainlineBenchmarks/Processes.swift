import Foundation
import Martlet
import MartletRuntime

/// Nodes that answer every question with their id and eight others of them, so that tables have somebody to hold.
// The sockets are made and used on the loop alone; the ports do not change afterwards.
final class Population: @unchecked Sendable {
    private let environment: SystemEnvironment
    private var sockets: [UDPSocket] = []
    private(set) var ports: [UInt16] = []
    private var ids: [NodeID] = []

    init(_ count: Int) async throws {
        let log = Logger(subsystem: "dht", sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.error))
        environment = try SystemEnvironment(name: "population", log: log)
        try await environment.loop.run { [self] in
            var random = environment.random
            for _ in 0..<count {
                let id = NodeID(using: &random)
                let socket = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
                socket.onDatagram = { [weak self, weak socket] datagram in
                    guard let self, let query = try? Bencode(Bytes(copying: datagram.bytes)), query["q"] != nil,
                        let transaction = query["t"]
                    else { return }
                    var nodes = Writer()
                    for _ in 0..<8 {
                        let other = Int(random.next(upperBound: UInt64(ids.count)))
                        nodes.bytes(ids[other].bytes)
                        nodes.address(.loopbackV4)
                        nodes.integer(ports[other])
                    }
                    let answer = Bencode.dictionary([
                        Bencode.Entry(
                            Bytes(utf8: "r"),
                            .dictionary([
                                Bencode.Entry(Bytes(utf8: "id"), .string(id.bytes)),
                                Bencode.Entry(Bytes(utf8: "nodes"), .string(nodes.finish())),
                                Bencode.Entry(Bytes(utf8: "token"), .string(Bytes(utf8: "token"))),
                            ])),
                        Bencode.Entry(Bytes(utf8: "t"), transaction),
                        Bencode.Entry(Bytes(utf8: "y"), .string(Bytes(utf8: "r"))),
                    ])
                    _ = socket?.send(answer.encoded().span, to: datagram.source)
                }
                sockets.append(socket)
                ports.append(socket.localAddress.port)
                ids.append(id)
            }
        }
    }

    func leave() async {
        await environment.shutdown()
        sockets = []
    }
}

/// A process that tells its port, and then answers lines.
final class Server {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var rest = Data()
    let name: String
    private(set) var port: UInt16 = 0

    init(_ name: String, _ program: String, _ arguments: [String]) throws {
        self.name = name
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        port = UInt16(try line()) ?? 0
    }

    deinit { if process.isRunning { process.terminate() } }

    /// What it answers to a line.
    func state() throws -> [Int] {
        input.fileHandleForWriting.write(Data("state\n".utf8))
        return try line().split(separator: " ").compactMap { Int($0) }
    }

    private func line() throws -> String {
        while true {
            if let end = rest.firstIndex(of: 0x0A) {
                let line = String(decoding: rest[rest.startIndex..<end], as: UTF8.self)
                rest = Data(rest[(end + 1)...])
                return line
            }
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else { throw CocoaError(.fileReadUnknown) }
            rest.append(data)
        }
    }

    /// How long it has computed so far, the kernel's work for it included, in seconds.
    var computed: Double {
        let line = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)) ?? ""
        // Behind the name, which may have blanks, the 12th and 13th field are its time and the kernel's, in hundredths.
        let fields = line.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 12 ? ((Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)) / 100 : 0
    }

    /// The memory that it has now, in KiB.
    var residentKiB: Int {
        let status = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
        return Int(line.filter(\.isNumber)) ?? 0
    }
}
