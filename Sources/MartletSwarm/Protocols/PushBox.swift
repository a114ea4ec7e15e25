internal import MartletRuntime
internal import MartletWire

/// The identify pushes of one peer that have come and not been applied: a machine.
///
/// Each push is taken, and the newest counts: it says all that its sender wants to have known, and senders do not repeat
/// what they have sent. To apply one may cost the check of a signature, so that happens at a rate; what comes faster waits
/// for its turn, and only the newest of that is kept, with what is known of its `Origin`.
struct PushBox<Origin> {
    private let rate: Rate
    private var meter = RateMeter()
    /// How many have begun to come, and which of them is the newest that has come as a whole.
    private var begun = 0
    private var newest = 0
    /// What is to be applied next.
    private(set) var waiting: (message: Bytes, origin: Origin)?

    /// Nothing has come yet; pushes are applied at `rate`.
    init(_ rate: Rate) {
        self.rate = rate
    }

    /// Whether the next push comes faster than pushes are applied, at `now`.
    func isBusy(at now: Instant) -> Bool { waiting != nil || !meter.allows(rate, at: now) }

    /// A push begins to come. Returns its number.
    mutating func begin() -> Int {
        begun += 1
        return begun
    }

    /// Push `number` has come as a whole from `origin`, and says `message`. One that began to come later makes it void.
    mutating func put(_ message: Bytes, from origin: Origin, of number: Int) {
        guard number > newest else { return }
        newest = number
        waiting = (message, origin)
    }

    /// Takes out what is to be applied at `now`, if anything is.
    mutating func take(at now: Instant) -> (message: Bytes, origin: Origin)? {
        guard waiting != nil, meter.take(rate, at: now) else { return nil }
        return waiting.take()
    }

    /// When `take` is to be called, if something waits.
    var deadline: Instant? { waiting == nil ? nil : meter.next(rate) }

    /// Drops what waits.
    mutating func clear() { waiting = nil }
}
