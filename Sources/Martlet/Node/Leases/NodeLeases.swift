internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletTransport

// Who stays connected. Whatever wants a peer connected holds it; only the table of leases has a connection closed.
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
        // When the swarm itself is full, it goes by the same worth.
        let worth = leases.worth(of: peer)
        swarm.tag(peer, "leases", value: worth == 0 ? nil : worth)
        leaseTimer.arm(at: loop.now)
    }

    /// Closes the connections that nothing holds.
    func closeUnheld() {
        guard !isStopping else { return }
        while let closing = leases.nextClosing(at: loop.now) {
            // What nothing holds may still be pinged or be telling what it is; the table names it again soon.
            if closing.cause == .unheld, isUsed(closing.peer) { continue }
            log.debug("a peer is let go", ["peer": closing.peer, "reason": closing.cause.rawValue])
            swarm.disconnect(closing.peer)
        }
        leaseTimer.arm(at: leases.deadline)
    }

    /// Whether a stream to `peer` is open beside the one of this node's own pings.
    private func isUsed(_ peer: PeerID) -> Bool {
        swarm.statistics(of: peer).contains { $0.1.openStreams > (links[peer]?.pinger == nil ? 0 : 1) }
    }

    /// `stream` is one of the user's, whose connection is in use while it is open.
    func use(_ stream: MartletTransport.Stream) {
        guard let link = links[stream.remotePeer], let connection = Connection.carrying(stream) else { return }
        link.userStreams += 1
        // The next heartbeat ends the lease if all streams are over by then, so that a peer that opens thousands, one
        // after the other, changes no lease with each.
        if !leases.isHeld(link.peer, for: .stream) { hold(link.peer, for: .stream, worth: Worth.stream) }
        connection.whenEnded(stream) { [weak link] in link?.userStreams -= 1 }
    }

    /// Sees whether the user's streams to the peer of `link` are over.
    func reviewUse(of link: PeerLink) {
        guard link.userStreams == 0, leases.isHeld(link.peer, for: .stream) else { return }
        hold(link.peer, for: .use, worth: Worth.use, lasting: leases.limits.use)
        release(link.peer, for: .stream)
    }
}
