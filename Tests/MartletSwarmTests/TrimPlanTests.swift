import MartletCrypto
import MartletIdentity
import MartletRuntime
import MartletWire
import Testing

@testable import MartletSwarm

private func at(_ seconds: Int64) -> Instant { .start + .seconds(100_000 + seconds) }

@Suite("Trim plan")
struct TrimPlanTests {
    private let plan = TrimPlan(grace: .seconds(20), salt: 0x1234_5678)

    /// A peer in a network of its own unless `network` says which.
    private func candidate(
        _ number: Int, value: Int = 0, protected: Bool = false, busy: Bool = false, outbound: Bool = false,
        network: Int? = nil, at address: IPAddress? = nil, since: Int64 = -50, traffic: UInt64 = 0
    ) -> TrimPlan.Candidate {
        let place = network ?? number
        return TrimPlan.Candidate(
            peer: PeerID(numberedKey(number).publicKey), value: value, isProtected: protected, isBusy: busy,
            isOutbound: outbound, address: address ?? IPAddress(10, UInt8(place >> 8), UInt8(place & 0xFF), 1),
            since: at(since), traffic: traffic, connections: 1)
    }

    private func victims(_ all: [TrimPlan.Candidate], _ excess: Int, at now: Int64 = 0) -> [PeerID] {
        let victims = plan.victims(among: all, excess: excess, at: at(now))
        #expect(victims == plan.victims(among: all.reversed(), excess: excess, at: at(now)), "in no order of theirs")
        return victims
    }

    @Test(
        "protected peers and those just dialled stay; of the others go the least valuable, inbound, young and idle first"
    )
    func order() {
        let old = [
            candidate(1, value: 10), candidate(2, protected: true), candidate(3, outbound: true, since: -1),
            candidate(4, busy: true, since: -30), candidate(5, outbound: true), candidate(6, since: -20),
            candidate(7, since: -1), candidate(8, value: -1, busy: true), candidate(9, since: -90),
            candidate(10, since: -91), candidate(11, since: -92),
        ]
        let expected = [8, 7, 6, 4, 5, 9, 10, 11, 1].map { old[$0 - 1].peer }
        #expect(victims(old, 100) == expected)
        #expect(victims(old, 2) == Array(expected.prefix(2)))
        #expect(victims(old, 0).isEmpty)
    }

    @Test("the most crowded network gives up its members first")
    func crowded() {
        let crowd = (0..<30).map { candidate($0, network: 500, since: Int64(-100 - $0)) }
        let others = (100..<110).map { candidate($0, since: Int64(-20 - $0 % 10)) }
        let gone = Set(victims(crowd + others, 10))
        #expect(gone == Set(crowd.prefix(10).map(\.peer)))
    }

    @Test(
        "the half that has been there longest goes last, with some of much traffic and some of networks nobody can guess"
    )
    func best() {
        let all = (0..<160).map { candidate($0, since: Int64(-1000 + $0), traffic: $0 == 155 ? 1 << 20 : 0) }
        let gone = Set(victims(all, 70))
        #expect(all.prefix(80).allSatisfy { !gone.contains($0.peer) })
        #expect(!gone.contains(all[155].peer))
        let other = Set(TrimPlan(grace: .seconds(20), salt: 99).victims(among: all, excess: 70, at: at(0)))
        #expect(gone.count == 70 && other.count == 70)
        #expect(Set(victims(all, 160)).count == 160, "when that is not enough, they go too")
    }

