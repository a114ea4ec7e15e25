public import MartletIdentity
public import MartletRuntime
internal import MartletTransport
internal import MartletWire

/// `/ipfs/ping/1.0.0` (libp2p's ping specification), as the side that asks: one stream, on which one ping follows the
/// other. It belongs to the swarm's loop.
public final class Pinger {
    static let name = "/ipfs/ping/1.0.0"
    static let size = 32
    /// How often a peer may ping: more is no measurement.
    static let rate = Rate(burst: 1000, perSecond: 200)

    private let swarm: Swarm
    private let stream: Stream
    /// The peer.
    public let peer: PeerID
    /// What was measured so far.
    public private(set) var statistics = PingStatistics()

    init(_ swarm: Swarm, _ stream: Stream) {
        self.swarm = swarm
        self.stream = stream
        peer = stream.remotePeer
    }

    /// Sends a ping and waits for its answer, no longer than `timeout`.
    public nonisolated(nonsending) func ping(
        timeout: Duration = .seconds(10)
    ) async throws(SwarmError) -> Duration {
        var random = swarm.environment.random
        var writer = Writer(capacity: Self.size)
        for _ in 0..<Self.size / 8 { writer.integer(random.next()) }
        let sent = writer.finish()
        let start = swarm.loop.now
        let answer: Bytes
        do throws(StreamError) {
            stream.setReadDeadline(after: timeout)
            try await stream.write(sent)
            answer = try await stream.read(exactly: Self.size)
        } catch {
            statistics.addLoss()
            throw SwarmError(error)
        }
        guard answer == sent else {
            stream.reset()
            statistics.addLoss()
            swarm.count(.protocolViolation, peer)
            throw .violation("another answer than what was sent")
        }
        let roundTrip = swarm.loop.now - start
        statistics.add(roundTrip)
        swarm.peers[peer]?.roundTrips.add(roundTrip)
        swarm.metrics.roundTrips.record(roundTrip)
        return roundTrip
    }

    /// Ends the stream.
    public func close() {
        stream.closeWrite()
        stream.closeRead()
    }
}

extension Swarm {
    /// Opens a stream to `peer` for pings, by `deadline`. If it is `onlyConnected`, the peer is not dialled for it.
    public nonisolated(nonsending) func pinger(
        to peer: PeerID, onlyConnected: Bool = false, by deadline: Instant? = nil
    ) async throws(SwarmError) -> Pinger {
        Pinger(self, try await openStream(to: peer, Pinger.name, onlyConnected: onlyConnected, by: deadline))
    }

    /// The round trips of all pings to `peer` since it was connected.
    public func roundTrips(to peer: PeerID) -> PingStatistics? {
        peers[peer]?.roundTrips
    }

    func handlePing() {
        handleOnConnection(Pinger.name, limit: 2) { [weak self] stream, _, member in
            guard let self else { return }
            self.loop.spawn { await self.answerPings(stream, on: member) }
        }
    }

    /// Gives back what comes, 32 bytes at a time, until the other side ends it.
    private nonisolated(nonsending) func answerPings(_ stream: Stream, on member: SwarmConnection) async {
        var meter = RateMeter()
        stream.setWriteDeadline(after: .seconds(60))
        while let ping = try? await stream.read(exactly: Pinger.size) {
            guard meter.take(Pinger.rate, at: loop.now) else {
                return breakOff(stream, beyondRateOn: member)
            }
            stream.setWriteDeadline(after: .seconds(60))
            do throws(StreamError) {
                try await stream.write(ping)
            } catch {
                return giveUp(stream, error)
            }
        }
        stream.closeWrite()
    }
}
