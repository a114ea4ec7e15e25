import CEdit
import Foundation
import MartletRuntime
import Synchronization

/// Where a person types lines and reads others.
protocol LineConsole: Sendable {
    /// What is typed, line by line; it ends at the end of the input.
    var lines: AsyncStream<String> { get }
    /// Shows a line, from any thread.
    func show(_ line: String)
    /// Shows what is left and gives the terminal back. Throws if a line could not be shown.
    func close() async throws
}

/// Standard input and output where they are no terminal.
final class PlainConsole: LineConsole {
    let lines: AsyncStream<String>
    private let typed: AsyncStream<String>.Continuation
    /// Why a line could not be written.
    private let failure = Lock<OutputError?>(nil)

    init() {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        (self.lines, typed) = (lines, continuation)
        // A thread, for reading standard input waits as long as it pleases whoever writes it.
        Thread.detachNewThread {
            while let line = readLine() { continuation.yield(line) }
            continuation.finish()
        }
    }

    func show(_ line: String) {
        // Not by print: reading standard input holds a lock that flushing C's streams waits for.
        failure.withLock { failure in
            guard failure == nil else { return }
            do throws(OutputError) {
                try StandardOutput.line(line)
            } catch {
                failure = error
                // Whoever hears nothing of the mesh need not go on talking to it.
                typed.finish()
            }
        }
    }

    func close() async throws {
        if let error = failure.withLock({ $0 }) { throw error }
    }
}

/// A terminal: the line being typed is edited by libedit, with history, and steps aside for lines that are shown.
///
/// All of it happens on one thread of its own. Writing to a terminal waits as long as somebody has stopped it
/// (Ctrl-S), and neither the node's loop nor anyone else should wait with it.
final class TerminalConsole: LineConsole {
    /// How many lines wait for a terminal that is stopped; the oldest are lost first.
    private static let mostWaiting = 10_000

    private struct State {
        var waiting: [String] = []
        var isOver = false
        var hasEnded = false
        var closer: CheckedContinuation<Void, Never>?
    }

    let lines: AsyncStream<String>
    fileprivate let typed: AsyncStream<String>.Continuation
    private let state = Lock(State())
    private let wakeUp: (read: Int32, write: Int32)
    private let prompt: String

    init(prompt: String) {
        (lines, typed) = AsyncStream.makeStream(of: String.self)
        self.prompt = prompt
        var ends: [Int32] = [-1, -1]
        pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        wakeUp = (ends[0], ends[1])
        interruption.store(wakeUp.write, ordering: .relaxed)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { _ in
                // The thread that edits reads this as the end of the input, and gives the terminal back.
                var end: UInt8 = 1
                write(interruption.load(ordering: .relaxed), &end, 1)
            }
        }
        Thread.detachNewThread { [self] in run() }
    }

    func show(_ line: String) {
        state.withLock { state in
            state.waiting.append(line)
            if state.waiting.count > 2 * Self.mostWaiting { state.waiting.removeFirst(Self.mostWaiting) }
        }
        wake()
    }

    func close() async {
        await withCheckedContinuation { continuation in
            let hasEnded = state.withLock { state in
                state.isOver = true
                if !state.hasEnded { state.closer = continuation }
                return state.hasEnded
            }
            if hasEnded { continuation.resume() } else { wake() }
        }
    }

    private func wake() {
        var nothing: UInt8 = 0
        write(wakeUp.write, &nothing, 1)
    }

    // MARK: The thread

    private func run() {
        ced_use_locale()
        current.withLock { $0 = self }
        install()
        var watched = [
            pollfd(fd: 0, events: Int16(POLLIN), revents: 0),
            pollfd(fd: wakeUp.read, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            guard poll(&watched, nfds_t(watched.count), -1) >= 0 || errno == EINTR else { break }
            if watched[1].revents != 0, hasInterruption() { typed.finish() }
            let isOver = showWaiting()
            if isOver { break }
            if watched[0].revents != 0 { rl_callback_read_char() }
            if watched[0].revents & Int16(POLLHUP | POLLERR) != 0 {
                typed.finish()
                watched[0].fd = -1
            }
        }
        rl_callback_handler_remove()
        current.withLock { $0 = nil }
        state.withLock { state in
            state.hasEnded = true
            return state.closer.take()
        }?.resume()
    }

    private func hasInterruption() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 256)
        var isInterrupted = false
        while case let count = read(wakeUp.read, &bytes, bytes.count), count > 0 {
            if bytes[..<count].contains(1) { isInterrupted = true }
        }
        return isInterrupted
    }

    private func showWaiting() -> Bool {
        let (lines, isOver) = state.withLock { state in
            defer { state.waiting = [] }
            return (state.waiting, state.isOver)
        }
        if !lines.isEmpty || isOver { ced_hide_line(Int32(prompt.utf8.count)) }
        for line in lines { ced_print(line) }
        if !lines.isEmpty, !isOver { ced_show_line() }
        if isOver { fflush(nil) }
        return isOver
    }

    fileprivate func install() {
        // libedit calls back without a context.
        rl_callback_handler_install(prompt) { line in
            guard let console = current.withLock({ $0 }) else { return }
            guard let line else { return console.typed.finish() }
            let text = String(cString: line)
            if !text.isEmpty { add_history(line) }
            free(line)
            console.typed.yield(text)
            console.install()
        }
    }
}

/// The console that libedit's callbacks belong to: libedit has one of everything in a process.
private let current = Lock<TerminalConsole?>(nil)
/// Where a signal's handler writes.
private let interruption = Atomic<Int32>(-1)
