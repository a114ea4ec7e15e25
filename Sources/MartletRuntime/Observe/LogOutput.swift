internal import CLinux
internal import Glibc
internal import MartletWire
internal import Synchronization

/// Whole lines on their way to a descriptor, from any thread.
///
/// A line is written at once where the descriptor takes it at once. Where the reader at its other end is slow, lines
/// wait in a bounded queue and a thread of their own writes them, so that no logging thread ever waits. Lines that
/// find the queue full are dropped and counted, and the count is written when there is room again.
final class LogOutput: Sendable {
    /// A pipe that polls as writable takes this many bytes without blocking, and keeps them together (PIPE_BUF).
    private static let atOnce = 4096

    private struct State {
        var queue: [UInt8] = []
        /// How much of the queue's front has been written.
        var written = 0
        var dropped = 0
        var lost = 0
        var drain: SystemThread?
        var isDraining = false
        var isClosed = false
    }

    private let descriptor: Int32
    private let capacity: Int
    /// Makes the line that says how many were dropped.
    private let notice: @Sendable (Int) -> Writer
    private let state = Mutex(State())
    /// Ends the draining thread's wait when the output is closed.
    private let wake: Int32

    init(descriptor: Int32, capacity: Int, notice: @escaping @Sendable (Int) -> Writer) {
        self.descriptor = descriptor
        self.capacity = capacity
        self.notice = notice
        wake = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    }

    deinit {
        close()
        if wake >= 0 { Glibc.close(wake) }
    }

    /// How many lines were dropped since the beginning.
    var dropped: Int { state.withLock { $0.lost } }

    /// Writes `line`, which ends with a line break, now or soon or, where the reader is too slow, never.
    func write(_ line: borrowing Writer) {
        state.withLock { state in
            guard !state.isClosed else { return }
            if state.queue.isEmpty {
                let count = line.span.withUnsafeBytes { writeSome($0) }
                if count < line.count { line.span.withUnsafeBytes { state.queue.append(contentsOf: $0[count...]) } }
            } else if state.queue.count - state.written + line.count <= capacity {
                sayDropped(&state)
                line.span.withUnsafeBytes { state.queue.append(contentsOf: $0) }
            } else {
                state.dropped += 1
                state.lost += 1
            }
            if !state.queue.isEmpty, !state.isDraining { startDraining(&state) }
        }
    }

    /// Writes what the descriptor takes at once and ends the thread. What is written later is dropped.
    func close() {
        let thread = state.withLock { state in
            state.isClosed = true
            defer { state.drain = nil }
            return state.drain
        }
        if wake >= 0 { eventfd_write(wake, 1) }
        thread?.join()
    }

    /// Writes as much of `bytes` as goes without waiting, and returns how much that was. What can't ever be written is
    /// said to be: there is nowhere to tell.
    private func writeSome(_ bytes: UnsafeRawBufferPointer) -> Int {
        var count = 0
        while count < bytes.count {
            var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let ready = Glibc.poll(&poll, 1, 0)
            if ready == 0 { return count }
            let piece = min(bytes.count - count, Self.atOnce)
            let result = Glibc.write(descriptor, bytes.baseAddress.unsafelyUnwrapped + count, piece)
            if result < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN ? count : bytes.count
            }
            count += result
        }
        return count
    }

    private func sayDropped(_ state: inout State) {
        guard state.dropped > 0 else { return }
        notice(state.dropped).span.withUnsafeBytes { state.queue.append(contentsOf: $0) }
        state.dropped = 0
    }

    private func startDraining(_ state: inout State) {
        // One that has ended is joined here, which does not wait: it took the lock for the last time before.
        state.drain?.join()
        state.drain = nil
        // Not kept alive by the thread: an output that goes away ends the thread and waits for it.
        state.drain = try? SystemThread(name: "martlet-log") { [unowned(unsafe) self] in drain() }
        state.isDraining = state.drain != nil
    }

    /// Writes the queue whenever the descriptor takes something, until it is empty or the output is closed.
    private func drain() {
        while true {
            var polls = [
                pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
            ]
            // Where there was no descriptor left to be woken by, it looks from time to time.
            _ = Glibc.poll(&polls, 2, wake < 0 ? 100 : -1)
            let isDone = state.withLock { state in
                let count = state.queue.withUnsafeBytes {
                    writeSome(UnsafeRawBufferPointer(rebasing: $0[state.written...]))
                }
                state.written += count
                if state.written == state.queue.count || state.written > capacity {
                    state.queue.removeFirst(state.written)
                    state.written = 0
                }
                if state.queue.isEmpty { sayDropped(&state) }
                let isDone = state.queue.isEmpty || state.isClosed
                if isDone { state.isDraining = false }
                return isDone
            }
            if isDone { return }
        }
    }
}
