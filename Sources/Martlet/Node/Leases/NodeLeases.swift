internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletTransport

// Who stays connected. Whatever wants a peer connected holds it; of a node, only the table of leases has a connection
// closed.
extension NodeDriver {
    /// What leases for the different reasons are worth. Together they say whose connection goes first.
    enum Worth {
        static let arrival = 1
        static let use = 5
        static let topic = 10
        static let stream = 20
        static let user = 1000
    }

    /// Keeps `peer` connected for `reason`, for `duration` or until it is released.
    func hold(_ peer: PeerID, for reason: LeaseReason, worth: Int, lasting duration: Duration? = nil) {
        let end = duration.map { loop.now + $0 } ?? .never
        leases.hold(peer, for: reason, worth: worth, until: end, at: loop.now)
        leasesChanged(of: peer)
    }

    /// `peer` need not stay connected for `reason` any more.
    func release(_ peer: PeerID, for reason: LeaseReason) {
        leases.release(peer, for: reason, at: loop.now)
        leasesChanged(of: peer)
    }

    /// `peer` has come, and has a while to show what it is of use for.
    func welcome(_ peer: PeerID) {
        hold(peer, for: .arrival, worth: Worth.arrival, lasting: leases.limits.arrival)
    }

    /// Whether the user wants `peer` connected.
    func isWanted(_ peer: PeerID) -> Bool { leases.isHeld(peer, for: .user) }

    func leasesChanged(of peer: PeerID) {
        guard !isStopping else { return }
        if leases.isOfUse(peer) { links[peer]?.reprieves = 0 }
        tag(peer)
        leaseTimer.arm(at: loop.now)
    }

    /// Tells the swarm what the leases of `peer` are worth: when it is full itself, it goes by the same.
    private func tag(_ peer: PeerID) {
        let worth = leases.worth(of: peer)
        swarm.tag(peer, "leases", value: worth == 0 ? nil : worth)
    }

    /// Closes the connections that nothing holds.
    func closeUnheld() {
        guard !isStopping else { return }
        while let closing = leases.nextClosing(at: loop.now) {
            // What nothing holds may still be telling what it is; the table names it again soon.
            if closing.cause == .unheld, let link = links[closing.peer], isUsed(link), link.reprieves < Self.reprieves {
                link.reprieves += 1
                continue
            }
            log.debug("a peer is let go", ["peer": closing.peer, "reason": closing.cause.rawValue])
            swarm.disconnect(closing.peer)
        }
        while let peer = leases.nextEnded() { tag(peer) }
        leaseTimer.arm(at: leases.deadline)
    }

    /// How often a connection that nothing holds is kept for a while because a stream of it is open: a peer can open some
    /// at any time.
    private static let reprieves = 2

    /// Whether a stream of `link` is open beside the one of this node's own pings.
    private func isUsed(_ link: PeerLink) -> Bool {
        swarm.statistics(of: link.peer).contains { $0.1.openStreams > (link.pinger == nil ? 0 : 1) }
    }

    // Of both kinds of streams, the next heartbeat sees whether all are over, so that a peer that opens thousands, one after
    // the other, changes no lease with each.

    /// `stream` is one that the user opened. Its connection stays while it is open.
    func opened(_ stream: MartletTransport.Stream) {
        guard let link = links[stream.remotePeer], let connection = Connection.carrying(stream) else { return }
        link.ownStreams += 1
        if !leases.isHeld(link.peer, for: .stream) { hold(link.peer, for: .stream, worth: Worth.stream) }
        connection.whenEnded(stream) { [weak link] in link?.ownStreams -= 1 }
    }

    /// `stream` is one that the peer opened, of a protocol that the user handles. Its connection is of use while it is open,
    /// and yields to others only when there are too many.
    func accepted(_ stream: MartletTransport.Stream) {
        guard let link = links[stream.remotePeer], let connection = Connection.carrying(stream) else { return }
        link.peerStreams += 1
        if !link.isUsing {
            link.isUsing = true
            hold(link.peer, for: .use, worth: Worth.use)
        }
        connection.whenEnded(stream) { [weak link] in link?.peerStreams -= 1 }
    }

    /// Sees whether the streams of the user's protocols to the peer of `link` are over.
    func reviewUse(of link: PeerLink) {
        if link.ownStreams == 0, leases.isHeld(link.peer, for: .stream) {
            if !link.isUsing { hold(link.peer, for: .use, worth: Worth.use, lasting: leases.limits.use) }
            release(link.peer, for: .stream)
        }
        if link.peerStreams == 0, link.isUsing {
            link.isUsing = false
            hold(link.peer, for: .use, worth: Worth.use, lasting: leases.limits.use)
        }
    }
}
