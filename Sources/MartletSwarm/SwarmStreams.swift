public import MartletIdentity
public import MartletRuntime
public import MartletTransport

/// A handler of streams in a swarm, until it is removed.
public struct ProtocolRegistration: Hashable, Sendable {
    let number: UInt64
}

extension Swarm {
    // MARK: Taking streams

    /// Gives streams of the protocol `name` to `handler`, at most `limit` of one peer at the same time. It takes the
    /// place of another handler of that name.
    @discardableResult
    public func handle(
        _ name: String, limit: Int? = nil, _ handler: @escaping StreamHandler
    ) -> ProtocolRegistration {
        handleOnConnection(name, limit: limit) { stream, name, _ in handler(stream, name) }
    }

    /// The same for a protocol of the swarm's own, to which it matters which connection carries the stream.
    @discardableResult
    func handleOnConnection(
        _ name: String, limit: Int? = nil, _ handler: @escaping ProtocolTable.Handler
    ) -> ProtocolRegistration {
        let number = protocols.add(name, limit: limit, handler)
        protocolsChanged()
        return ProtocolRegistration(number: number)
    }

    /// Gives streams of all protocols whose names meet `predicate`, and for which there is no handler by name, to
    /// `handler`, at most `limit` of one protocol and peer at the same time.
    @discardableResult
    public func handle(
        where predicate: @escaping (String) -> Bool, limit: Int? = nil, _ handler: @escaping StreamHandler
    ) -> ProtocolRegistration {
        let number = protocols.add(where: predicate, limit: limit) { stream, name, _ in handler(stream, name) }
        return ProtocolRegistration(number: number)
    }

    /// Ends a registration. Streams that were handed out live on.
    public func remove(_ registration: ProtocolRegistration) {
        protocols.remove(registration.number)
        protocolsChanged()
    }

    /// The protocols that this node speaks by exact name, in order.
    public var protocolNames: [String] { protocols.names }

    func accept(_ stream: Stream, on member: SwarmConnection, of entry: PeerEntry) {
        if let refusal = refusal(of: stream, on: member, of: entry) {
            stream.reset()
            return count(refusal, entry.peer)
        }
        metrics.streams[.inbound].increment()
        member.inboundStreams += 1
        begun(stream, on: member, of: entry) { member.inboundStreams -= 1 }
        if let name = stream.answerProposalAtOnce(accepts: { protocols[$0] != nil }) {
            return handOver(stream, name, on: member, of: entry)
        }
        let ticket = negotiations.begin(stream)
        loop.spawn { [weak self] in
            await self?.negotiate(stream, ticket, member, entry)
        }
    }

    private func refusal(of stream: Stream, on member: SwarmConnection, of entry: PeerEntry) -> Refusal? {
        guard member.inboundStreams < limits.streamsPerConnection else { return .streamsPerConnection }
        guard entry.streamMeter.take(limits.streamRate, at: loop.now) else { return .streamRate }
        if stream.isBeyondShare { return .streams }
        return memory(of: entry.peer).isTight ? .memory : nil
    }

    /// Counts `stream` until it has ended.
    private func begun(
        _ stream: Stream, on member: SwarmConnection, of entry: PeerEntry, ended: @escaping () -> Void = {}
    ) {
        member.streams += 1
        member.connection.whenEnded(stream) { [weak self, weak entry] in
            ended()
            member.streams -= 1
            guard member.streams == 0, let self else { return }
            member.idleSince = self.loop.now
            if let entry, entry.connections.count > 1 || member.isDraining { self.review(entry) }
        }
    }

    private nonisolated(nonsending) func negotiate(
        _ stream: Stream, _ ticket: NegotiationQueue.Ticket, _ member: SwarmConnection, _ entry: PeerEntry
    ) async {
        let name: String
        var unknown: String?
        do throws(StreamError) {
            name = try await stream.answerProposals(all: protocols.names) { proposed in
                if protocols[proposed] != nil { return true }
                unknown = proposed
                return false
            }
            negotiations.end(ticket)
        } catch {
            negotiations.end(ticket)
            stream.reset()
            switch error {
            case .negotiation: count(.negotiation, entry.peer)
            case .truncated: count(.unknownProtocol, entry.peer, protocol: unknown)
            default: break
            }
            return wasted(member, of: entry)
        }
        handOver(stream, name, on: member, of: entry)
    }

    /// Gives a stream whose protocol is agreed on to its handler.
    private func handOver(_ stream: Stream, _ name: String, on member: SwarmConnection, of entry: PeerEntry) {
        // The table may have changed since the name was agreed on.
        guard let handler = protocols[name] else { return stream.reset() }
        let open = entry.inbound[name, default: 0]
        guard open < handler.limit ?? limits.streamsPerProtocolAndPeer else {
            stream.reset()
            return count(.streamsPerProtocol, entry.peer)
        }
        entry.inbound[name] = open + 1
        member.connection.whenEnded(stream) { [weak entry] in
            guard let entry, let open = entry.inbound[name] else { return }
            entry.inbound[name] = open > 1 ? open - 1 : nil
        }
        handler.handler(stream, name, member)
    }

    /// A stream has come to nothing: a peer whose streams mostly do is disconnected.
    private func wasted(_ member: SwarmConnection, of entry: PeerEntry) {
        guard member.closing == nil, member.connection.closeReason == nil else { return }
        guard !entry.wasteMeter.take(limits.wastedStreamRate, at: loop.now) else { return }
        count(.wastedStreams, entry.peer)
        close(member, because: .refused(.wastedStreams))
    }

