import Glibc
import MartletRuntime
import MartletWire
import Synchronization
import Testing

/// Keeps log lines for a test to look at.
final class CapturedLog: LogSink {
    private let lines = Mutex<[LogRecord]>([])

    func write(_ record: LogRecord) { lines.withLock { $0.append(record) } }

    var records: [LogRecord] { lines.withLock { $0 } }

    /// The lines that say `text`.
    func lines(saying text: String) -> [LogRecord] { records.filter { $0.message.contains(text) } }

    var logger: Logger { Logger(subsystem: "test", sink: self, levels: LogLevels(.trace)) }
}

/// Runs `body` on the loop of a fresh environment, which is shut down afterwards. A test that hangs fails
/// after four minutes: other suites may occupy every thread of the global pool for one of them.
func withEnvironment<Result: Sendable>(
    log: CapturedLog = CapturedLog(), watchdogLimit: Duration? = nil,
    _ body: nonisolated(nonsending) @Sendable @escaping (SystemEnvironment) async throws -> Result
) async throws -> Result {
    let environment = try SystemEnvironment(name: "test", log: log.logger, watchdogLimit: watchdogLimit)
    let loop = environment.loop
    do {
        let result = try await loop.run {
            try await loop.withDeadline(loop.now + .seconds(240)) { try await body(environment) }
        }
        await environment.shutdown()
        return result
    } catch {
        await environment.shutdown()
        throw error
    }
}

/// Values that callbacks on a loop hand to a conversation there.
final class Mailbox<Value> {
    private let signal: Signal
    private var values: [Value] = []

    init(on loop: EventLoop) { signal = Signal(on: loop) }

    func put(_ value: Value) {
        values.append(value)
        signal.signal()
    }

    func next() async throws -> Value {
        while values.isEmpty { try await signal.wait() }
        return values.removeFirst()
    }

    /// The next `count` values.
    func next(_ count: Int) async throws -> [Value] {
        while values.count < count { try await signal.wait() }
        defer { values.removeFirst(count) }
        return Array(values.prefix(count))
    }

    var waiting: Int { values.count }
}

/// Two ends of a TCP connection over the loopback interface.
struct Pair {
    let client: ByteStream
    let server: ByteStream
    let listener: TCPListener

    init(
        _ environment: SystemEnvironment, _ ip: IPAddress = .loopbackV4, options: TCPOptions = TCPOptions()
    ) async throws {
        let listener = try environment.listenTCP(SocketAddress(ip, port: 0), options: options)
        let accepted = Mailbox<ByteStream>(on: environment.loop)
        listener.onConnection = { accepted.put($0) }
        self.listener = listener
        client = try await environment.connectTCP(
            listener.localAddress, from: nil, options: options, deadline: environment.loop.now + .seconds(10))
        server = try await accepted.next()
    }
}

/// Bytes that tell where they stand.
func pattern(_ count: Int, from start: Int = 0) -> Bytes {
    Bytes(count: count) { buffer in
        for index in 0..<count { buffer[index] = UInt8(truncatingIfNeeded: (start + index) &* 131 >> 3) }
    }
}

/// What this process has open, or runs: the names in a directory of `/proc/self`.
func ofThisProcess(_ directory: String) -> [String] {
    guard let stream = opendir("/proc/self/\(directory)") else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names
}

/// How many descriptors this process has, the one for counting them among them.
func descriptorCount() -> Int { ofThisProcess("fd").count }

/// How many threads of this process are called `name`.
func threadCount(named name: String) -> Int {
    ofThisProcess("task").count { task in
        guard let file = fopen("/proc/self/task/\(task)/comm", "r") else { return false }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 64)
        guard fgets(&line, 64, file) != nil else { return false }
        return String(decoding: line.map(UInt8.init).prefix { $0 != 10 && $0 != 0 }, as: UTF8.self) == name
    }
}

/// Lets this process have at most `count` descriptors.
func limitDescriptors(to count: Int) {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit)
    limit.rlim_cur = rlim_t(count)
    setrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit)
}
