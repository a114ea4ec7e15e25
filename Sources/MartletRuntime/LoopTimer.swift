/// Calls back on its loop, once for each time it is armed.
///
/// Make one and arm it again and again: making it allocates, arming and cancelling do not. It is cancelled when
/// it is released, and belongs to its loop like everything else there.
public final class LoopTimer {
    /// The loop on which it fires.
    public let loop: EventLoop
    private let queue: TimerQueue
    private let index: TimingWheel.Index
    /// What the watchdog calls it.
    let label: StaticString
    let action: () -> Void

    /// A timer that is not armed. `label` names it where it holds the loop too long. `action` is kept as long as
    /// the timer, so an action that needs the timer's owner should hold it weakly.
    public init(on loop: EventLoop, label: StaticString = "timer", action: @escaping () -> Void) {
        self.loop = loop
        self.label = label
        self.action = action
        queue = loop.timers
        index = queue.makeEntry()
        queue.adopt(self, at: index)
    }

    deinit {
        queue.dropEntry(index)
    }

    /// When it will fire, or `nil` where it is not armed.
    public var deadline: Instant? {
        queue.wheel.isWaiting(index) ? queue.wheel.deadline(of: index) : nil
    }

    /// Makes it fire at `deadline`, and not at any time for which it was armed before.
    public func arm(at deadline: Instant) {
        queue.wheel.insert(index, at: deadline)
    }

    /// Makes it fire after `duration`.
    public func arm(after duration: Duration) {
        arm(at: loop.now + duration)
    }

    /// Arms it for `deadline`, or cancels it where that is `nil`: what a machine's `deadline` says.
    public func arm(at deadline: Instant?) {
        if let deadline { arm(at: deadline) } else { cancel() }
    }

    /// Makes it not fire.
    public func cancel() {
        queue.wheel.remove(index)
    }
}

/// The timers of a loop, or of all loops of a simulated world, and the clock that they share.
public final class TimerQueue {
    // Touched at every turn of a loop; the wheel calls nobody.
    @exclusivity(unchecked) var wheel: TimingWheel
    private var timers: [Unmanaged<LoopTimer>?] = []
    /// The clock as it was last read. It never goes back.
    public private(set) var now: Instant

    /// No timers, and a clock that stands at `now`.
    public init(now: Instant) {
        self.now = now
        wheel = TimingWheel(now: now)
    }

    /// When the next timer fires; it may be said a little early. `nil` where none is armed.
    public var nextDeadline: Instant? { wheel.nextDeadline }

    /// How many timers are armed.
    public var armed: Int { wheel.count }

    /// Sets the clock; fires nothing.
    public func advance(to now: Instant) {
        self.now = max(self.now, now)
    }

    /// The next timer that is due, no longer armed.
    public func popExpired() -> LoopTimer? {
        guard let index = wheel.popExpired(at: now) else { return nil }
        return timers[Int(index)]?.takeUnretainedValue()
    }

    func makeEntry() -> TimingWheel.Index {
        wheel.makeEntry()
    }

    func adopt(_ timer: LoopTimer, at index: TimingWheel.Index) {
        while timers.count <= Int(index) { timers.append(nil) }
        timers[Int(index)] = Unmanaged.passUnretained(timer)
    }

    func dropEntry(_ index: TimingWheel.Index) {
        timers[Int(index)] = nil
        wheel.dropEntry(index)
    }
}
