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
    /// How often something has waited, so that a cancellation that comes late meets nobody else.
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

    /// Waits for the signal.
    public nonisolated(nonsending) func wait() async throws(CancellationError) {
        loop.preconditionCurrent()
        if isSignalled {
            isSignalled = false
            return
        }
        precondition(waiter == nil, "a signal has one waiter at a time")
        waits &+= 1
        let turn = waits
        do {
            try await withTaskCancellationHandler {
                try await withUnsafeThrowingContinuation { waiter = $0 }
            } onCancel: {
                loop.execute { [self] in
                    guard turn == waits else { return }
                    waiter?.resume(throwing: CancellationError())
                    waiter = nil
                }
            }
        } catch {
            throw CancellationError()
        }
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
