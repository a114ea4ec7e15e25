import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletSwarm

@Suite("Identify messages")
struct IdentifyTests {
    static let sample: PeerInfo = {
        var info = PeerInfo()
        info.protocolVersion = "ipfs/0.1.0"
        info.agentVersion = "someone/1.0"
        info.listenAddresses = [tcp(1), address("/ip4/192.0.2.1/udp/1/quic-v1")]
        info.observedAddress = tcp(7, port: 999)
        info.protocols = ["/a", "/b/1.0.0"]
        info.record = SignedPeerRecord(addresses: info.listenAddresses, sequence: 5, signedWith: key(1))
        return info
    }()

    private func read(_ bytes: Bytes, from number: UInt8 = 1) throws(IdentifyError) -> PeerInfo {
        var info = PeerInfo()
        try IdentifyMessage.read(bytes, from: peer(number), into: &info)
        return info
    }

    @Test("what is written is read again")
    func roundTrip() throws {
        #expect(try read(IdentifyMessage.write(Self.sample, key: key(1).publicKey)) == Self.sample)
    }

    @Test("a push changes only what it names")
    func push() throws {
        var info = Self.sample
        var writer = Writer()
        writer.field(3, string: "/c")
        try IdentifyMessage.read(writer.finish(), from: peer(1), into: &info)
        #expect(info.protocols == ["/c"])
        #expect(info.agentVersion == "someone/1.0" && info.listenAddresses == Self.sample.listenAddresses)
    }

    @Test("an older record does not take the place of a newer, nor do addresses that nobody signed")
    func older() throws {
        var info = Self.sample
        var writer = Writer()
        writer.field(2, bytes: tcp(66).bytes)
        let old = SignedPeerRecord(addresses: [tcp(55)], sequence: 4, signedWith: key(1))
        writer.field(8, bytes: old.envelope.bytes)
        try IdentifyMessage.read(writer.finish(), from: peer(1), into: &info)
        #expect(info.listenAddresses == Self.sample.listenAddresses)
        #expect(info.record?.record.sequence == 5)
    }

    @Test("of two records that bear the same number, as rust-libp2p makes them within a second, the later one counts")
    func sameNumber() throws {
        var info = Self.sample
        let number = try #require(info.record).record.sequence
        for octet in [7, 8] as [UInt8] {
            var said = Self.sample
            said.record = SignedPeerRecord(addresses: [tcp(octet)], sequence: number, signedWith: key(1))
            try IdentifyMessage.read(IdentifyMessage.write(said, key: key(1).publicKey), from: peer(1), into: &info)
            #expect(info.listenAddresses == [tcp(octet)])
        }
    }

    @Test("a signature is checked once, however often the same record comes")
    func checkedOnce() throws {
        let bytes = IdentifyMessage.write(Self.sample, key: key(1).publicKey)
        var info = PeerInfo()
        var checks = 0
        for _ in 0..<100 {
            try IdentifyMessage.read(bytes, from: peer(1), into: &info) { envelope throws(IdentifyError) in
                checks += 1
                return try IdentifyMessage.open(envelope)
            }
        }
        #expect(checks == 1 && info == Self.sample)
    }

    @Test("records that take turns cost no check of a signature unless they are newer")
    func alternating() throws {
        let messages = [UInt64(4), 5].map { sequence in
            var info = Self.sample
            info.record = SignedPeerRecord(addresses: [tcp(1)], sequence: sequence, signedWith: key(1))
            return IdentifyMessage.write(info, key: key(1).publicKey)
        }
        var info = PeerInfo()
        var checks = 0
        for turn in 0..<100 {
            try IdentifyMessage.read(messages[turn % 2], from: peer(1), into: &info) { envelope throws(IdentifyError) in
                checks += 1
                return try IdentifyMessage.open(envelope)
            }
        }
        #expect(checks == 2 && info.record?.record.sequence == 5)
    }

