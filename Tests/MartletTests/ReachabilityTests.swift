import MartletIdentity
import MartletMetadata
import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import Martlet

@Suite("Whether a node can be reached")
struct ReachabilityTests {
    private let now = Instant.start + .seconds(100)
    private let wall = WallTime(nanoseconds: 1_700_000_000_000_000_000)
    private let outside = SocketAddress(IPAddress(60, 1, 2, 3), port: 4001)

    private func say(
        _ reach: inout Reachability, _ address: SocketAddress, _ witness: String, _ place: IPAddress
    ) -> Bool {
        reach.observed(address, isDialable: true, by: witness, at: place, now: now, wall: wall)
    }

    @Test("behind a NAT it is private as soon as two networks agree on its address, and not by one network's word")
    func agreeing() {
        var reach = Reachability()
        reach.has([IPAddress(10, 0, 0, 5)], at: now)
        for number in 1..<200 {
            let counts = say(&reach, outside, "peer \(number)", IPAddress(50, 1, 1, UInt8(number)))
            #expect(counts)
        }
        #expect(reach.type == .unknown && reach.addresses.isEmpty)
        let outcome1 = say(&reach, outside, "another", IPAddress(50, 1, 2, 1))
        #expect(outcome1)
        #expect(reach.type == .private)
        #expect(reach.addresses == [outside])
        #expect(reach.reasons.contains { $0.contains("from 2 networks") && $0.contains("another") })
    }

    @Test("what is said from addresses that are not global, or of such, proves nothing")
    func local() {
        var reach = Reachability()
        reach.has([IPAddress(10, 0, 0, 5)], at: now)
        let outcome2 = say(&reach, outside, "neighbour", IPAddress(10, 0, 0, 7))
        #expect(!outcome2)
        let outcome3 = say(&reach, outside, "itself", .loopbackV4)
        #expect(!outcome3)
        let outcome4 = say(&reach, SocketAddress(IPAddress(10, 0, 0, 5), port: 4001), "peer", IPAddress(50, 1, 1, 1))
        #expect(!outcome4)
        let outcome5 = reach.arrived(
            "neighbour", from: IPAddress(192, 168, 1, 7), isStranger: true, now: now, wall: wall)
        #expect(!outcome5)
        #expect(reach.type == .unknown && reach.held == 0)
    }

    @Test("only somebody to whom nothing was sent before proves that it is public, and that for a day")
    func arrivals() {
        var reach = Reachability()
        reach.has([IPAddress(60, 1, 2, 3)], at: now)
        #expect(reach.type == .unknown, "an address alone proves nothing: a firewall may stand before it")
        let outcome6 = reach.arrived("peer", from: IPAddress(50, 1, 1, 1), isStranger: false, now: now, wall: wall)
        #expect(!outcome6)
        #expect(reach.type == .unknown)
        let outcome7 = reach.arrived("stranger", from: IPAddress(50, 1, 1, 1), isStranger: true, now: now, wall: wall)
        #expect(outcome7)
        #expect(reach.type == .public)
        #expect(reach.reasons.first?.hasPrefix("stranger came in from 50.1.1.0") ?? false)
        reach.expire(at: now + .seconds(23 * 3600))
        #expect(reach.type == .public)
        reach.expire(at: now + .seconds(25 * 3600))
        #expect(reach.type == .unknown)
    }

    @Test("false addresses by the thousand do not push out what many say, and are bounded")
    func liars() {
        var reach = Reachability()
        reach.has([], at: now)
        for number in 1..<6 { _ = say(&reach, outside, "honest", IPAddress(50, 1, UInt8(number), 1)) }
        for number in 0..<50_000 {
            let lie = SocketAddress(IPAddress(v4: UInt32(0x4000_0000 + number)), port: 4001)
            _ = say(&reach, lie, "liar", IPAddress(70, UInt8(number % 200), UInt8(number / 250 % 200), 1))
        }
        #expect(reach.addresses == [outside])
        #expect(reach.held <= reach.limits.addresses * reach.limits.words + reach.limits.arrivals)
    }

    @Test("the kind of connection that no address follows from counts for the type and is told to nobody")
    func undialable() {
        var reach = Reachability()
        reach.has([], at: now)
        for number in 1..<4 {
            _ = reach.observed(
                outside, isDialable: false, by: "peer", at: IPAddress(50, 1, UInt8(number), 1), now: now, wall: wall)
        }
        #expect(reach.type == .private && reach.addresses.isEmpty)
    }

