internal import MartletCrypto
internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport
internal import MartletWire

/// What identify remembers in a swarm.
final class IdentifyState {
    static let name = "/ipfs/id/1.0.0"
    static let pushName = "/ipfs/id/push/1.0.0"
    /// How long an answer may take.
    static let timeout = Duration.seconds(30)
    /// How long changes are collected before they are pushed.
    static let collecting = Duration.milliseconds(200)
    /// How often this node pushes: less often than it takes pushes from others.
    static let ownRate = Rate(burst: 4, perSecond: 1.0 / 15)
    /// How long changes are collected once it has pushed more often than that.
    static let collectingLong = Duration.seconds(15)

    /// Signed records of the addresses that peers of a reach are told.
    var records: [Reach: SignedPeerRecord] = [:]
    var sequence: UInt64 = 0
    var timer: LoopTimer?
    /// Pushes of this node's own.
    var pushes = RateMeter()
    /// Which records of others are checked.
    var checks: RecordChecks

    init(_ limits: SwarmLimits) {
        checks = RecordChecks(limits)
    }

    /// From how far a peer connects, and so which addresses mean anything to it.
    enum Reach: Int, Comparable {
        case loopback, site, anywhere

        init(_ address: Multiaddr) {
            guard let ip = address.ipAddress else { self = .anywhere; return }
            self = ip.isLoopback ? .loopback : ip.isPrivate || ip.isLinkLocal || ip.isShared ? .site : .anywhere
        }

        static func < (left: Reach, right: Reach) -> Bool { left.rawValue < right.rawValue }
    }
}

// `/ipfs/id/1.0.0` and `/ipfs/id/push/1.0.0` (libp2p's identify specification).
extension Swarm {
    func handleIdentify() {
        handleOnConnection(IdentifyState.name, limit: 4) { [weak self] stream, _, member in
            guard let self else { return }
            self.loop.spawn { await self.answerIdentify(stream, on: member) }
        }
        // Some send a push for each address that they begin to listen on, all at once.
        handleOnConnection(IdentifyState.pushName, limit: 16) { [weak self] stream, _, member in
            guard let self, let entry = self.peers[stream.remotePeer] else { return }
            guard !entry.pushes.isBusy(at: self.loop.now) || self.bears(stream, beyondRateOn: member) else {
                return stream.reset()
            }
            let number = entry.pushes.begin()
            self.loop.spawn { await self.takePush(stream, number, on: member, of: entry) }
        }
    }

    // MARK: Telling

    private nonisolated(nonsending) func answerIdentify(_ stream: Stream, on member: SwarmConnection) async {
        stream.setWriteDeadline(after: IdentifyState.timeout)
        do throws(StreamError) {
            try await stream.writeMessage(ownMessage(on: member))
            stream.closeWrite()
        } catch {
            giveUp(stream, error)
        }
    }

    /// What this node says of itself on a connection: where it sees the other end of that one, and of its own addresses
    /// only those that mean something there.
    private func ownMessage(on member: SwarmConnection) -> Bytes {
        let remote = member.connection.remoteAddress
        var info = PeerInfo()
        info.protocolVersion = configuration.protocolVersion
        info.agentVersion = configuration.agentVersion
        info.protocols = protocols.names
        info.observedAddress = remote
        let record = ownRecord(for: IdentifyState.Reach(remote))
        info.record = record
        info.listenAddresses = record.record.addresses
        return IdentifyMessage.write(info, key: identity.publicKey)
    }

    private func ownRecord(for reach: IdentifyState.Reach) -> SignedPeerRecord {
        if let record = identify.records[reach] { return record }
        let addresses = announced.filter { IdentifyState.Reach($0) >= reach }
        // A peer may be told of more than one reach: two records that differ never bear the same number (RFC 0003).
        identify.sequence += 1
        let record = SignedPeerRecord(addresses: addresses, sequence: identify.sequence, signedWith: identity)
        identify.records[reach] = record
        return record
    }

    func addressesChanged() {
        identify.records = [:]
        identify.sequence = max(identify.sequence + 1, UInt64(clamping: environment.wallTime.nanoseconds))
        pushSoon()
    }

    func protocolsChanged() {
        pushSoon()
    }

    private func pushSoon() {
        guard gate.established > 0, configuration.identifiesPeers else { return }
        if identify.timer == nil {
            identify.timer = LoopTimer(on: loop, label: "identify push") { [weak self] in self?.push() }
        }
        if identify.timer?.deadline == nil { identify.timer?.arm(after: IdentifyState.collecting) }
    }

    private func push() {
        guard identify.pushes.take(IdentifyState.ownRate, at: loop.now) else {
            identify.timer?.arm(after: IdentifyState.collectingLong)
            return
        }
        for peer in connectedPeers where peers[peer]?.info?.protocols.contains(IdentifyState.pushName) ?? false {
            loop.spawn { [self] in await push(to: peer) }
        }
    }

    /// Pushes over the connection that is there: a peer that has gone meanwhile is not worth a dial.
    private nonisolated(nonsending) func push(to peer: PeerID) async {
        guard let entry = peers[peer], let member = entry.preferred else { return }
        let deadline = loop.now + IdentifyState.timeout
        guard let stream = try? await openRawStream(on: member, of: entry, by: deadline) else { return }
        do throws(StreamError) {
            try stream.propose(IdentifyState.pushName)
            stream.setWriteDeadline(after: IdentifyState.timeout)
            try await stream.writeMessage(ownMessage(on: member))
            stream.closeWrite()
            // A stream that is dropped refuses the answer to the proposal, which some take badly.
            stream.setReadDeadline(after: IdentifyState.timeout)
            _ = try await stream.read(upTo: 1)
        } catch {
            stream.reset()
        }
    }