    @Test("another peer's key or record is refused, and so is a record whose signature is forged")
    func forged() throws {
        let honest = IdentifyMessage.write(Self.sample, key: key(1).publicKey)
        #expect(throws: IdentifyError.otherKey) { try read(honest, from: 2) }
        var writer = Writer()
        writer.field(8, bytes: try #require(Self.sample.record).envelope.bytes)
        let other = writer.finish()
        #expect(throws: IdentifyError.otherRecord) { try read(other, from: 2) }
        var bytes = Array(try #require(Self.sample.record).envelope.bytes)
        bytes[bytes.count - 1] ^= 1
        var forged = Writer()
        forged.field(8, bytes: Bytes(bytes))
        let lie = forged.finish()
        #expect(throws: IdentifyError.record(.envelope(.invalidSignature))) { try read(lie) }
    }

    @Test("addresses of unknown kinds are left out, and too many of anything is an error")
    func bounds() throws {
        var strange = Writer()
        strange.field(2, bytes: Bytes([0xFF, 0xFF, 0x03, 1, 2]))
        strange.field(2, bytes: tcp(1).bytes)
        #expect(try read(strange.finish()).listenAddresses == [tcp(1)])
        let excesses: [(inout Writer) -> Void] = [
            { for _ in 0..<129 { $0.field(2, bytes: tcp(1).bytes) } },
            { for _ in 0..<1025 { $0.field(3, string: "/p") } },
            { $0.field(6, string: String(repeating: "x", count: 257)) },
            { $0.field(9, bytes: Bytes([UInt8](repeating: 0, count: 65_536))) },
        ]
        for excess in excesses {
            var writer = Writer()
            excess(&writer)
            let message = writer.finish()
            #expect(throws: IdentifyError.self) { try read(message) }
        }
    }

    @Test("a message cut off anywhere, or with any byte changed, is read or refused, and changes nothing where it is")
    func mangled() {
        let whole = Array(IdentifyMessage.write(Self.sample, key: key(1).publicKey))
        var refused = 0
        for end in 0..<whole.count {
            var info = Self.sample
            do throws(IdentifyError) {
                try IdentifyMessage.read(Bytes(whole[..<end]), from: peer(1), into: &info)
            } catch {
                refused += 1
                #expect(info == Self.sample)
            }
        }
        #expect(refused > whole.count / 2)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            var info = PeerInfo()
            try? IdentifyMessage.read(Bytes(bytes), from: peer(1), into: &info)
            #expect(info.listenAddresses.count <= 4)
        }
    }

    @Test("a record that is not checked leaves the rest of its message, and the record known before")
    func unchecked() throws {
        let bytes = IdentifyMessage.write(Self.sample, key: key(1).publicKey)
        var info = PeerInfo()
        try IdentifyMessage.read(bytes, from: peer(1), into: &info) { _ throws(IdentifyError) in nil }
        #expect(info.record == nil && info.protocols == Self.sample.protocols)
        #expect(info.listenAddresses == Self.sample.listenAddresses)
    }
}

@Suite("Record checks")
struct RecordChecksTests {
    private func record(_ number: UInt8, _ sequence: UInt64 = 1) -> SignedPeerRecord {
        SignedPeerRecord(addresses: [tcp(number)], sequence: sequence, signedWith: key(number))
    }

    @Test("the rates are those of a host and of a network, and come back with time")
    func rates() {
        var limits = SwarmLimits()
        limits.recordRate = Rate(burst: 3, perSecond: 1)
        limits.recordNetworkRate = Rate(burst: 5, perSecond: 1)
        var checks = RecordChecks(limits)
        let answers = (0..<9).map { checks.mayCheck(from: IPAddress(192, 0, 2, $0 < 4 ? 1 : $0), at: .start) }
        #expect(answers == [true, true, true, false, true, true, false, false, false])
        #expect(calling(&checks) { $0.mayCheck(from: IPAddress(192, 0, 2, 1), at: .start + .seconds(2)) })
        let relayed = (0..<4).map { _ in checks.mayCheck(from: nil, at: .start) }
        #expect(relayed == [true, true, true, false])
        let ofOneHost = (0..<4).map {
            checks.mayCheck(from: IPAddress(v6: 0x2001_0db8 << 96 | UInt128($0)), at: .start)
        }
        #expect(ofOneHost == [true, true, true, false])
    }

    @Test("the same record of the same peer is known, until there are too many or a newer one comes")
    func known() {
        var limits = SwarmLimits()
        limits.rememberedRecords = 3
        var checks = RecordChecks(limits)
        for number in 1...5 as ClosedRange<UInt8> { checks.remember(record(number)) }
        #expect(checks.count == 3)
        let isKnown = (1...5 as ClosedRange<UInt8>).map {
            checks.known(record($0).envelope.bytes, of: peer($0)) == record($0)
        }
        #expect(isKnown == [false, false, true, true, true])
        #expect(checks.known(record(3).envelope.bytes, of: peer(4)) == nil)
        checks.remember(record(3, 2))
        #expect(checks.known(record(3).envelope.bytes, of: peer(3)) == nil)
        #expect(checks.known(record(3, 2).envelope.bytes, of: peer(3)) != nil)
        #expect(checks.count == 3)
        let long = address("/dns/" + String(repeating: "a", count: 60) + ".example/tcp/4001")
        let large = SignedPeerRecord(addresses: Array(repeating: long, count: 64), sequence: 1, signedWith: key(9))
        checks.remember(large)
        #expect(large.envelope.bytes.count > RecordChecks.largestRemembered)
        #expect(checks.count == 3 && checks.known(large.envelope.bytes, of: peer(9)) == nil)
    }
}
