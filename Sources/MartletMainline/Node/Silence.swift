import MartletRuntime

/// Whether anybody answers in one family: how many queries in a row nobody has, and since when. Nothing else in the node
/// knows that; `JoinState` says only what the node does about it.
///
/// When nobody at all answers, that says nothing about any one node: the network is away, or this host is. So nothing
/// is counted against the nodes of the table then, and a few of them are probed until one answers.
struct Silence {
    /// How many nodes are probed at once, and how often.
    static let probes = 4
    static let probeEvery = Duration.seconds(10)
    /// How long nobody must have answered until the node joins anew.
    private static let longest = Duration.seconds(10)

    private var unanswered = 0
    /// Whether the node has given up joining since somebody answered last.
    private var hasGivenUp = false
    /// When the first query that nobody has answered was sent.
    private var began: Instant?
    /// When nodes may be probed again.
    private(set) var nextProbe = Instant.start
    private var turn = 0

    mutating func sent(at now: Instant) { began = began ?? now }

    mutating func timedOut() { unanswered += 1 }

    mutating func gaveUp() { hasGivenUp = true }

    mutating func answered() {
        unanswered = 0
        hasGivenUp = false
        began = nil
    }

    /// Whether nobody answers at all: so many have not, when `known` nodes are known, that it is hardly theirs, or joining
    /// has failed and nobody has answered since.
    func isTotal(known: Int) -> Bool { hasGivenUp || unanswered >= max(2, min(8, known)) }

    /// How long nobody has answered, once that is long.
    func duration(at now: Instant) -> Duration? {
        guard unanswered > 0, let began, now - began >= Self.longest else { return nil }
        return now - began
    }

    /// Whether it is time to probe; if so, the next time is a while from now.
    mutating func mayProbe(at now: Instant) -> Bool {
        guard now >= nextProbe else { return false }
        nextProbe = now + Self.probeEvery
        return true
    }

    /// Somebody has asked us something, so there is a network.
    mutating func probeSoon(at now: Instant) { nextProbe = min(nextProbe, now + .seconds(1)) }

    /// Which of `count` nodes is the next one to probe.
    mutating func nextTurn(of count: Int) -> Int {
        turn = (turn + 1) % count
        return turn
    }
}
