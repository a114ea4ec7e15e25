import MartletIdentity
@testable import MartletMetadata
import MartletRuntime
@testable import MartletSwarm
@testable import MartletTransport
import MartletWire

/// A real metadata service with its swarm and its book, between three neighbours who say what the program says.
///
/// They prove to be on the topic or do not, push records of all kinds, ask and answer in and out of turn, read or do not,
/// and let time pass. After each move all that the service promises is checked.
final class MetadataPlay {
    static let configuration = {
        var configuration = MetadataConfiguration()
        configuration.sessions = 4
        configuration.declined = 8
        configuration.outbox = 32 << 10
        configuration.records = Rate(burst: 64, perSecond: 4)
        configuration.requests = Rate(burst: 100, perSecond: 10)
        // Time passes in large steps, and what happens by itself meanwhile costs the fuzzer.
        configuration.comparing = .seconds(30)
        configuration.refreshing = .seconds(300)
        configuration.book.lifetime = .seconds(1200)
        configuration.book.skew = .seconds(120)
        configuration.book.peers = 8
        configuration.book.dialled = 4
        configuration.book.departed = 3
        configuration.book.answerSize = 16 << 10
        return configuration
    }()
    private static let neighbours = 3
    private static let metrics = MetricsRegistry()
    // A registry keeps its cells behind pointers that the leak sanitizer cannot read; these are plain ones. Only one play runs
    // at a time.
    nonisolated(unsafe) private static let keptMetrics = (SwarmMetrics(metrics), MetadataMetrics(metrics))

    private let play = PlayedLoop()
    private let environment: PlayedEnvironment
    private let transport = PlayedTransport()
    private var swarm: Swarm!
    private var service: MetadataService!
    private var connections: [PlayedConnection?] = Array(repeating: nil, count: neighbours)
    private var talks: [MetadataTalk] = []
    private var proven: Set<PeerID> = []
    private var isReading = true
    /// What is known of the book's records: their numbers, and until when they are of use.
    private var known: [PeerID: (sequence: UInt64, until: Int64)] = [:]
    private var ownSequence: UInt64 = 0

    init() {
        environment = PlayedEnvironment(play.loop)
        _ = Self.keptMetrics
        play.run { [self] in
            var configuration = SwarmConfiguration()
            configuration.identifiesPeers = false
            configuration.limits.memory = 4 << 20
            swarm = Swarm(
                environment: environment, identity: PlayedIdentity.of(0), transports: [transport],
                configuration: configuration, metrics: Self.metrics)
            let metadata = NodeMetadata(peer: swarm.localPeer, sequence: 0, time: environment.wallTime)
            service = MetadataService(
                swarm, topics: [PlayedRecords.topic], saying: metadata, configuration: Self.configuration,
                metrics: Self.metrics)
            service.onEvent = { [weak self] in self?.heard($0) }
            _ = try? swarm.listen(on: .tcp(SocketAddress(IPAddress(192, 0, 2, 1), port: 4001)))
        }
        ownSequence = service.own.metadata.sequence
    }

    // MARK: Moves

    func step(_ reader: inout Reader) throws {
        let move = try reader.byte()
        let detail = Int(move >> 4)
        switch move & 15 {
        case 0: connect(detail)
        case 1: open(detail)
        case 2: talk(detail)?.hello(isTrue: detail & 4 != 0, noise: detail & 8 == 0 ? 0 : 40)
        case 3, 4, 5: talk(detail)?.push(try Self.key(&reader))
        case 6: talk(detail)?.summary(try reader.byte(), times: 1)
        case 7: talk(detail)?.digest(try reader.byte())
        case 8: try answer(detail, &reader)
        case 9: try raw(detail, &reader)
        case 10: try read(detail, &reader)
        case 11: try cut(detail, &reader)
        case 12: try pass(detail, &reader)
        case 13: try end(detail, &reader)
        case 14: try local(detail, &reader)
        default: talk(detail)?.summary(try reader.byte(), times: 1 + 4 * (detail & 12))
        }
        settle()
        check()
    }

    private static func key(_ reader: inout Reader) throws -> PlayedRecords.Key {
        let (who, what) = (try reader.byte(), try reader.byte())
        return PlayedRecords.Key(
            peer: Int(who & 15), sequence: UInt64(what & 7) + 1,
            kind: PlayedRecords.Kind(rawValue: what >> 3 & 7) ?? .good, minutes: Int(who >> 4 & 7) * 3)
    }

