internal import MartletIdentity
internal import MartletMetadata
internal import MartletRuntime
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

/// The messages of a node to its neighbours and back (`/martlet/message/1.0.0`).
///
/// Each side opens one stream for what it sends, and keeps it open. `Documentation/Messages.md` states what goes over it.
final class NodeMessages {
    /// The name of the protocol.
    static let name = "/martlet/message/1.0.0"
    /// The most bytes of a message.
    static let maximumSize = 64 << 10
    /// The most messages that wait for one peer, and the most bytes of them.
    static let maximumWaiting = 256
    static let maximumWaitingBytes = 1 << 20
    /// How long a peer may take nothing before its stream is given up.
    static let patience = Duration.seconds(30)
    /// How many bytes of one peer are taken; one that sends more is read more slowly.
    static let rate = Rate(burst: 4 << 20, perSecond: Double(1 << 20))
    /// What a message counts for at least, since each becomes an event.
    static let leastSize = 256

    /// Why a message did not come through.
    enum Refusal: String, MetricLabels {
        /// It is no message, or is too large.
        case malformed
        /// Its sender has not proven to be on its topic.
        case topic
        /// Too many wait for the same peer.
        case full
        static let names = ["reason"]
    }

    private struct Entry {
        var frame: Bytes
        var done: ((MartletError?) -> Void)?
    }

    private final class Outgoing {
        var waiting: [Entry] = []
        var bytes = 0
        var isOver = false
        let hasWork: Signal

        init(on loop: EventLoop) { hasWork = Signal(on: loop) }
    }

    private weak var driver: NodeDriver?
    private let loop: EventLoop
    private let localPeer: PeerID
    private let marks: [TopicKey: Bytes]
    private var outgoing: [PeerID: Outgoing] = [:]
    /// How much was taken of each peer that is connected, over all its streams.
    private var meters: [PeerID: RateMeter] = [:]
    private var registration: ProtocolRegistration?
    private let sent: Counter
    private let received: Counter
    private let refused: Labelled<Refusal, Counter>

    init(_ driver: NodeDriver) {
        self.driver = driver
        loop = driver.loop
        let own = driver.swarm.localPeer
        localPeer = own
        marks = driver.marks
        sent = driver.registry.counter("martlet_messages_sent", help: "Messages that were handed to a connection.")
        received = driver.registry.counter("martlet_messages_received", help: "Messages that neighbours sent.")
        refused = driver.registry.counters(
            "martlet_messages_refused", help: "Messages that did not come through.", by: Refusal.self)
        guard !driver.topics.isEmpty else { return }
        registration = driver.swarm.handle(Self.name, limit: 2) { [weak self] stream, _ in
            guard let self, let driver = self.driver else { return stream.reset() }
            driver.begin("messages") { [weak self] in await self?.receive(stream) }
        }
    }

    func stop() {
        for (_, line) in outgoing.sorted(by: { $0.key < $1.key }) { end(line, because: .notRunning) }
        outgoing = [:]
    }

    /// The connection to `peer` is over.
    func forget(_ peer: PeerID) {
        meters[peer] = nil
        guard let line = outgoing.removeValue(forKey: peer) else { return }
        end(line, because: MartletError(.closed, "the connection to \(peer) is over", peer: peer))
    }

    // MARK: Sending

    func send(_ message: Bytes, to peer: PeerID, on topic: String) async throws(MartletError) {
        let frame = try frame(message, topic)
        guard let driver else { throw .notRunning }
        guard driver.metadata.topics(of: peer).contains(TopicKey(topic)) else {
            throw MartletError(
                .unknownPeer, "\(peer) is not connected, or has not proven to be on the topic; see the event joined",
                peer: peer)
        }
        let signal = Signal(on: loop)
        var outcome: MartletError?
        let isQueued = queue(
            Entry(frame: frame) { error in
                outcome = error
                signal.signal()
            }, for: peer)
        guard isQueued else {
            throw MartletError(.refused, "too many messages wait for \(peer) already; it does not keep up", peer: peer)
        }
        do {
            try await signal.wait()
        } catch {
            throw MartletError(.cancelled, "sending was cancelled; the message may still arrive", peer: peer)
        }
        if let outcome { throw outcome }
    }

    func broadcast(_ message: Bytes, on topic: String) throws(MartletError) -> Int {
        let frame = try frame(message, topic)
        guard let driver else { throw .notRunning }
        return driver.metadata.neighbours(on: TopicKey(topic)).count { queue(Entry(frame: frame), for: $0) }
    }

