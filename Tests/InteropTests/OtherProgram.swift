import Foundation
import Testing

/// Another program that takes part in a test. It is ended when this is released.
final class OtherProgram: Sendable {
    /// What a peer said on one line.
    typealias Line = [String: any Sendable]

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The Python that `make setup` has filled with other implementations.
    static let python = root.appendingPathComponent(".venv/bin/python")

    /// A program that was built beside the tests.
    static func product(_ name: String) throws -> URL {
        let bundle = try #require(CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? Bundle.main.executablePath)
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name)
    }

    private let process: Process
    private let input: FileHandle
    private let output: FileHandle

    /// Starts `program`. Its standard error goes where the test's goes.
    init(_ program: URL, _ arguments: [String], environment: [String: String] = [:]) throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: program.path), "\(program.path) is missing: make setup")
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        self.process = process
        self.input = input.fileHandleForWriting
        self.output = output.fileHandleForReading
    }

    deinit {
        // Not a request: a program that stays would keep the test run's own output open, and its port.
        kill(process.processIdentifier, SIGKILL)
        try? input.close()
    }

    /// A TCP port on which nobody listens just now.
    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        try #require(isBound)
        return UInt16(bigEndian: address.sin_port)
    }

    /// Its number among the processes of this machine.
    var processIdentifier: Int32 { process.processIdentifier }

    /// Gives it a line.
    func tell(_ line: String) {
        input.write(Data("\(line)\n".utf8))
    }

    /// The next line that it says, as a JSON object.
    func line() async throws -> Line {
        let bytes = try await elsewhere { [output] in
            var line = Data()
            while let byte = try output.read(upToCount: 1), !byte.isEmpty, byte[0] != UInt8(ascii: "\n") {
                line += byte
            }
            return line
        }
        return try #require(Self.parse(bytes), "no JSON line: \(String(decoding: bytes, as: UTF8.self))")
    }

    /// All that it says until it ends, and how it ended.
    func rest() async throws -> (text: String, status: Int32) {
        try await elsewhere { [output, process] in
            let bytes = try output.readToEnd() ?? Data()
            process.waitUntilExit()
            return (String(decoding: bytes, as: UTF8.self), process.terminationStatus)
        }
    }

    /// All lines that it says until it ends, by their event.
    func events() async throws -> [String: Line] {
        let lines = try await rest().text.split(separator: "\n").compactMap { Self.parse(Data($0.utf8)) }
        return Dictionary(lines.map { ($0["event"] as? String ?? "", $0) }) { $1 }
    }

    private static func parse(_ data: Data) -> Line? {
        (try? JSONSerialization.jsonObject(with: data)) as? Line
    }

    /// Runs what blocks on a thread of its own.
    private func elsewhere<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { waiter in
            Thread.detachNewThread { waiter.resume(with: Swift.Result { try body() }) }
        }
    }
}
