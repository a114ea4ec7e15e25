import MartletIdentity
@testable import MartletMetadata
@testable import MartletTransport
import MartletWire

/// A neighbour's end of one stream of the metadata protocol: it says what the play says, and reads what the node says.
final class MetadataTalk {
    let link: StreamLink
    let connection: PlayedConnection
    private let play: PlayedLoop
    /// Whether the neighbour has opened it.
    private let isOpener: Bool
    /// Whether a true proof was sent on it.
    private(set) var hasProven = false
    var isHolding = false
    private var held: [UInt8] = []
    private var nextID: UInt64 = 1
    /// What has come and is no whole message.
    private var rest: [UInt8] = []
    private var hasAgreed = false
    /// The numbers of the node's requests that are not answered, the last one last.
    private var requests: [UInt64] = []

    init(_ link: StreamLink, on connection: PlayedConnection, _ play: PlayedLoop, isOpener: Bool) {
        self.link = link
        self.connection = connection
        self.play = play
        self.isOpener = isOpener
        if !isOpener { send(Self.line("/multistream/1.0.0") + Self.line(MetadataService.name)) }
    }

    /// A line of multistream-select.
    static func line(_ name: String) -> [UInt8] { [UInt8(name.utf8.count + 1)] + Array(name.utf8) + [0x0A] }

    // MARK: Saying

    func send(_ bytes: [UInt8]) {
        held += bytes
        if !isHolding { flush(.max) }
    }

    func send(framed bytes: [UInt8]) {
        var writer = Writer(capacity: bytes.count + 4)
        writer.varint(UInt64(bytes.count))
        send(Array(writer.finish()) + bytes)
    }

    /// Sends at most `count` bytes of what is held back.
    func flush(_ count: Int) {
        let count = min(count, held.count)
        guard count > 0 else { return }
        play.run { [self] in
            held.withUnsafeBytes {
                connection.deliver(UnsafeRawBufferPointer(rebasing: $0[..<count]), on: link)
            }
        }
        held.removeFirst(count)
    }

    private func ask(_ body: MetadataMessage.Body, times: Int = 1) {
        nextID += 1
        let message = MetadataMessage(id: nextID, body).encoded
        for _ in 0..<times { send(framed: Array(message)) }
    }

    func hello(isTrue: Bool, noise: Int) {
        var proofs = (0..<noise).map { Bytes([UInt8](repeating: UInt8($0), count: TopicKey.markSize)) }
        let local = PlayedRecords.shared.id(0)
        // A proof of the other end, or of another connection, is none.
        let (opener, answerer) = isTrue ? (connection.remotePeer, local) : (local, connection.remotePeer)
        proofs.append(
            PlayedRecords.topic.proof(of: .opener, opener: opener, answerer: answerer, binding: connection.binding))
        // Too many make no message.
        if isTrue { hasProven = true }
        ask(.hello(proofs))
    }

    func welcome(isTrue: Bool, place: UInt32) {
        let local = PlayedRecords.shared.id(0)
        let proof = PlayedRecords.topic.proof(
            of: isTrue ? .answerer : .opener, opener: local, answerer: connection.remotePeer,
            binding: connection.binding)
        if isTrue { hasProven = true }
        answer(.welcome([MetadataMessage.Shared(place: place & 3, proof: proof)]))
    }

    func push(_ key: PlayedRecords.Key) { ask(.push(PlayedRecords.shared.record(key))) }

    func summary(_ choice: UInt8, times: Int) {
        // As many as there may be cost the fuzzer much, and so they are rare.
        let count = choice & 63 == 63 ? MetadataSummary.maximumEntries : Int(choice & 15)
        let entries = (0..<count).map { number in
            MetadataSummary.Entry(
                place: number < PlayedRecords.peers
                    ? MetadataSummary.place(of: PlayedRecords.shared.id(number)) : UInt64(number) << 50,
                sequence: UInt64(choice >> 6))
        }
        let summary = MetadataSummary(
            first: choice & 64 == 0 ? 0 : UInt64(choice) << 56, last: choice & 128 == 0 ? .max : 1 << 62,
            entries: entries)
        ask(.summary(summary), times: min(times, 1024 / max(count, 1)))
    }

    func digest(_ choice: UInt8) {
        ask(.digest(MetadataDigest(first: UInt64(choice & 15) << 60, last: .max, hash: UInt64(choice >> 4))))
    }

    /// Answers the first request that is open, or one that nobody has made.
    func answer(_ body: MetadataMessage.Body) {
        let id = requests.isEmpty ? 0 : requests.removeFirst()
        send(framed: Array(MetadataMessage(id: id, body).encoded))
    }

    // MARK: Hearing

    /// Reads at most `count` bytes.
    func take(_ count: Int) {
        var taken: [UInt8] = []
        play.run { [self] in taken = connection.take(count, on: link) }
        guard !taken.isEmpty else { return }
        rest += taken
        var reader = Reader(rest.span.bytes)
        var start = 0
        while let length = try? reader.varint(), length <= UInt64(reader.remaining),
            let body = try? reader.span(Int(length))
        {
            let message = Bytes(copying: body)
            start = rest.count - reader.remaining
            took(message)
        }
        rest.removeFirst(start)
        expect(rest.count <= MetadataMessage.maximumSize + 4, "a message has a bound")
    }

    private func took(_ bytes: Bytes) {
        guard hasAgreed else {
            // The node's proposal, or its consent or refusal; what follows that are messages.
            hasAgreed = bytes.count > 0 && bytes != Bytes(Array("/multistream/1.0.0\n".utf8))
            return
        }
        guard let message = try? MetadataMessage(bytes) else { return }
        guard !message.isAnswer, requests.count < 64 else { return }
        requests.append(message.id)
    }
}
