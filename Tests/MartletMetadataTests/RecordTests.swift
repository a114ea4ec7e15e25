import MartletCrypto
import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import Testing

@Suite("Records")
struct RecordTests {
    static let full: NodeMetadata = {
        var record = NodeMetadata(peer: peer(1), sequence: 7, time: WallTime(nanoseconds: 1_767_225_600_000_000_000))
        record.name = "kitchen"
        record.version = "martlet 0.1.0"
        record.topicMarks = [TopicKey("cooks").mark(of: peer(1))]
        record.listenAddresses = [address("/ip4/192.0.2.1/udp/4001/quic-v1")]
        record.observedAddresses = [address("/ip4/198.51.100.1/udp/4001/quic-v1")]
        record.privateAddresses = [address("/ip4/10.0.0.2/tcp/4001")]
        record.type = .private
        record.nat = .endpointIndependent
        record.capabilities = ["relay", "store"]
        record.services = [.init(name: "http", port: 8080, description: "recipes")]
        record.load = .init(processor: 120, memory: 300, connections: 5)
        record.uptime = 3600
        return record
    }()

    @Test("a record is read as it was written")
    func roundTrip() throws {
        #expect(try NodeMetadata(Self.full.encoded) == Self.full)
    }

    @Test("fields of a later version are carried along")
    func unknownFields() throws {
        var later = Writer()
        later.bytes(Self.full.encoded)
        later.field(40, string: "later")
        later.field(41, uint64: 1)
        let record = try NodeMetadata(later.finish())
        #expect(record.name == "kitchen")
        #expect(record.unknownFields.count > 0)
        #expect(try NodeMetadata(record.encoded) == record)
    }

    @Test("a record that is cut off anywhere is an error or says less, and never more")
    func cutOff() throws {
        let whole = Self.full.encoded
        var errors = 0
        for count in 0..<whole.count {
            do {
                let part = try NodeMetadata(whole.slice(0..<count))
                #expect(part != Self.full)
            } catch {
                errors += 1
            }
        }
        #expect(errors > whole.count / 2)
    }

    @Test("what goes beyond a limit is refused, field by field")
    func limits() throws {
        func record(_ write: (inout Writer) -> Void) -> Bytes {
            var writer = Writer()
            writer.field(1, bytes: peer(1).bytes)
            write(&writer)
            return writer.finish()
        }
        let long = String(repeating: "x", count: 257)
        let bad: [(String, Bytes)] = [
            ("name", record { $0.field(4, string: long) }),
            ("version", record { $0.field(5, string: long) }),
            ("mark", record { $0.field(6, string: long) }),
            ("marks", record { for _ in 0..<33 { $0.field(6, string: "m") } }),
            ("addresses", record { for _ in 0..<33 { $0.field(7, bytes: address("/ip4/1.2.3.4/tcp/1").bytes) } }),
            ("capability", record { $0.field(12, string: long) }),
            ("capabilities", record { for _ in 0..<33 { $0.field(12, string: "c") } }),
            ("services", record { for _ in 0..<33 { $0.field(13) { $0.field(1, string: "s") } } }),
            ("port", record { $0.field(13) { $0.field(2, uint64: 65536) } }),
            ("time", record { $0.field(3, uint64: .max) }),
            ("unknown", record { $0.field(99, string: String(repeating: "x", count: 1025)) }),
        ]
        for (name, bytes) in bad {
            #expect(throws: WireError.self, "\(name)") { try NodeMetadata(bytes) }
        }
        #expect(throws: WireError(.missing, at: 0)) { try NodeMetadata(Bytes()) }
    }

    @Test("a writer cuts off what is too long, at a whole character")
    func cutByWriter() throws {
        var record = Self.full
        record.name = String(repeating: "ä", count: 40)
        record.capabilities = (0..<40).map(String.init)
        let read = try NodeMetadata(record.encoded)
        #expect(read.name == String(repeating: "ä", count: 32))
        #expect(read.capabilities.count == 32)
    }

    @Test("a signed record opens, and none that another has signed or that was changed")
    func signed() throws {
        let signed = SignedMetadata(Self.full, signedWith: key(1))
        let bytes = signed.envelope.bytes
        #expect(try SignedMetadata(opening: bytes) == signed)
        let forged = SignedEnvelope(sealing: Self.full.encoded, for: .metadata, with: key(2))
        #expect(throws: MetadataError.otherSigner) { try SignedMetadata(opening: forged.bytes) }
        let other = SignedEnvelope(sealing: Self.full.encoded, for: .peerRecord, with: key(1))
        #expect(throws: MetadataError.envelope(.otherPayloadType)) { try SignedMetadata(opening: other.bytes) }
        for index in 0..<bytes.count {
            var changed = Array(bytes)
            changed[index] ^= 1
            let opened = try? SignedMetadata(opening: Bytes(changed))
            #expect(opened == nil, "byte \(index)")
        }
    }
}

