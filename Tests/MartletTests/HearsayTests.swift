import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import Martlet

private func source(_ seed: UInt64) -> RandomSource {
    var generator = SeededGenerator(seed: seed)
    return RandomSource { buffer in
        for index in buffer.indices { buffer[index] = UInt8.random(in: 0...255, using: &generator) }
    }
}

private func peer(_ number: Int) -> PeerID {
    var generator = SeededGenerator(seed: UInt64(number) + 1)
    return PeerID(PrivateKey.ed25519(using: &generator).publicKey)
}

private func place(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, port: UInt16 = 4001) -> SocketAddress {
    SocketAddress(IPAddress(a, b, c, d), port: port)
}

private let chess = TopicKey("chess")

@Suite("What others say of addresses")
struct HearsayTests {
    private let now = Instant.start + .seconds(100)

    private static func machine(_ change: (inout DiscoveryLimits) -> Void = { _ in }) -> TopicDiscovery {
        var limits = DiscoveryLimits()
        change(&limits)
        return TopicDiscovery([chess], limits: limits, random: source(1))
    }

    /// A teller that is connected from `place`.
    private static func teller(_ number: Int, at place: IPAddress) -> TopicDiscovery.Source {
        .init(teller: Teller(peer(number), at: place), scope: AddressScope(place) ?? .world)
    }

    private static let stranger = IPAddress(60, 1, 1, 1)

    @Test("one record with every address hides nobody")
    func everyAddress() {
        var machine = Self.machine()
        let honest = (1...20).map { place(50, UInt8($0), 0, 1) }
        for address in honest.prefix(10) { machine.found(address, on: chess, at: now) }
        machine.heard(
            of: peer(1), at: honest.map { .quicV1($0) }, topics: [chess], from: Self.teller(1, at: Self.stranger),
            now: now)
        machine.isUseless(.peer(peer(1)), at: now)
        for address in honest { machine.found(address, on: chess, at: now) }
        var dialled: Set<TopicDiscovery.Candidate> = []
        for number in 0..<40 {
            guard let candidate = machine.nextDial(at: now) else { break }
            dialled.insert(candidate)
            machine.connected(peer(100 + number), now: now)
            machine.dialled(candidate, reached: peer(100 + number), at: now)
        }
        #expect(dialled.isSuperset(of: honest.map { .address($0) }))
    }

    @Test("an address is a peer's once it was connected there, and for two hours after")
    func owners() {
        var machine = Self.machine()
        let address = place(50, 1, 1, 1)
        machine.connected(peer(1), at: address, now: now)
        machine.found(address, on: chess, at: now)
        machine.disconnected(peer(1), byPeer: false, at: now)
        let later = now + .seconds(60)
        let first = machine.nextDial(at: later)
        #expect(first == .peer(peer(1)))
        let muchLater = now + machine.limits.ownedFor + .seconds(1)
        machine.found(address, on: chess, at: muchLater)
        let second = machine.nextDial(at: muchLater)
        #expect(second == .address(address))
    }

