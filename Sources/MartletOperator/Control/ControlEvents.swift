internal import Martlet
internal import MartletRuntime

/// What happens to a node, for those who read `/v1/events`: each has a queue of its own, so that one who sleeps holds up
/// nobody, and is told how much he missed.
final class ControlEvents {
    /// How often a line is written where nothing happens, so that a reader who has gone is noticed.
    static let heartbeat = Duration.seconds(10)

    private let node: Node
    private let environment: SystemEnvironment
    private let capacity: Int
    private var readers: [ObjectIdentifier: Task<Void, Never>] = [:]

    init(of node: Node, on environment: SystemEnvironment, capacity: Int) {
        self.node = node
        self.environment = environment
        self.capacity = capacity
    }

    /// One reader more, from now on.
    func open() -> HTTPStream {
        let stream = HTTPStream(capacity: capacity)
        let reader = ControlEventReader(stream, environment)
        let events = node.subscribe()
        let key = ObjectIdentifier(stream)
        reader.beat()
        stream.onClose = { [weak self] in self?.readers.removeValue(forKey: key)?.cancel() }
        readers[key] = environment.loop.spawn("events") { [weak self] in
            for await event in events { reader.tell(event) }
            // The node has stopped, or the reader has gone.
            stream.end()
            self?.readers[key] = nil
        }
        return stream
    }

    /// Ends all of them.
    func stop() {
        for reader in readers.values { reader.cancel() }
        readers = [:]
    }
}

/// Writes events to one reader.
final class ControlEventReader {
    private let stream: HTTPStream
    private let environment: SystemEnvironment
    private var missed = 0
    private var timer: LoopTimer?

    init(_ stream: HTTPStream, _ environment: SystemEnvironment) {
        self.stream = stream
        self.environment = environment
        timer = LoopTimer(on: environment.loop, label: "heartbeat") { [weak self] in self?.beat() }
    }

    /// Says that there is nothing to say.
    func beat() {
        guard !stream.isClosed, !stream.isEnded else { return }
        timer?.arm(after: ControlEvents.heartbeat)
        _ = write(ControlEvent(event: "heartbeat", time: "\(environment.wallTime)"))
    }

    func tell(_ event: NodeEvent) {
        timer?.arm(after: ControlEvents.heartbeat)
        if !write(ControlEvent(event, time: "\(environment.wallTime)")) { missed += 1 }
    }

    private func write(_ event: ControlEvent) -> Bool {
        var lines = jsonLine(event)
        if missed > 0 {
            var gap = ControlEvent(event: "missed", time: event.time)
            gap.count = missed
            lines = jsonLine(gap) + lines
        }
        guard stream.write(lines) else { return false }
        missed = 0
        return true
    }
}