    @Test(
        "25 connections that are made anew every 15 seconds push out themselves",
        arguments: [true, false])
    func remade(fromOneNetwork: Bool) {
        let honest = (0..<100).map { candidate($0, since: Int64(-1000 + $0)) }
        var there = honest
        for round in 0..<100 {
            let now = Int64(round * 15)
            there.removeAll { candidate in !honest.contains { $0.peer == candidate.peer } }
            for number in 0..<25 {
                there.append(
                    candidate(
                        1000 + round * 25 + number, busy: true, network: fromOneNetwork ? 999 : 1000 + number,
                        since: now))
            }
            guard there.count > 110 else { continue }
            let gone = Set(victims(there, there.count - 95, at: now + 5))
            there.removeAll { gone.contains($0.peer) }
        }
        let left = there.filter { candidate in honest.contains { $0.peer == candidate.peer } }.count
        #expect(left >= 90, "\(left) of 100 honest peers are left")
    }

    /// An address in the IPv6 /48 with this number, of one /32.
    private func inOneAllocation(_ network: Int, host: Int = 1) -> IPAddress {
        IPAddress(v6: 0x2001_0db8 << 96 | UInt128(network) << 80 | UInt128(host) << 64 | 1)
    }

    /// An address in a network and an allocation of its own.
    private func elsewhere(_ number: Int) -> IPAddress {
        IPAddress(UInt8(20 + number / 250), UInt8(number % 250), 1, 1)
    }

    @Test("who holds a whole IPv6 /32 or IPv4 /16 keeps an eighth, from however many networks and for however long")
    func allocation() {
        let places: [(Int) -> IPAddress] = [{ inOneAllocation($0) }, { IPAddress(45, 0, UInt8($0), 1) }]
        for place in places {
            let crowd = (0..<250).map { candidate($0, at: place($0), since: Int64(-10_000 + $0), traffic: 1 << 30) }
            let honest = (1000..<1250).map { candidate($0, at: elsewhere($0 - 1000), since: Int64(-1000 + $0 % 900)) }
            let gone = Set(victims(crowd + honest, 180))
            #expect(gone.isSubset(of: Set(crowd.map(\.peer))))
        }
    }

    @Test("a university or a provider with fewer than an eighth of all loses nobody because of that")
    func honestCrowd() {
        let ofOne = (0..<50).map { candidate($0, at: inOneAllocation($0), since: Int64(-1000 + $0)) }
        let others = (1000..<1450).map { candidate($0, at: elsewhere($0 - 1000), since: Int64(-900 + $0 % 7)) }
        let gone = Set(victims(ofOne + others, 250))
        #expect(ofOne.allSatisfy { !gone.contains($0.peer) })
    }

    @Test("peers on a private network are no crowd, however many they are")
    func privateNetwork() {
        let home = (0..<200).map { candidate($0, since: Int64(-1000 + $0)) }
        let others = (1000..<1050).map { candidate($0, at: elsewhere($0 - 1000), since: -30) }
        let gone = Set(victims(home + others, 40))
        #expect(home.allSatisfy { !gone.contains($0.peer) })
    }

    @Test("of one IPv6 /48, the most crowded /64 gives up its members first")
    func hosts() {
        let crowd = (0..<10).map { candidate($0, at: inOneAllocation(1, host: 7), since: Int64(-1000 - $0)) }
        let honest = (100..<110).map { candidate($0, at: inOneAllocation(1, host: $0), since: Int64(-100 - $0)) }
        let others = (1000..<1200).map { candidate($0, at: elsewhere($0 - 1000), since: Int64(-9000 - $0)) }
        let gone = Set(victims(crowd + honest + others, 9))
        #expect(gone == Set(crowd.prefix(9).map(\.peer)))
    }

    @Test("many networks of one allocation have no better chance to be spared for their networks than one")
    func drawnNetworks() {
        let crowd = (0..<120).map { candidate($0, at: inOneAllocation($0), since: -30) }
        let honest = (1000..<1030).map { candidate($0, at: elsewhere($0 - 1000), since: -31) }
        let old = (2000..<2150).map { candidate($0, at: elsewhere($0 - 1900), since: -9000) }
        // The oldest half, and a sixteenth for their networks.
        let best = victims(crowd + honest + old, 300).suffix(150 + 18)
        #expect(Set(best).intersection(crowd.map(\.peer)).count <= 1)
    }
}