    /// Breaks off `stream`, with which its peer has gone beyond the rate of a protocol. One that does so again and again
    /// is disconnected.
    func breakOff(_ stream: Stream, beyondRateOn member: SwarmConnection) {
        stream.reset()
        _ = bears(stream, beyondRateOn: member)
    }

    /// Counts that the peer of `stream` has gone beyond the rate of a protocol with it, and returns whether that is borne:
    /// one that does so again and again is disconnected.
    func bears(_ stream: Stream, beyondRateOn member: SwarmConnection) -> Bool {
        count(.protocolRate, stream.remotePeer)
        guard let entry = peers[stream.remotePeer], member.closing == nil else { return false }
        guard !entry.excessMeter.take(limits.excessRate, at: loop.now) else { return true }
        close(entry.peer, because: .refused(.protocolRate))
        return false
    }

    /// Breaks off `stream`, on which a protocol of this node ran into `error`. One who does not take what it has asked for
    /// is counted.
    func giveUp(_ stream: Stream, _ error: StreamError) {
        stream.reset()
        if error == .timedOut { count(.stalled, stream.remotePeer) }
    }

    // MARK: Opening streams

    /// Opens a stream of the protocol `name` to `peer`, by `deadline`.
    ///
    /// If no connection to the peer takes another stream, the peer is dialled where it was reached before and where callers
    /// said that it is, and not where only the peer itself says so: it could name anyone, and has only to end its connection
    /// to have a node dial there. Call `connect` first to dial there too. If the stream is `onlyConnected`, nobody is
    /// dialled, and `notConnected` is thrown.
    ///
    /// If there is a connection, nothing is waited for: what is written goes out together with the proposal. If the peer
    /// does not speak the protocol, reading throws `protocolsNotSupported`.
    public nonisolated(nonsending) func openStream(
        to peer: PeerID, _ name: String, onlyConnected: Bool = false, by deadline: Instant? = nil
    ) async throws(SwarmError) -> Stream {
        let stream = try await openRawStream(
            to: peer, onlyConnected: onlyConnected, by: deadline ?? loop.now + limits.dialTimeout)
        do throws(StreamError) {
            try stream.propose(name)
        } catch {
            throw SwarmError(error)
        }
        return stream
    }

    /// Opens a stream to `peer` of the first of `names`, in order of preference, that it speaks, and says which. Whom it
    /// dials for that is as with a single name.
    ///
    /// Nothing is waited for where the peer has said what it speaks; else a round trip for each that it does not.
    public nonisolated(nonsending) func openStream(
        to peer: PeerID, oneOf names: [String], by deadline: Instant? = nil
    ) async throws(SwarmError) -> (stream: Stream, name: String) {
        let deadline = deadline ?? loop.now + limits.dialTimeout
        let stream = try await openRawStream(to: peer, by: deadline)
        let known = peers[peer]?.info?.protocols ?? []
        do throws(StreamError) {
            if let name = names.count == 1 ? names[0] : names.first(where: known.contains) {
                try stream.propose(name)
                return (stream, name)
            }
            stream.setReadDeadline(after: deadline - loop.now)
            let name = try await stream.negotiate(names)
            stream.setReadDeadline(after: nil)
            return (stream, name)
        } catch {
            throw SwarmError(error)
        }
    }

    nonisolated(nonsending) func openRawStream(
        to peer: PeerID, onlyConnected: Bool = false, by deadline: Instant
    ) async throws(SwarmError) -> Stream {
        do throws(SwarmError) {
            return try await openRawStreamOnce(to: peer, onlyConnected: onlyConnected, by: deadline)
        } catch {
            guard error == .connection(.noMoreStreams) else { throw error }
        }
        // It turned out only now that the connection can carry no more. Another takes its place.
        return try await openRawStreamOnce(to: peer, onlyConnected: onlyConnected, by: deadline)
    }

    private nonisolated(nonsending) func openRawStreamOnce(
        to peer: PeerID, onlyConnected: Bool, by deadline: Instant
    ) async throws(SwarmError) -> Stream {
        if peers[peer]?.preferred == nil {
            guard !onlyConnected else { throw .notConnected }
            do throws(ConnectError) {
                let trusted = addressBook.addresses(of: peer, from: .given)
                _ = try await connect(to: peer, onlyAt: trusted, by: deadline)
            } catch {
                throw .dial(error)
            }
        }
        guard let entry = peers[peer], let member = entry.preferred else {
            throw .connection(.closedByPeer(code: 0))
        }
        return try await openRawStream(on: member, of: entry, by: deadline)
    }

    nonisolated(nonsending) func openRawStream(
        on member: SwarmConnection, of entry: PeerEntry, by deadline: Instant
    ) async throws(SwarmError) -> Stream {
        guard memory(of: entry.peer).admitsStream(.outbound) else { throw .connection(.tooManyStreams) }
        let stream: Stream
        let start = loop.now
        do throws(ConnectionError) {
            stream = try await member.connection.openStream(by: deadline)
        } catch {
            let isStuck =
                error == .timedOut && member.outboundStreams == 0 && loop.now - start >= limits.streamPatience
            if isStuck || error == .noMoreStreams {
                member.isSpent = true
                review(entry)
            }
            throw error == .timedOut ? .timedOut : .connection(error)
        }
        metrics.streams[.outbound].increment()
        begun(stream, on: member, of: entry)
        return stream
    }
}