    private func talk(_ detail: Int) -> MetadataTalk? {
        talks.isEmpty ? nil : talks[talks.count - 1 - (detail & 3) % talks.count]
    }

    private func connect(_ detail: Int) {
        let number = detail & 3
        guard number < Self.neighbours, connections[number] == nil else { return }
        let isInbound = detail & 4 == 0
        play.run { [self] in
            let connection = PlayedConnection(
                loop: play.loop, remotePublicKey: PlayedIdentity.of(number + 1).publicKey,
                localAddress: .tcp(SocketAddress(IPAddress(192, 0, 2, 1), port: 4001)),
                // Two of them are in one network.
                remoteAddress: .tcp(SocketAddress(IPAddress(198, 51, UInt8(number / 2), UInt8(number)), port: 4001)),
                nature: ConnectionNature(direction: isInbound ? .inbound : .outbound, transport: "play"))
            connection.binding = Bytes([UInt8](repeating: UInt8(number + 1), count: 32))
            if transport.arrive(connection) { connections[number] = connection }
        }
    }

    private func open(_ detail: Int) {
        guard detail & 3 < Self.neighbours, let connection = connections[detail & 3], talks.count < 24 else { return }
        let name = detail & 4 == 0 ? MetadataService.name : "/martlet/metadata/9.9.9"
        let proposal = MetadataTalk.line("/multistream/1.0.0") + MetadataTalk.line(name)
        play.run { [self] in
            talks.append(MetadataTalk(connection.arrive(with: proposal), on: connection, self.play, isOpener: true))
        }
    }

    private func answer(_ detail: Int, _ reader: inout Reader) throws {
        guard let talk = talk(detail) else { return }
        let choice = try reader.byte()
        switch choice & 7 {
        case 0, 1, 2:
            var records: [Bytes] = []
            for _ in 0..<Int(choice >> 3) where !reader.isAtEnd {
                records.append(PlayedRecords.shared.record(try Self.key(&reader)))
            }
            talk.answer(.records(records))
        case 3: talk.answer(.same(choice & 8 != 0))
        case 4: talk.answer(.taken(UInt64(choice >> 3)))
        case 5: talk.answer(.refused(MetadataRefusal(rawValue: UInt64(choice >> 3)) ?? .other))
        default: talk.welcome(isTrue: choice & 8 != 0, place: UInt32(choice >> 4))
        }
    }

    private func raw(_ detail: Int, _ reader: inout Reader) throws {
        let count = min(Int(try reader.byte()), reader.remaining)
        let bytes = Array(Bytes(copying: try reader.span(count)))
        guard let talk = talk(detail) else { return }
        if detail & 4 == 0 { talk.send(framed: bytes) } else { talk.send(bytes) }
    }

    private func read(_ detail: Int, _ reader: inout Reader) throws {
        if detail & 4 != 0 {
            talk(detail)?.take(try YamuxConnectionPlay.size(&reader))
        } else {
            isReading = detail & 1 != 0
        }
    }

    private func cut(_ detail: Int, _ reader: inout Reader) throws {
        guard let talk = talk(detail) else { return }
        switch detail >> 2 {
        case 0: talk.isHolding = true
        case 1:
            talk.isHolding = false
            talk.flush(.max)
        default: talk.flush(try YamuxConnectionPlay.size(&reader))
        }
    }

    private func pass(_ detail: Int, _ reader: inout Reader) throws {
        let count = Int(try reader.byte())
        let units: [Duration] = [.milliseconds(10), .milliseconds(100), .milliseconds(500), .seconds(20)]
        guard detail & 12 != 12 else {
            environment.clockIsAhead = .seconds(Int64(count) * 15 - 1800)
            // By another clock other records are of use.
            known = [:]
            return
        }
        play.pass(units[detail & 3] * min(count, 30))
    }

    private func end(_ detail: Int, _ reader: inout Reader) throws {
        guard let talk = talk(detail) else { return }
        play.run { [self] in
            switch detail >> 2 {
            case 0: talk.connection.deliverEnd(on: talk.link)
            case 1: talk.connection.deliverReset(on: talk.link)
            case 2: talk.connection.end(.closedByPeer(code: 0))
            default: if let number = connections.firstIndex(where: { $0 != nil }) { connections[number]?.end(.idle) }
            }
        }
    }

    private func local(_ detail: Int, _ reader: inout Reader) throws {
        let number = UInt64(try reader.byte())
        play.run { [self] in
            switch detail >> 2 {
            case 0, 1:
                let peer = PlayedRecords.shared.id(1 + Int(number) % Self.neighbours)
                guard swarm.isConnected(to: peer) else { return }
                play.loop.spawn { [weak service] in _ = try? await service?.greet(peer) }
            case 2: service.update { $0.name = "\(number)" }
            default: service.resume(above: service.own.metadata.sequence + number)
            }
        }
    }