    private func frame(_ message: Bytes, _ topic: String) throws(MartletError) -> Bytes {
        guard message.count <= Self.maximumSize else {
            throw MartletError(
                .tooLarge,
                "a message has \(message.count) bytes; \(Self.maximumSize) are the most. Open a stream for more")
        }
        guard let mark = marks[TopicKey(topic)] else {
            throw MartletError(.invalidConfiguration, "this node is not on that topic; name it in the configuration")
        }
        var writer = Writer(capacity: mark.count + message.count)
        writer.bytes(mark)
        writer.bytes(message)
        return writer.finish()
    }

    /// Puts `entry` behind what waits for `peer`, where there is room.
    private func queue(_ entry: Entry, for peer: PeerID) -> Bool {
        guard let driver else { return false }
        let line: Outgoing
        if let open = outgoing[peer] {
            line = open
        } else {
            line = Outgoing(on: loop)
            outgoing[peer] = line
            driver.begin("messages to a peer") { [weak self] in await self?.serve(line, to: peer) }
        }
        guard line.waiting.count < Self.maximumWaiting, line.bytes + entry.frame.count <= Self.maximumWaitingBytes
        else {
            refused[.full].increment()
            return false
        }
        line.waiting.append(entry)
        line.bytes += entry.frame.count
        line.hasWork.signal()
        return true
    }

    /// Writes what waits for `peer`, until the stream or the connection is over.
    private nonisolated(nonsending) func serve(_ line: Outgoing, to peer: PeerID) async {
        guard let swarm = driver?.swarm else { return }
        var failure = MartletError(.closed, "the connection to \(peer) is over", peer: peer)
        do throws(SwarmError) {
            guard swarm.isConnected(to: peer) else { throw .connection(.closed(code: 0)) }
            let stream = try await swarm.openStream(to: peer, Self.name)
            stream.setWriteDeadline(after: Self.patience)
            while !line.isOver {
                while !line.isOver, !line.waiting.isEmpty {
                    let entry = line.waiting.removeFirst()
                    line.bytes -= entry.frame.count
                    stream.setWriteDeadline(after: Self.patience)
                    do throws(StreamError) {
                        try await stream.writeMessage(entry.frame)
                    } catch {
                        entry.done?(failure)
                        throw .stream(error)
                    }
                    sent.increment()
                    entry.done?(nil)
                }
                if line.isOver { break }
                do { try await line.hasWork.wait() } catch { break }
            }
            stream.closeWrite()
        } catch {
            failure = MartletError(error, peer: peer)
        }
        if outgoing[peer] === line { outgoing[peer] = nil }
        end(line, because: failure)
    }

    private func end(_ line: Outgoing, because error: MartletError) {
        line.isOver = true
        let waiting = line.waiting
        line.waiting = []
        line.bytes = 0
        for entry in waiting { entry.done?(error) }
        line.hasWork.signal()
    }

    // MARK: Receiving

    private nonisolated(nonsending) func receive(_ stream: MartletTransport.Stream) async {
        let peer = stream.remotePeer
        var known: [Bytes: TopicKey] = [:]
        do throws(StreamError) {
            while let frame = try await stream.readMessage(upTo: TopicKey.markSize + Self.maximumSize) {
                guard frame.count >= TopicKey.markSize else { return refuse(stream, .malformed) }
                let mark = frame.slice(0..<TopicKey.markSize)
                guard let topic = await topic(mark, of: peer, &known) else { return refuse(stream, .topic) }
                received.increment()
                let message = frame.slice(TopicKey.markSize..<frame.count)
                driver?.tell(.message(peer, topic: topic.name, message))
                let amount = max(Self.leastSize, frame.count)
                while driver?.swarm.isConnected(to: peer) ?? false,
                    !meters[peer, default: RateMeter()].take(Self.rate, amount: amount, at: loop.now)
                {
                    do { try await loop.sleep(for: .milliseconds(50)) } catch { return stream.reset() }
                }
            }
            stream.closeWrite()
        } catch {
            if case .messageTooLarge = error { refused[.malformed].increment() }
            stream.reset()
        }
    }

    /// The topic that `mark` stands for, if `peer` has proven to be on it. The proof may be on its way still, on another
    /// stream.
    private nonisolated(nonsending) func topic(
        _ mark: Bytes, of peer: PeerID, _ known: inout [Bytes: TopicKey]
    ) async -> TopicKey? {
        for _ in 0..<20 {
            guard let driver, !driver.isStopping else { return nil }
            let proven = driver.metadata.topics(of: peer)
            if let topic = known[mark] {
                if proven.contains(topic) { return topic }
            } else if let topic = proven.first(where: { $0.mark(of: peer) == mark }) {
                known[mark.compacted()] = topic
                return topic
            } else if !proven.isEmpty {
                return nil
            }
            do { try await loop.sleep(for: .milliseconds(100)) } catch { return nil }
        }
        return nil
    }

    private func refuse(_ stream: MartletTransport.Stream, _ reason: Refusal) {
        refused[reason].increment()
        stream.reset()
    }
}
