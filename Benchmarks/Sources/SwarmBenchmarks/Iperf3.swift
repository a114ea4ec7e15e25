import Glibc

/// The bits a second that iperf3 carries over loopback in one TCP stream: what the machine can do at this moment.
func measureIperf3(seconds: Double) async throws -> Double {
    let port = String(try freePort())
    let server = try ChildProcess(["iperf3", "--server", "--one-off", "--bind", "127.0.0.1", "--port", port])
    defer { server.end() }
    for _ in 0..<50 {
        let whole = String(max(1, Int(seconds.rounded())))
        let client = try ChildProcess([
            "iperf3", "--client", "127.0.0.1", "--port", port, "--time", whole, "--json",
        ])
        if let rate = receivedRate(in: client) { return rate }
        // The server may not be listening yet.
        guard server.isRunning else { break }
        try await Task.sleep(for: .milliseconds(50))
    }
    throw Failure(description: "iperf3 does not answer itself; Scripts/setup installs it")
}

/// `end.sum_received.bits_per_second` of the report, which has each of them on a line of its own.
private func receivedRate(in report: ChildProcess) -> Double? {
    var isReceived = false
    while let line = report.line() {
        if line.contains("\"sum_received\"") { isReceived = true }
        guard isReceived, line.contains("\"bits_per_second\"") else { continue }
        return line.split(separator: ":").last.flatMap { Double($0.filter { !" \t,".contains($0) }) }
    }
    return nil
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