    /// Looks at what the node has done: new streams, and what it says on those that are read.
    private func settle() {
        play.run {}
        for (number, connection) in connections.enumerated() {
            guard let connection else { continue }
            for link in connection.takeOpened() where talks.count < 24 {
                talks.append(MetadataTalk(link, on: connection, play, isOpener: false))
            }
            if connection.closeReason != nil { connections[number] = nil }
        }
        if isReading { for talk in talks { talk.take(.max) } }
        for talk in talks where talk.hasProven { proven.insert(talk.connection.remotePeer) }
        talks.removeAll { !$0.connection.isOpen($0.link) }
    }

    // MARK: What must hold

    private func heard(_ event: MetadataEvent) {
        switch event {
        case .record(let record, from: _):
            let time = record.metadata.time.nanoseconds
            let now = environment.wallTime.nanoseconds
            forgetThoseGone(but: record.peer)
            if let before = known[record.peer], before.until > now {
                expect(record.metadata.sequence > before.sequence, "no record is overwritten by an older one")
            }
            expect(
                PlayedRecords.shared.isValid(record.envelope.bytes), "no record is taken that its peer has not signed")
            let until = time + Self.configuration.book.lifetime.nanoseconds
            known[record.peer] = (record.metadata.sequence, until)
        case .neighbour(let peer, topics: let topics):
            // What was said in this very move counts.
            let isProven = proven.contains(peer) || talks.contains { $0.hasProven && $0.connection.remotePeer == peer }
            expect(isProven && topics == [PlayedRecords.topic], "a neighbour has proven its topics")
        case .signed(let number):
            expect(number > ownSequence, "the own record's numbers grow")
            ownSequence = number
        // A record that was refused may have said that its peer has left.
        case .refused: forgetThoseGone()
        case .neighbourLost, .clockDisputed: break
        }
    }

    /// Whoever is in the book no more may come back by an older record, once the book has had to forget that it left.
    private func forgetThoseGone(but peer: PeerID? = nil) {
        for gone in known.keys where gone != peer && service.book.record(of: gone) == nil { known[gone] = nil }
    }

    private func check() {
        forgetThoseGone()
        let book = service.book
        let limits = Self.configuration.book
        expect(book.count <= limits.peers, "the book has a bound")
        expect(book.departedCount <= limits.departed, "those that have left have a bound")
        expect(service.own.peer == swarm.localPeer, "the own record is the node's own")
        expect(service.own.metadata.sequence == ownSequence, "nobody but the node makes its own record")
        expect(book.record(of: swarm.localPeer) == nil, "nobody tells a node about itself")
        for peer in book.peers(on: [PlayedRecords.topic]) {
            guard let record = book.record(of: peer) else { return expect(false, "a peer on a topic has a record") }
            expect(record.peer == peer, "a record is about its peer")
            expect(PlayedRecords.shared.isValid(record.envelope.bytes), "the book holds what its peers have signed")
        }
        let perSession = Self.configuration.outbox + MetadataMessage.maximumSize
        expect(
            service.waitingBytes <= Self.configuration.sessions * 2 * perSession, "what waits for neighbours is bounded"
        )
        expect(service.waitingBytes <= swarm.memory.used, "what waits is drawn")
        expect(swarm.memory.used <= swarm.memory.limit, "the node holds no more than it may")
    }

    /// Ends the play. Nothing may be left of it.
    func finish() {
        let all = connections
        play.run { for connection in all { connection?.end(.network(.reset)) } }
        settle()
        check()
        expect(service.waitingBytes == 0, "what waited goes with the conversation")
        for number in 0..<Self.neighbours {
            expect(service.topics(of: PlayedRecords.shared.id(number + 1)).isEmpty, "a neighbour is connected")
        }
        talks = []
        connections = []
        // Who waits for an answer is told at once, and the last timers go off.
        play.pass(.seconds(30))
        expect(swarm.memory.used == 0, "all memory is given back")
        play.run { [self] in
            service.stop()
            swarm.shutDown()
        }
        weak let endedService = service
        weak let endedSwarm = swarm
        play.run { [self] in (service, swarm) = (nil, nil) }
        expect(endedService == nil, "nobody keeps a service that is over")
        expect(endedSwarm == nil, "nobody keeps a swarm that is over")
    }
}