@Suite("Topics")
struct TopicTests {
    @Test("a proof is one of this topic, role, pair and connection alone")
    func proofs() {
        let topic = TopicKey("cooks")
        let binding = Bytes([UInt8](repeating: 1, count: 32))
        let proof = topic.proof(of: .opener, opener: peer(1), answerer: peer(2), binding: binding)
        let others = [
            TopicKey("cook").proof(of: .opener, opener: peer(1), answerer: peer(2), binding: binding),
            topic.proof(of: .answerer, opener: peer(1), answerer: peer(2), binding: binding),
            topic.proof(of: .opener, opener: peer(2), answerer: peer(1), binding: binding),
            topic.proof(of: .opener, opener: peer(1), answerer: peer(3), binding: binding),
            topic.proof(of: .opener, opener: peer(1), answerer: peer(2), binding: Bytes([2])),
            topic.mark(of: peer(1)),
        ]
        #expect(proof.count == TopicKey.markSize)
        #expect(!others.contains(proof))
        #expect(Set(others).count == others.count)
        #expect(topic.proof(of: .opener, opener: peer(1), answerer: peer(2), binding: binding) == proof)
    }

    @Test("the marks of two peers on one topic have nothing in common")
    func marks() {
        #expect(TopicKey("cooks").mark(of: peer(1)) != TopicKey("cooks").mark(of: peer(2)))
        #expect(TopicKey("cooks").mark(of: peer(1)) == TopicKey("cooks").mark(of: peer(1)))
    }
}

@Suite("Messages")
struct MessageTests {
    static var messages: [MetadataMessage] {
        [
            MetadataMessage(id: 1, .hello([Bytes([1, 2]), Bytes([3])])),
            MetadataMessage(id: 2, .welcome([.init(place: 3, proof: Bytes([9]))])),
            MetadataMessage(id: 3, .push(Bytes([1, 2, 3]))),
            MetadataMessage(id: 4, .taken(77)),
            MetadataMessage(
                id: 5, .summary(.init(first: 5, last: .max, entries: [.init(place: 6, sequence: 7)]))),
            MetadataMessage(id: 6, .records([Bytes([1]), Bytes([2])])),
            MetadataMessage(id: 7, .refused(.notNewer)),
            MetadataMessage(id: 8, .digest(.init(first: 5, last: .max, hash: 7))),
            MetadataMessage(id: 9, .same(true)), MetadataMessage(id: 10, .same(false)),
        ]
    }

    @Test("each message is read as it was written", arguments: messages)
    func roundTrip(_ message: MetadataMessage) throws {
        #expect(try MetadataMessage(message.encoded) == message)
    }

    @Test("what is too many or too large is refused")
    func limits() {
        let bad: [MetadataMessage] = [
            MetadataMessage(id: 1, .hello([Bytes](repeating: Bytes([1]), count: 33))),
            MetadataMessage(id: 1, .hello([Bytes([UInt8](repeating: 1, count: 17))])),
            MetadataMessage(id: 1, .welcome(.init(repeating: .init(place: 0, proof: Bytes()), count: 33))),
            MetadataMessage(id: 1, .push(Bytes([UInt8](repeating: 1, count: 8193)))),
            MetadataMessage(id: 1, .records(.init(repeating: Bytes([1]), count: 65))),
            MetadataMessage(
                id: 1,
                .summary(.init(first: 0, last: 0, entries: .init(repeating: .init(place: 1, sequence: 1), count: 257)))),
        ]
        for message in bad {
            let bytes = message.encoded
            #expect(throws: WireError.self) { try MetadataMessage(bytes) }
        }
        let empty = Bytes()
        #expect(throws: WireError.self) { try MetadataMessage(empty) }
    }

    @Test("a reason of a later version is some other reason")
    func laterReason() throws {
        var writer = Writer()
        writer.field(1, uint64: 1)
        writer.field(8, uint64: 500)
        #expect(try MetadataMessage(writer.finish()).body == .refused(.other))
    }
}