    @Test("a peer is believed only about addresses that reach as far as its own")
    func scopes() {
        let addresses: [Multiaddr] = [
            "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1",
            "/ip4/169.254.1.1/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip6/fd00::1/tcp/1",
            "/ip6/::ffff:127.0.0.1/tcp/1", "/ip6/::ffff:10.0.0.1/tcp/1", "/ip4/192.0.2.1/tcp/1", "/ip4/8.8.8.8/tcp/1",
            "/ip6/2600::1/tcp/1", "/ip4/224.0.0.1/udp/1/quic-v1", "/ip4/0.0.0.0/tcp/1", "/dns4/localhost/tcp/1",
        ].map { text in
            guard let address = try? Multiaddr(parsing: text) else { preconditionFailure("no address: \(text)") }
            return address
        }
        func believed(from place: IPAddress) -> Set<String> {
            var machine = Self.machine()
            let allowed = machine.heard(
                of: peer(1), at: addresses, topics: [chess], from: Self.teller(2, at: place), now: now)
            #expect(Set(machine.told(of: peer(1))) == Set(allowed.prefix(machine.limits.addressesPerCandidate)))
            return Set(allowed.map(\.description))
        }
        let world: Set = ["/ip4/8.8.8.8/tcp/1", "/ip6/2600::1/tcp/1"]
        #expect(believed(from: Self.stranger) == world)
        let loopback: Set = ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1"]
        let nobody: Set = ["/ip4/224.0.0.1/udp/1/quic-v1", "/ip4/0.0.0.0/tcp/1"]
        let all = Set(addresses.map(\.description))
        for place in [IPAddress(192, 168, 1, 9), IPAddress(100, 64, 0, 9), IPAddress(169, 254, 0, 9)] {
            #expect(
                believed(from: place)
                    == all.subtracting(loopback).subtracting(nobody).subtracting(["/dns4/localhost/tcp/1"]))
        }
        #expect(believed(from: .loopbackV4) == all.subtracting(nobody))
    }

    @Test("bare addresses in private networks are dialled only if the DHT that names them is private itself")
    func bareAddresses() {
        var machine = Self.machine()
        machine.found(place(10, 0, 0, 1), on: chess, at: now)
        machine.found(place(127, 0, 0, 1), on: chess, scope: .site, at: now)
        #expect(machine.held.candidates == 0)
        machine.found(place(10, 0, 0, 1), on: chess, scope: .site, at: now)
        machine.found(place(127, 0, 0, 1), on: chess, scope: .host, at: now)
        #expect(machine.held.candidates == 2)
    }

    @Test(
        "an address is dialled a few times on hearsay, whoever names it, and as often as it likes once it has proven itself"
    )
    func fewDials() {
        var machine = Self.machine()
        let target = place(70, 7, 7, 7)
        var dials = 0
        for teller in 0..<50 {
            let name = peer(1000 + teller)
            let place = IPAddress(60, UInt8(teller), 1, 1)
            machine.heard(
                of: name, at: [.quicV1(target)], topics: [chess], from: Self.teller(teller, at: place), now: now)
            dials += machine.addressesToDial(name, trusted: [], claimed: [], at: now + .seconds(teller)).count
        }
        #expect(dials == machine.limits.hearsayDials)
        let owner = peer(1)
        machine.connected(owner, at: target, now: now)
        machine.heard(
            of: owner, at: [.quicV1(target)], topics: [chess], from: Self.teller(1, at: Self.stranger), now: now)
        for _ in 0..<20 {
            let addresses = machine.addressesToDial(owner, trusted: [], claimed: [], at: now)
            #expect(addresses == [.quicV1(target)])
        }
        // After an hour it may be tried again.
        let later = now + machine.limits.hearsayMemory + .seconds(60)
        let again = machine.addressesToDial(peer(1000), trusted: [], claimed: [], at: later)
        #expect(again.count == 1)
    }

    @Test("a network is dialled at a rate, however many peers are said to be in it")
    func networkRate() {
        var machine = Self.machine()
        var dials = 0
        for number in 0..<600 {
            let name = peer(1000 + number)
            let target = place(70, 7, 7, UInt8(number % 250 + 1), port: UInt16(1000 + number))
            machine.heard(
                of: name, at: [.quicV1(target)], topics: [chess],
                from: Self.teller(number, at: IPAddress(60, UInt8(number % 250), 1, 1)), now: now)
            dials +=
                machine.addressesToDial(name, trusted: [], claimed: [], at: now + .milliseconds(100 * number)).count
        }
        #expect(dials >= 32 && dials <= 32 + 6)
        let other = peer(1)
        machine.heard(
            of: other, at: [.quicV1(place(70, 7, 8, 1))], topics: [chess], from: Self.teller(1, at: Self.stranger),
            now: now)
        let elsewhere = machine.addressesToDial(other, trusted: [], claimed: [], at: now)
        #expect(elsewhere.count == 1)
    }

    @Test("the word of a teller that led nowhere is left alone for a while, and nobody else's")
    func tellerCredit() {
        var machine = Self.machine { $0.dials = 1 }
        for number in 0..<200 {
            machine.heard(
                of: peer(1000 + number), at: [], topics: [chess], from: Self.teller(1, at: Self.stranger), now: now)
        }
        machine.heard(
            of: peer(500), at: [], topics: [chess], from: Self.teller(2, at: IPAddress(61, 1, 1, 1)), now: now)
        var dialled: [TopicDiscovery.Candidate] = []
        while let candidate = machine.nextDial(at: now) {
            dialled.append(candidate)
            machine.dialled(candidate, reached: nil, at: now)
        }
        #expect(dialled.contains(.peer(peer(500))))
        #expect(dialled.count == machine.limits.tellerFailures.burst + 1)
        #expect(machine.deadline < now + .seconds(16), "it is looked at again")
        let later = now + .seconds(30)
        let next = machine.nextDial(at: later)
        #expect(next != nil)
    }

    @Test("whoever named most candidates makes room for those that others name")
    func room() {
        var machine = Self.machine { $0.candidates = 100 }
        for number in 0..<300 {
            machine.heard(
                of: peer(1000 + number), at: [], topics: [chess], from: Self.teller(1, at: Self.stranger), now: now)
        }
        #expect(machine.held.candidates == 100)
        let honest = (0..<40).map { peer(500 + $0) }
        for (number, name) in honest.enumerated() {
            machine.heard(
                of: name, at: [.quicV1(place(50, UInt8(number), 1, 1))], topics: [chess],
                from: Self.teller(2, at: IPAddress(61, 1, 1, 1)), now: now)
        }
        #expect(machine.held.candidates == 100)
        #expect(honest.allSatisfy { !machine.told(of: $0).isEmpty })
    }

    @Test("one network has so many bare addresses and no more")
    func addressesPerNetwork() {
        var machine = Self.machine()
        for number in 0..<250 { machine.found(place(70, 7, 7, UInt8(number + 1)), on: chess, at: now) }
        #expect(machine.held.candidates == machine.limits.addressesPerNetwork)
        machine.found(place(70, 7, 8, 1), on: chess, at: now)
        #expect(machine.held.candidates == machine.limits.addressesPerNetwork + 1)
        machine.owns(Set((0..<250).map { place(70, 7, 7, UInt8($0 + 1)) }))
        #expect(machine.held.candidates == 1)
    }

    @Test("the ledger of what was dialled has a bound")
    func bound() {
        var machine = Self.machine {
            $0.hearsay = 64
            $0.addressesPerCandidate = 1
        }
        for number in 0..<1000 {
            let target = place(70, UInt8(number / 250), UInt8(number % 250), 1)
            machine.heard(
                of: peer(1), at: [.quicV1(target)], topics: [chess], from: Self.teller(1, at: Self.stranger), now: now)
            _ = machine.addressesToDial(peer(1), trusted: [], claimed: [], at: now)
        }
        #expect(machine.held.hearsay <= 3 * 64)
    }

    @Test("what a peer claims of itself counts as hearsay, and what was given or proven is dialled as often as wanted")
    func claims() {
        var machine = Self.machine()
        let target = place(70, 7, 7, 7)
        let given = Multiaddr.quicV1(place(50, 1, 1, 1))
        guard let name = try? Multiaddr(parsing: "/dns4/example.org/tcp/1") else { return }
        var dials = 0
        for number in 0..<50 {
            let later = now + .seconds(number)
            let addresses = machine.addressesToDial(
                peer(1000 + number), trusted: [given, name], claimed: [given, .quicV1(target)], at: later)
            #expect(addresses.prefix(2) == [given, name])
            dials += addresses.count - 2
        }
        #expect(dials == machine.limits.hearsayDials)
        let owner = peer(1)
        machine.connected(owner, at: target, now: now)
        for _ in 0..<20 {
            let addresses = machine.addressesToDial(owner, trusted: [], claimed: [.quicV1(target)], at: now)
            #expect(addresses == [.quicV1(target)])
        }
    }

    @Test("claims of many peers into one network are dialled at the network's rate, together with what others tell")
    func claimedNetwork() {
        var machine = Self.machine()
        var dials = 0
        for number in 0..<300 {
            let name = peer(1000 + number)
            let claimed = Multiaddr.tcp(place(70, 7, 7, 1, port: UInt16(1000 + number)))
            let told = Multiaddr.tcp(place(70, 7, 7, 2, port: UInt16(1000 + number)))
            machine.heard(
                of: name, at: [told], topics: [chess], from: Self.teller(number, at: Self.stranger), now: now)
            dials += machine.addressesToDial(name, trusted: [], claimed: [claimed], at: now).count
        }
        #expect(dials == machine.limits.networkDials.burst)
    }

    @Test(
        "made-up peers at the address of an honest one keep nobody from dialling that one, once it has answered there")
    func wrongPeers() {
        var machine = Self.machine()
        let (honest, target) = (peer(1), place(70, 7, 7, 7))
        for number in 0..<6 {
            let name = peer(1000 + number)
            machine.heard(
                of: name, at: [.quicV1(target), .tcp(target)], topics: [chess],
                from: Self.teller(2, at: Self.stranger), now: now)
            let addresses = machine.addressesToDial(name, trusted: [], claimed: [], at: now)
            #expect(addresses.count == 2, "both transports of a host count once")
        }
        machine.heard(
            of: honest, at: [.quicV1(target)], topics: [chess], from: Self.teller(3, at: IPAddress(61, 1, 1, 1)),
            now: now)
        let before = machine.addressesToDial(honest, trusted: [], claimed: [], at: now)
        #expect(before.isEmpty)
        machine.found(honest, at: target, now: now)
        #expect(machine.isOthers(target, at: now))
        let after = machine.addressesToDial(honest, trusted: [], claimed: [], at: now)
        #expect(after == [.quicV1(target)])
        // What the DHT says of the address is of that peer as well.
        machine.found(target, on: chess, at: now)
        let candidates = machine.held.candidates
        machine.heard(of: honest, at: [], topics: [chess], from: nil, now: now)
        #expect(machine.held.candidates == candidates)
    }

    @Test("fifty peers in one network, each at many addresses, are all dialled as they answer")
    func oneNetwork() {
        var machine = Self.machine()
        for number in 1...50 {
            let host = place(192, 168, 1, UInt8(number))
            let others = (0..<6).map { Multiaddr.tcp(place(192, 168, 1, UInt8(100 + number), port: UInt16(5000 + $0))) }
            machine.heard(
                of: peer(number), at: [.quicV1(host), .tcp(host)] + others, topics: [chess],
                from: Self.teller(200, at: IPAddress(192, 168, 1, 9)), now: now)
        }
        var reached = 0
        for _ in 0..<50 {
            guard case .peer(let peer)? = machine.nextDial(at: now) else { break }
            let addresses = machine.addressesToDial(peer, trusted: [], claimed: [], at: now)
            #expect(addresses.count >= 2 && addresses.count <= machine.limits.hearsayAddressesAtOnce * 2)
            guard !addresses.isEmpty else { break }
            machine.connected(peer, now: now)
            machine.dialled(.peer(peer), reached: peer, at: now)
            reached += 1
        }
        #expect(reached == 50)
    }

    @Test(
        "a truth makes up for one word that led nowhere, and tellers of one network share what they may be wrong about")
    func sharedCredit() {
        let limits = DiscoveryLimits()
        var ledger = HearsayLedger(limits)
        let liar = Teller(peer(1), at: Self.stranger)
        for _ in 0..<limits.tellerFailures.burst { ledger.misled(by: liar, at: now) }
        #expect(!ledger.believes(liar, at: now))
        ledger.wasRight(liar, at: now)
        #expect(ledger.believes(liar, at: now))
        ledger.misled(by: liar, at: now)
        #expect(!ledger.believes(liar, at: now))
        for number in 2..<100 { ledger.misled(by: Teller(peer(number), at: Self.stranger), at: now) }
        #expect(!ledger.believes(Teller(peer(500), at: Self.stranger), at: now), "a new name is no new credit")
        #expect(ledger.believes(Teller(peer(500), at: IPAddress(61, 1, 1, 1)), at: now))
    }

    @Test("dials at thousands of other addresses make a node forget nobody that it has dialled often")
    func flushed() {
        var limits = DiscoveryLimits()
        limits.hearsay = 256
        var ledger = HearsayLedger(limits)
        let target = place(70, 7, 7, 7)
        for _ in 0..<limits.hearsayDials { ledger.dials(target, at: now) }
        for number in 0..<26 { ledger.dials(place(70, 7, 7, UInt8(number + 100)), at: now) }
        #expect(!ledger.admits(place(70, 7, 7, 99), at: now), "the network's burst is used up")
        for number in 0..<5000 {
            ledger.dials(place(80, UInt8(number / 250), UInt8(number % 250), 1), at: now + .milliseconds(number))
        }
        #expect(ledger.count <= 4 * limits.hearsay)
        let later = now + .seconds(6)
        #expect(!ledger.admits(place(70, 7, 7, 99), at: later))
        #expect(!ledger.admits(target, at: now + .seconds(600)))
        #expect(ledger.dials(of: target, at: later) == limits.hearsayDials)
    }

    @Test("a full table of bare addresses has room for those of networks with fewer")
    func crowds() {
        var machine = Self.machine()
        for number in 0..<2000 {
            machine.found(place(70, 7, UInt8(number / 100), UInt8(number % 100 + 1)), on: chess, at: now)
        }
        #expect(machine.held.candidates == machine.limits.addresses)
        let honest = (1...20).map { place(50, UInt8($0), 0, 1) }
        for address in honest { machine.found(address, on: chess, at: now) }
        #expect(machine.held.candidates == machine.limits.addresses)
        machine.owns(Set(honest))
        #expect(machine.held.candidates == machine.limits.addresses - honest.count, "all of them had a place")
    }

    @Test("this node's own address is not dialled because a peer claims it")
    func ownAddress() {
        var machine = Self.machine()
        machine.owns([place(50, 1, 1, 1)])
        let addresses = machine.addressesToDial(
            peer(1), trusted: [], claimed: [.quicV1(place(50, 1, 1, 1))], at: now)
        #expect(addresses.isEmpty)
    }
}
