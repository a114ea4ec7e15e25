import MartletRuntime
import MartletWire

/// The nodes of a family that others have named while few are known there: ways in (BEP 32), on the word of strangers. A
/// machine.
///
/// They are tried beside the nodes that this node knows itself, never in their place, and they are never saved. Each
/// network that tells of nodes has a few places, each host that is told of has one, and all of them are free again once
/// they have been tried in vain.
struct Hearsay {
    private struct Told {
        let node: CompactNode
        let teller: SocketAddress
    }

    private let limits: MainlineLimits
    private var told: [Told] = []
    /// How many of them, from the first on, the attempt to join that runs now has tried.
    private var tried = 0
    /// Whether hearsay has brought the next attempt to join nearer already.
    private var hasHastened = false
    private var turn = 0

    init(limits: MainlineLimits) { self.limits = limits }

    var isEmpty: Bool { told.isEmpty }

    /// The nodes, each with the one that told of it.
    var nodes: [(node: CompactNode, teller: SocketAddress)] { told.map { ($0.node, $0.teller) } }

    /// Takes note of `node`, of which `teller` has told, if there is a place for it. Returns whether there was.
    mutating func add(_ node: CompactNode, toldBy teller: SocketAddress) -> Bool {
        guard told.count < limits.hearsay else { return false }
        let host = node.address.host ?? node.address.ip
        let network = teller.network ?? teller.ip
        var ofTeller = 0
        for other in told {
            if (other.node.address.host ?? other.node.address.ip) == host { return false }
            if (other.teller.network ?? other.teller.ip) == network { ofTeller += 1 }
        }
        guard ofTeller < limits.hearsayPerTeller else { return false }
        told.append(Told(node: node, teller: teller))
        return true
    }

    /// When to join again, now that there is somebody new to ask, if that was to happen at `retry`: after half of what is
    /// left of the pause, and once only before the next attempt fails, so that strangers do not drive the attempts.
    mutating func hastened(_ retry: Instant, at now: Instant) -> Instant {
        guard !hasHastened, retry > now else { return retry }
        hasHastened = true
        return now + (retry - now) / 2
    }

    /// The next node to probe, in turn.
    mutating func nextTurn() -> SocketAddress? {
        guard !told.isEmpty else { return nil }
        turn = (turn + 1) % told.count
        return told[turn].node.address
    }

    /// An attempt to join begins, which tries all of them.
    mutating func attemptBegan() { tried = told.count }

    /// Nobody has answered it.
    mutating func attemptFailed() {
        told.removeFirst(min(tried, told.count))
        tried = 0
        hasHastened = false
    }

    /// The node has joined, and has no use for hearsay.
    mutating func joined() { self = Hearsay(limits: limits) }
}