    // MARK: Being told

    func identifySoon(_ member: SwarmConnection) {
        loop.spawn { [self] in
            guard let entry = peers[member.connection.remotePeer], member.closing == nil else { return }
            await identify(member, entry)
        }
    }

    private nonisolated(nonsending) func identify(_ member: SwarmConnection, _ entry: PeerEntry) async {
        let deadline = loop.now + IdentifyState.timeout
        guard let stream = try? await openRawStream(on: member, of: entry, by: deadline) else { return }
        do throws(StreamError) {
            try stream.propose(IdentifyState.name)
            stream.closeWrite()
            let message = try await read(stream, of: entry)
            guard let message, !entry.connections.isEmpty else { return }
            apply(message, from: member.info, to: entry)
        } catch {
            log.debug("identify failed", ["peer": entry.peer, "error": "\(error)"])
        }
    }

    private nonisolated(nonsending) func takePush(
        _ stream: Stream, _ number: Int, on member: SwarmConnection, of entry: PeerEntry
    ) async {
        stream.closeWrite()
        guard let message = try? await read(stream, of: entry), !entry.connections.isEmpty else { return }
        entry.pushes.put(message, from: member.info, of: number)
        applyPushes(of: entry)
    }

    /// Applies the newest push of `entry`'s peer as soon as its rate allows that.
    private func applyPushes(of entry: PeerEntry) {
        if let push = entry.pushes.take(at: loop.now) { apply(push.message, from: push.origin, to: entry) }
        drawPushes(of: entry)
        guard let deadline = entry.pushes.deadline else { return }
        if entry.pushTimer == nil {
            entry.pushTimer = LoopTimer(on: loop, label: "identify push") { [weak self, weak entry] in
                if let self, let entry { self.applyPushes(of: entry) }
            }
        }
        entry.pushTimer?.arm(at: deadline)
    }

    private func drawPushes(of entry: PeerEntry) {
        let size = entry.pushes.waiting?.message.count ?? 0
        memory.draw(size - entry.pushSize)
        entry.pushSize = size
    }

    /// Reads what `entry`'s peer says of itself, in one message or several; `nil` if that is nothing.
    private nonisolated(nonsending) func read(
        _ stream: Stream, of entry: PeerEntry
    ) async throws(StreamError) -> Bytes? {
        stream.setReadDeadline(after: IdentifyState.timeout)
        var all = Writer(capacity: 1024)
        var count = 0
        var drawn = 0
        defer { memory.draw(-drawn) }
        do throws(StreamError) {
            while let message = try await stream.readMessage(upTo: IdentifyMessage.maximumSize - all.count) {
                all.bytes(message)
                count += 1
                memory.draw(message.count)
                drawn += message.count
                guard count <= IdentifyMessage.maximumMessages else {
                    throw .messageTooLarge(size: UInt64(all.count))
                }
            }
        } catch {
            stream.reset()
            switch error {
            case .messageTooLarge, .malformedLength, .truncated: self.count(.protocolViolation, entry.peer)
            default: break
            }
            throw error
        }
        return count > 0 ? all.finish() : nil
    }

    func forgetInfo(of entry: PeerEntry) {
        entry.info = nil
        memory.draw(-entry.infoSize)
        entry.infoSize = 0
        entry.pushes.clear()
        entry.pushTimer?.cancel()
        drawPushes(of: entry)
    }

    private func apply(_ message: Bytes, from connection: ConnectionInfo, to entry: PeerEntry) {
        var info = entry.info ?? PeerInfo()
        let before = info
        do throws(IdentifyError) {
            try IdentifyMessage.read(message, from: entry.peer, into: &info) { envelope throws(IdentifyError) in
                try checkedRecord(in: envelope, from: connection.remoteIP, of: entry.peer)
            }
        } catch {
            log.debug("identify made no sense", ["peer": entry.peer, "error": "\(error)"])
            return count(.protocolViolation, entry.peer)
        }
        let isFirst = entry.info == nil
        entry.info = info
        memory.draw(message.count - entry.infoSize)
        entry.infoSize = message.count
        // What nothing here can dial would only take the place of what can be.
        let dialable = info.listenAddresses.filter { address in transports.contains { $0.canDial(address) } }
        addressBook.claim(dialable, of: entry.peer, heardIn: connection.scope)
        guard isFirst || info != before else { return }
        if let observed = info.observedAddress, isFirst || observed != before.observedAddress {
            tell(.observedAddress(observed, by: entry.peer))
        }
        tell(.identified(entry.peer, info))
    }

    /// The record in `envelope`, whose signature is checked unless it is known; `nil` if there were too many to check.
    private func checkedRecord(
        in envelope: Bytes, from address: IPAddress?, of peer: PeerID
    ) throws(IdentifyError) -> SignedPeerRecord? {
        if let known = identify.checks.known(envelope, of: peer) { return known }
        guard identify.checks.mayCheck(from: address, at: loop.now) else {
            count(.protocolRate, peer, protocol: IdentifyState.name)
            return nil
        }
        let record = try IdentifyMessage.open(envelope)
        identify.checks.remember(record)
        return record
    }
}