    @Test("a host that was sent something is a stranger again after half an hour, and not before")
    func contacts() {
        var generator = SeededGenerator(seed: 27)
        var contacts = ContactedHosts(random: &generator)
        let host = IPAddress(50, 1, 1, 1)
        let isStranger = contacts.isStranger(host, at: now)
        #expect(isStranger)
        var time = now
        for step in 0..<200 {
            time = now + .seconds(step * 61)
            contacts.contacted(host, at: time)
            for age in [Duration.zero, .seconds(900), .seconds(1799)] {
                var later = contacts
                let isStranger = later.isStranger(host, at: time + age)
                #expect(!isStranger, "at \(time), \(age) later")
            }
            var later = contacts
            let isStranger = later.isStranger(host, at: time + ContactedHosts.lifetime + ContactedHosts.window)
            #expect(isStranger, "at \(time)")
        }
        contacts.forget()
        let isForgotten = contacts.isStranger(host, at: time)
        #expect(isForgotten)
    }

    @Test("after hundreds of thousands of contacts, each is known and nearly every stranger is known to be one")
    func manyContacts() {
        var generator = SeededGenerator(seed: 27)
        var contacts = ContactedHosts(random: &generator)
        for number in 0..<200_000 {
            contacts.contacted(IPAddress(v4: 0x3200_0000 + UInt32(number) * 7), at: now + .milliseconds(number))
        }
        let later = now + .seconds(300)
        var missed = 0
        for number in stride(from: 0, to: 200_000, by: 97)
        where contacts.isStranger(IPAddress(v4: 0x3200_0000 + UInt32(number) * 7), at: later) {
            missed += 1
        }
        #expect(missed == 0)
        var known = 0
        for number in 0..<10_000 where contacts.isStranger(IPAddress(v4: 0x6400_0000 + UInt32(number)), at: later) {
            known += 1
        }
        #expect(known > 9800, "\(known) of 10,000 strangers are known to be strangers")
    }

    @Test("a node does not say that it is where somebody else is, and changes what it says at a rate")
    func telling() {
        var reach = Reachability()
        let theirs = SocketAddress(IPAddress(90, 1, 1, 1), port: 4001)
        func say(_ address: SocketAddress) {
            for number in 1..<4 {
                _ = reach.observed(
                    address, isDialable: true, by: "peer", at: IPAddress(50, 1, UInt8(number), 1), now: now, wall: wall)
            }
        }
        say(outside)
        say(theirs)
        let told = reach.addressesToTell(at: now) { $0 == theirs }
        #expect(told == [outside])
        var changes = 0
        var before = told
        for step in 0..<600 {
            let next = reach.addressesToTell(at: now + .seconds(step)) { $0 == (step % 2 == 0 ? theirs : outside) }
            if next != before { changes += 1 }
            before = next
        }
        #expect(changes > 0 && changes <= reach.limits.changes.burst + 10)
    }

    @Test("what came to an address that this host no longer has proves nothing in the network that it is in now")
    func moving() {
        var reach = Reachability()
        let (home, cafe, bridge) = (IPAddress(192, 168, 1, 5), IPAddress(10, 9, 8, 7), IPAddress(172, 17, 0, 1))
        var hasMoved = reach.has([home, bridge], at: now)
        #expect(!hasMoved)
        let place = IPAddress(50, 1, 1, 1)
        _ = reach.arrived("stranger", from: place, to: home, isStranger: true, now: now, wall: wall)
        for number in 1..<4 {
            _ = reach.observed(
                outside, isDialable: true, by: "peer", at: IPAddress(50, 1, UInt8(number), 1), to: home, now: now,
                wall: wall)
        }
        // A bridge that goes is no move.
        hasMoved = reach.has([home], at: now)
        #expect(!hasMoved && reach.type == .public && reach.addresses == [outside])
        hasMoved = reach.has([cafe], at: now)
        #expect(hasMoved && reach.type == .unknown && reach.addresses.isEmpty && reach.held == 0)
        _ = reach.agreed(outside, by: "nodes of the DHT", now: now, wall: wall)
        hasMoved = reach.has([cafe, bridge], at: now)
        #expect(!hasMoved && reach.addresses == [outside])
        hasMoved = reach.has([], at: now)
        #expect(hasMoved && reach.addresses.isEmpty)
        hasMoved = reach.has([home], at: now)
        #expect(hasMoved, "it is back after a time without a network")
        hasMoved = reach.has([home, IPAddress(v6: 0x2600 << 112 | 9)], at: now)
        #expect(!hasMoved, "an address that an advertisement brings is no move")
    }
}
