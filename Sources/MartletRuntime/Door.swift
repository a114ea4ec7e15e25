/// The actor that conversations on a loop are isolated to, so that what they hold never leaves the loop.
actor Home {
    // Set once, by the loop that owns this actor, before anyone else sees either; the loop outlives every job on it.
    nonisolated(unsafe) private unowned(unsafe) var loop: EventLoop! = nil

    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    nonisolated func adopt(_ loop: EventLoop) { self.loop = loop }

    fileprivate func run<Result>(
        _ body: Carried<nonisolated(nonsending) () async throws -> Result>
    ) async throws -> Carried<Result> {
        // Not only a check: Swift 6.3 leaves out the hop to an actor whose method does nothing before it awaits a
        // `nonisolated(nonsending)` function, and the body would run wherever the caller did.
        loop.preconditionCurrent()
        return Carried(value: try await body.value())
    }

    /// Apart from `run`, for Swift 6.3 loses the task where `run` is generic over the error and the error is `Never`.
    fileprivate func converse(_ body: Carried<nonisolated(nonsending) () async -> Void>) async {
        loop.preconditionCurrent()
        await body.value()
    }
}

/// A value on its way into or out of `Home`.
///
/// It is `@unchecked Sendable` because both ends of the way are the same loop: `spawn` checks that it is called
/// there, and `Home` runs there.
private struct Carried<Value>: @unchecked Sendable {
    let value: Value
}

extension EventLoop {
    /// Starts a conversation: the one door from a callback on the loop into `async` code on the same loop.
    ///
    /// The conversation may use everything that the callback could. It begins after the callback has returned.
    /// Cancel the returned task to end it early.
    @discardableResult
    public func spawn(
        _ name: String? = nil, _ body: nonisolated(nonsending) @escaping () async -> Void
    ) -> Task<Void, Never> {
        preconditionCurrent()
        let carried = Carried(value: body)
        guard let conversations else {
            return Task(name: name, executorPreference: taskExecutor) { [home] in
                await home.converse(carried)
            }
        }
        let number = conversations.begin()
        let task = Task(name: name, executorPreference: taskExecutor) { [home] in
            await home.converse(carried)
            conversations.ended(number)
        }
        conversations.began(number, task)
        return task
    }

    /// Runs `body` on the loop for a caller on any thread, and waits for what it returns.
    public func run<Result: Sendable>(
        _ body: sending nonisolated(nonsending) @escaping () async throws -> Result
    ) async throws -> Result {
        let carried = Carried(value: body)
        // A task that prefers no executor would come back through the global pool each time that it waits.
        return try await withTaskExecutorPreference(taskExecutor) { [home] in
            try await home.run(carried).value
        }
    }

    /// Runs `body` as part of the calling conversation, and cancels it at `deadline`.
    ///
    /// Throws `DeadlineExceeded` where the deadline came first, whatever the cancelled body then said; else what
    /// the body throws. Cancelling the caller cancels the body. Costs a task, so it is for conversations, not frames.
    public func withDeadline<Result>(
        _ deadline: Instant, _ body: nonisolated(nonsending) @escaping () async throws -> Result
    ) async throws -> Result {
        preconditionCurrent()
        let carried = Carried(value: body)
        let task = Task(executorPreference: taskExecutor) { [home] in
            try await home.run(carried)
        }
        var isLate = false
        let timer = LoopTimer(on: self, label: "deadline") {
            isLate = true
            task.cancel()
        }
        timer.arm(at: deadline)
        let outcome = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        timer.cancel()
        if isLate { throw DeadlineExceeded(deadline: deadline) }
        return try outcome.get().value
    }
}

/// What was awaited did not happen in time.
public struct DeadlineExceeded: Error, Hashable, Sendable {
    /// The deadline that passed.
    public var deadline: Instant

    /// An error for `deadline`.
    public init(deadline: Instant) {
        self.deadline = deadline
    }
}
