/// What happens to something, in order, for one reader on any task: `for await event in node.events`.
///
/// A reader that is too slow does not hold anyone up: beyond so many events, or bytes that they hold, the oldest are
/// dropped, and an event in their place tells how many. It ends when what it tells of has ended.
public final class EventQueue<Element: Sendable>: AsyncSequence, Sendable {
    private struct State {
        /// `nil` where it has been taken or dropped, so that nothing is held longer than it waits.
        var waiting: [(event: Element, size: Int)?] = []
        /// Where the oldest stands in `waiting`, which is used as a ring once it is full.
        var first = 0
        var missed = 0
        var capacity: Int
        var bytes = 0
        var isOver = false
        var reader: CheckedContinuation<Void, Never>?

        var count: Int { waiting.count - first }

        mutating func popWaiting() -> Element? {
            guard first < waiting.count, let (event, size) = waiting[first].take() else { return nil }
            bytes -= size
            first += 1
            if first == waiting.count {
                waiting.removeAll(keepingCapacity: true)
                first = 0
            } else if first >= 1024, first * 2 >= waiting.count {
                waiting.removeFirst(first)
                first = 0
            }
            return event
        }
    }

    private let state: Lock<State>
    private let byteCapacity: Int
    private let missed: @Sendable (Int) -> Element

    /// A queue that keeps at most `capacity` events and `bytes` bytes in them for who does not take them. `missed` makes
    /// the event that tells how many were dropped.
    package init(capacity: Int, bytes: Int = .max, missed: @escaping @Sendable (Int) -> Element) {
        state = Lock(State(capacity: Swift.max(1, capacity)))
        byteCapacity = bytes
        self.missed = missed
    }

    /// Keeps at most `count` events, one at least, for who does not take them.
    package func keep(_ count: Int) {
        state.withLock { $0.capacity = Swift.max(1, count) }
    }

    /// Adds an event that holds `size` bytes beside itself.
    package func append(_ event: Element, size: Int = 0) {
        let byteCapacity = byteCapacity
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.isOver else { return nil }
            while state.count > 0, state.count >= state.capacity || state.bytes + size > byteCapacity {
                _ = state.popWaiting()
                state.missed += 1
            }
            state.waiting.append((event, size))
            state.bytes += size
            return state.reader.take()
        }
        reader?.resume()
    }

    /// Ends it behind what was added.
    package func finish() {
        state.withLock { state in
            state.isOver = true
            return state.reader.take()
        }?.resume()
    }

    /// The next event, or `nil` once all is over and everything before has been taken, or the calling task is cancelled.
    /// There is one reader at a time.
    public func next() async -> Element? {
        while true {
            let (event, isOver) = pop()
            if event != nil || isOver || Task.isCancelled { return event }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let mustWait = state.withLock { state in
                        precondition(state.reader == nil, "events have one reader at a time")
                        guard state.count == 0, state.missed == 0, !state.isOver, !Task.isCancelled
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

    private func pop() -> (Element?, isOver: Bool) {
        let missed = missed
        return state.withLock { state in
            if state.missed > 0 {
                defer { state.missed = 0 }
                return (missed(state.missed), state.isOver)
            }
            return (state.popWaiting(), state.isOver)
        }
    }

    /// The events one by one.
    public func makeAsyncIterator() -> Iterator { Iterator(events: self) }

    /// Takes events from the queue.
    public struct Iterator: AsyncIteratorProtocol {
        let events: EventQueue

        /// The next event; see `EventQueue.next()`.
        public mutating func next() async -> Element? { await events.next() }

        /// The next event; see `EventQueue.next()`.
        public mutating func next(isolation actor: isolated (any Actor)?) async -> Element? { await events.next() }
    }
}
