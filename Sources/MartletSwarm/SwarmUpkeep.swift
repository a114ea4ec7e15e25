public import MartletIdentity
internal import MartletRuntime
internal import MartletTransport

// Keeping what is worth keeping.
extension Swarm {
    // MARK: Worth

    /// Keeps the connections to `peer` when there are too many, until `unprotect` is called with the same `reason`.
    public func protect(_ peer: PeerID, for reason: String) {
        entry(of: peer).protections.insert(reason)
    }

    /// Ends the protection for `reason`. Says whether the peer is protected for another.
    @discardableResult
    public func unprotect(_ peer: PeerID, for reason: String) -> Bool {
        guard let entry = peers[peer] else { return false }
        entry.protections.remove(reason)
        let isProtected = !entry.protections.isEmpty
        forgetIfPossible(entry)
        return isProtected
    }

    /// Sets what `peer` is worth for the reason `tag`; `nil` for nothing. When there are too many connections, those
    /// whose tags add up to the least are closed.
    public func tag(_ peer: PeerID, _ tag: String, value: Int?) {
        let entry = entry(of: peer)
        entry.tags[tag] = value
        forgetIfPossible(entry)
    }

    func trimIfNeeded() {
        // What is being closed already takes a place for a while yet.
        let staying = gate.established - gate.closing
        guard staying > limits.highMark, loop.now >= nextTrim else { return }
        let victims = trimPlan.victims(
            among: peers.values.compactMap(\.trimCandidate), excess: staying - limits.lowMark, at: loop.now)
        // If nothing can go, looking again at once would cost much and find nothing.
        if victims.isEmpty { nextTrim = loop.now + .seconds(1) }
        for victim in victims {
            metrics.trimmed.increment(by: UInt64(peers[victim]?.connections.count ?? 0))
            close(victim, because: .trimmed)
        }
    }

    /// Drawn when it is first needed.
    private var trimPlan: TrimPlan {
        if let trimSalt { return TrimPlan(grace: limits.trimGrace, salt: trimSalt) }
        var random = environment.random
        let salt: UInt64 = random.next()
        trimSalt = salt
        return TrimPlan(grace: limits.trimGrace, salt: salt)
    }

    // MARK: Several connections to one peer

    /// Chooses the connection for new streams, and closes those that are not used any more. One that can carry no more
    /// streams of this side is not chosen, even if it is the only one: the next stream is worth a dial then.
    func review(_ entry: PeerEntry) {
        let members = entry.connections.filter { $0.closing == nil }
        let usable = members.filter { !$0.isDraining }
        let chosen = duplicates.preferred(of: usable.map(\.candidate), with: entry.peer)
        entry.preferred = usable.first { $0.number == chosen?.number }
        guard members.count > 1 || members.first?.isDraining == true else { return entry.review = nil }
        var next: Instant?
        for member in members where member !== entry.preferred {
            guard let time = duplicates.closingTime(of: member.candidate, with: entry.peer) else { continue }
            if time <= loop.now {
                close(member, because: .replaced)
            } else {
                next = min(next ?? time, time)
            }
        }
        guard let next else { return }
        if entry.review == nil {
            entry.review = LoopTimer(on: loop, label: "duplicates") { [weak self, weak entry] in
                if let entry { self?.review(entry) }
            }
        }
        entry.review?.arm(at: next)
    }

    // MARK: Who may be connected

    func enforceAccess() {
        for peer in connectedPeers {
            for member in peers[peer]?.connections ?? [] {
                let address = member.connection.remoteAddress.ipAddress
                if let refusal = access.refusal(of: peer, at: address) {
                    count(refusal, peer, member.connection.remoteAddress)
                    close(member, because: .refused(refusal))
                }
            }
        }
        for dial in dialsInOrder {
            if case .peer(let peer) = dial.target, let refusal = access.refusal(of: peer) {
                dial.finish(.failure(.refused(refusal)))
            }
        }
    }
}
