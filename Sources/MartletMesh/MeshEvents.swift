import MartletRuntime

/// What happens to a node, in order, for one reader on any task: `for await event in node.events`.
///
/// A reader that is too slow does not hold the node up: beyond `MeshConfiguration.maximumEvents` the oldest events are
/// dropped, and `MeshEvent.missed` tells how many. It ends when the node has stopped.
public final class MeshEvents: AsyncSequence, Sendable {
    private struct State {
        var waiting: [MeshEvent] = []
        /// Where the oldest stands in `waiting`, which is used as a ring once it is full.
        var first = 0
        var missed = 0
        var capacity = MeshConfiguration().maximumEvents
        var isOver = false
        var reader: CheckedContinuation<Void, Never>?

        mutating func pop() -> MeshEvent? {
            if missed > 0 {
                defer { missed = 0 }
                return .missed(missed)
            }
            guard first < waiting.count else { return nil }
            defer {
                first += 1
                if first == waiting.count {
                    waiting.removeAll(keepingCapacity: true)
                    first = 0
                } else if first >= 1024, first * 2 >= waiting.count {
                    waiting.removeFirst(first)
                    first = 0
                }
            }
            return waiting[first]
        }
    }

    private let state = Lock(State())

    /// Keeps at most `count` events, one at least, for who does not take them.
    func keep(_ count: Int) {
        state.withLock { $0.capacity = Swift.max(1, count) }
    }

    func append(_ event: MeshEvent) {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.isOver else { return nil }
            if state.waiting.count - state.first >= state.capacity {
                state.first += 1
                state.missed += 1
                if state.first >= state.capacity {
                    state.waiting.removeFirst(state.first)
                    state.first = 0
                }
            }
            state.waiting.append(event)
            return state.reader.take()
        }
        reader?.resume()
    }

    func finish() {
        state.withLock { state in
            state.isOver = true
            return state.reader.take()
        }?.resume()
    }

    /// The next event, or `nil` once the node has stopped and everything before has been taken, or the calling task is
    /// cancelled. There is one reader at a time.
    public func next() async -> MeshEvent? {
        while true {
            let (event, isOver) = state.withLock { ($0.pop(), $0.isOver) }
            if event != nil || isOver || Task.isCancelled { return event }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let mustWait = state.withLock { state in
                        precondition(state.reader == nil, "events have one reader at a time")
                        guard state.first == state.waiting.count, state.missed == 0, !state.isOver, !Task.isCancelled
                        else { return false }
                        state.reader = continuation
                        return true
                    }
                    if !mustWait { continuation.resume() }
                }
            } onCancel: {
                state.withLock { $0.reader.take() }?.resume()
            }
        }
    }

    /// The events one by one.
    public func makeAsyncIterator() -> Iterator { Iterator(events: self) }

    /// Takes events from the queue.
    public struct Iterator: AsyncIteratorProtocol {
        let events: MeshEvents

        /// The next event; see `MeshEvents.next()`.
        public mutating func next() async -> MeshEvent? { await events.next() }

        /// The next event; see `MeshEvents.next()`.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> MeshEvent? { await events.next() }
    }
}
