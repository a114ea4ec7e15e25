internal import CLinux

/// A place where one conversation waits for one callback on the same loop.
///
/// `wait` suspends until `signal` is called, and throws `CancellationError` where the conversation is cancelled
/// first. A signal that nobody waits for is remembered, once. It is for one waiter at a time.
///
/// It is `@unchecked Sendable` because it is touched only on its loop: cancellation, which comes from anywhere,
/// goes there first.
public final class Signal: @unchecked Sendable {
    private let loop: EventLoop
    private var waiter: UnsafeContinuation<Void, any Error>?
    private var isSignalled = false
    /// How many waits there have been, so that a late cancellation does not end the wait after its own.
    private var waits = 0

    /// A signal that has not been given, on `loop`.
    public init(on loop: EventLoop) {
        self.loop = loop
    }

    /// Wakes the waiter, or the next one.
    public func signal() {
        loop.preconditionCurrent()
        if let waiter {
            self.waiter = nil
            waiter.resume()
        } else {
            isSignalled = true
        }
    }

    /// Waits for the signal. `isolation` is the caller's own.
    public func wait(isolation: isolated (any Actor)? = #isolation) async throws(CancellationError) {
        loop.preconditionCurrent()
        if isSignalled {
            isSignalled = false
            return
        }
        precondition(waiter == nil, "a signal has one waiter at a time")
        waits += 1
        let wait = waits
        do {
            try await withTaskCancellationHandler {
                // Without naming it here, the closure would be run by the global pool.
                _ = isolation
                try await withUnsafeThrowingContinuation { begin($0) }
            } onCancel: {
                loop.execute { [self] in
                    if waits == wait { cancel() }
                }
            }
        } catch {
            throw CancellationError()
        }
    }

    private func begin(_ continuation: UnsafeContinuation<Void, any Error>) {
        loop.preconditionCurrent()
        waiter = continuation
        // A signal or a cancellation may have come where Swift took a turn of the loop on the way here.
        if isSignalled {
            isSignalled = false
            signal()
        } else if Task.isCancelled {
            cancel()
        }
    }

    private func cancel() {
        waiter?.resume(throwing: CancellationError())
        waiter = nil
    }
}

extension EventLoop {
    /// Waits until `deadline`, on the loop's clock. Throws where the conversation is cancelled first.
    public nonisolated(nonsending) func sleep(until deadline: Instant) async throws(CancellationError) {
        let signal = Signal(on: self)
        let timer = LoopTimer(on: self, label: "sleep") { signal.signal() }
        timer.arm(at: deadline)
        defer { timer.cancel() }
        try await signal.wait()
    }

    /// Waits for `duration`, on the loop's clock. Throws where the conversation is cancelled first.
    public nonisolated(nonsending) func sleep(for duration: Duration) async throws(CancellationError) {
        try await sleep(until: now + duration)
    }
}
