import Foundation
import Synchronization

/// A program that a test runs, by pipes or on a terminal, and what it has written. It is ended when this is released.
public final class TestProgram: Sendable {
    /// Something did not happen.
    public struct Failure: Error, CustomStringConvertible {
        /// What, and what there was instead.
        public let description: String
    }

    /// How long anything may take.
    private static let patience: TimeInterval = 20

    /// What it has written, which is filled by a thread that lasts until the program's end.
    private final class Output: Sendable {
        struct State {
            var bytes: [UInt8] = []
            var isOver = false
        }

        let state = Mutex(State())
        let condition = NSCondition()

        func take(_ bytes: ArraySlice<UInt8>?) {
            condition.lock()
            state.withLock { state in
                if let bytes { state.bytes += bytes } else { state.isOver = true }
            }
            condition.broadcast()
            condition.unlock()
        }

        /// Everything so far, with the ends of lines as they are without a terminal.
        var text: String {
            state.withLock { String(decoding: $0.bytes.filter { $0 != 0x0D }, as: UTF8.self) }
        }
    }

    private let process = Mutex(Process())
    private let input: FileHandle
    private let isOnTerminal: Bool
    private let output = Output()

    /// Starts the program at `path`; on a terminal of its own where `onTerminal`. Its environment has `variables`, too.
    public init(
        _ path: String, _ arguments: [String], onTerminal: Bool = false, variables: [String: String] = [:]
    ) throws {
        isOnTerminal = onTerminal
        let source: FileHandle
        var child: (input: Any, output: Any)
        if onTerminal {
            // The calls of glibc for this are not imported; these are what they do.
            let master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
            var number: Int32 = -1
            var isLocked: Int32 = 0
            guard master >= 0, ioctl(master, 0x8004_5430, &number) == 0, ioctl(master, 0x4004_5431, &isLocked) == 0
            else { throw Failure(description: "there are no pseudo-terminals") }
            let slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
            var size = winsize(ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0)
            _ = ioctl(slave, UInt(TIOCSWINSZ), &size)
            let handle = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
            child = (handle, handle)
            input = FileHandle(fileDescriptor: master, closeOnDealloc: true)
            source = input
        } else {
            let pipes = (Pipe(), Pipe())
            child = (pipes.0, pipes.1)
            input = pipes.0.fileHandleForWriting
            source = pipes.1.fileHandleForReading
        }
        try process.withLock { process in
            // Only in a session of its own do the terminal's keys reach the program as signals.
            process.executableURL = URL(fileURLWithPath: onTerminal ? "/usr/bin/setsid" : path)
            process.arguments = onTerminal ? ["--ctty", "--wait", path] + arguments : arguments
            process.standardInput = child.input
            process.standardOutput = child.output
            process.standardError = child.output
            process.environment = ProcessInfo.processInfo.environment.merging(["TERM": "xterm"]) { $1 }
                .merging(variables) { $1 }
            Self.heedSignals()
            try process.run()
        }
        if let handle = child.input as? FileHandle { try? handle.close() }
        Thread.detachNewThread { [output] in
            // Not by FileHandle, which waits for all that was asked for, or does not survive the end of a terminal.
            var buffer = [UInt8](repeating: 0, count: 4096)
            while case let count = read(source.fileDescriptor, &buffer, buffer.count), count > 0 {
                output.take(buffer[..<count])
            }
            output.take(nil)
        }
    }

    /// Has programs that are started from here begin with the signals that end one as a person's shell has them. Tests that
    /// run in the background were told to ignore SIGINT, and what they start would be as well.
    private static func heedSignals() {
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var action = sigaction()
            guard sigaction(number, nil, &action) == 0 else { continue }
            // SIG_IGN is the address 1, which is no function that could be compared.
            let isIgnored = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
            if isIgnored { Foundation.signal(number, SIG_DFL) }
        }
    }

    deinit {
        // Not a request: Swift's threads have programs start with most signals blocked.
        if isOnTerminal, case let session = tcgetsid(input.fileDescriptor), session > 0 { kill(session, SIGKILL) }
        process.withLock { if $0.isRunning { kill($0.processIdentifier, SIGKILL) } }
    }

    /// Everything it has written so far, with the ends of lines as they are without a terminal.
    public var text: String { output.text }

    /// Writes to its input.
    public func write(_ text: String) {
        try? input.write(contentsOf: Data(text.utf8))
    }

    /// Its number among the system's processes.
    public var processIdentifier: Int32 { process.withLock { $0.processIdentifier } }

    /// Sends it a signal.
    public func signal(_ number: Int32) {
        process.withLock { if $0.isRunning { kill($0.processIdentifier, number) } }
    }

    /// Ends its input.
    public func endInput() { try? input.close() }

    /// Waits for a whole line that `matches`, wherever it stands, and returns it.
    public func line(_ matches: @escaping @Sendable (Substring) -> Bool) async throws -> String {
        try await wait("no such line") { text in
            text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                .first(where: matches).map(String.init)
        }
    }

    /// Waits until its output as a whole is as `matches` wants it.
    public func wait(for matches: @escaping @Sendable (String) -> Bool) async throws {
        _ = try await wait("it never wrote what was waited for") { matches($0) ? true : nil }
    }

    private func wait<Found: Sendable>(
        _ failure: String, _ find: @escaping @Sendable (String) -> Found?
    ) async throws -> Found {
        try await onOwnThread { [output] in
            let deadline = Date(timeIntervalSinceNow: Self.patience)
            output.condition.lock()
            defer { output.condition.unlock() }
            while true {
                let isOver = output.state.withLock { $0.isOver }
                if let found = find(output.text) { return found }
                if isOver || !output.condition.wait(until: deadline) {
                    throw Failure(description: "\(failure) in:\n\(output.text)")
                }
            }
        }
    }

    /// Waits until everything that it wrote has been read: it, and whoever has its output from it, has closed that.
    public func waitForEndOfOutput() async throws {
        try await onOwnThread { [output] in
            let deadline = Date(timeIntervalSinceNow: Self.patience)
            output.condition.lock()
            defer { output.condition.unlock() }
            while !output.state.withLock({ $0.isOver }) {
                guard output.condition.wait(until: deadline) else {
                    throw Failure(description: "its output never ended:\n\(output.text)")
                }
            }
        }
    }

    /// Waits for its end. Returns what it ended with.
    public func end() async throws -> Int32 {
        try await onOwnThread { [self] in
            try process.withLock { process in
                let deadline = Date(timeIntervalSinceNow: Self.patience)
                while process.isRunning, Date() < deadline { usleep(1000) }
                guard !process.isRunning else { throw Failure(description: "it did not end:\n\(output.text)") }
                return process.terminationStatus
            }
        }
    }

    /// Where the build put the executable `name`: beside the tests that are running.
    public static func path(of name: String) -> String {
        var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        for _ in 0..<4 {
            let candidate = folder.appendingPathComponent(name).path
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
            folder.deleteLastPathComponent()
        }
        return name
    }
}

/// Runs `body`, which waits, on a thread of its own: the threads of Swift's pool are few, and others need them.
public func onOwnThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
    }
}
