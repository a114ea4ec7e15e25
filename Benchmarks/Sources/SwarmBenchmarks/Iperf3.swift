import Foundation
import Glibc

/// The bits a second that iperf3 carries over loopback in one TCP stream: what the machine can do at this moment.
func measureIperf3(seconds: Double) async throws -> Double {
    let port = String(try freePort())
    let server = try iperf3(["--server", "--one-off", "--bind", "127.0.0.1", "--port", port, "--json"])
    defer {
        if server.process.isRunning { server.process.terminate() }
        server.process.waitUntilExit()
    }
    for _ in 0..<50 {
        let whole = String(max(1, Int(seconds.rounded())))
        let client = try iperf3(["--client", "127.0.0.1", "--port", port, "--time", whole, "--json"])
        let output = client.output.readDataToEndOfFile()
        client.process.waitUntilExit()
        if let sum = try? JSONDecoder().decode(Report.self, from: output).end.sumReceived { return sum.bitsPerSecond }
        // The server may not be listening yet.
        guard server.process.isRunning else { break }
        try await Task.sleep(for: .milliseconds(50))
    }
    throw Failure(description: "iperf3 does not answer itself; Scripts/setup installs it")
}

private struct Report: Decodable {
    var end: End

    struct End: Decodable {
        var sumReceived: Sum?
        enum CodingKeys: String, CodingKey { case sumReceived = "sum_received" }
    }

    struct Sum: Decodable {
        var bitsPerSecond: Double
        enum CodingKeys: String, CodingKey { case bitsPerSecond = "bits_per_second" }
    }
}

private func iperf3(_ arguments: [String]) throws -> (process: Process, output: FileHandle) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["iperf3"] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    return (process, pipe.fileHandleForReading)
}

/// A TCP port of loopback that nobody listens on at this moment.
private func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Failure(description: "no socket") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            bind(descriptor, generic, size) == 0 && getsockname(descriptor, generic, &size) == 0
        }
    }
    guard isBound else { throw Failure(description: "no free port") }
    return UInt16(bigEndian: address.sin_port)
}
