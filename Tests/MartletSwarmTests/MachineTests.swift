import MartletIdentity
import MartletRuntime
import MartletTransport
import MartletWire
import Testing

@testable import MartletSwarm

private func at(_ milliseconds: Int64) -> Instant { .start + .seconds(1000) + .milliseconds(milliseconds) }

/// What `body` says of `machine`, which it changes: `#expect` by itself can't.
func calling<Machine, Result>(_ machine: inout Machine, _ body: (inout Machine) -> Result) -> Result {
    body(&machine)
}

@Suite("Rates")
struct RateTests {
    @Test("a source may do its burst at once and then as often as its rate says")
    func burst() {
        var meter = RateMeter()
        let rate = Rate(burst: 3, perSecond: 2)
        let taken = [0, 0, 0, 0, 499, 500, 501, 1000, 60_000, 60_000, 60_000, 60_000].map {
            meter.take(rate, at: at($0))
        }
        #expect(
            taken == [true, true, true, false, false, true, false, true, true, true, true, false])
    }

    @Test("a table remembers no more sources than its capacity; the rest share one allowance until others have rested")
    func bounded() {
        var table = RateTable<Int>(Rate(burst: 2, perSecond: 1), remembering: 10)
        for source in 0..<10 { #expect(calling(&table) { $0.take(source, at: at(0)) }) }
        let strangers = (10..<1000).filter { table.take($0, at: at(0)) }
        #expect(strangers == [10, 11])
        #expect(table.count == 10)
        #expect(calling(&table) { $0.take(5000, at: at(5000)) })
        #expect(table.count == 1)
    }
}

@Suite("Access lists")
struct AccessListTests {
    @Test("the block list counts more than the allow list, and networks count with their families unmapped")
    func lists() {
        var lists = AccessLists()
        let inside = IPAddress(198, 51, 100, 7)
        #expect(lists.refusal(of: peer(1), at: inside) == nil)
        lists.allowedPeers = [peer(1)]
        #expect(lists.refusal(of: peer(1)) == nil)
        #expect(lists.refusal(of: peer(2)) == .notAllowed)
        lists.blockedPeers = [peer(1)]
        #expect(lists.refusal(of: peer(1)) == .blocked)
        lists.blockedNetworks = [IPBlock(IPAddress(198, 51, 100, 200), length: 24)]
        #expect(lists.refusal(of: inside) == .blocked)
        #expect(lists.refusal(of: inside.mapped) == .blocked)
        #expect(lists.refusal(of: IPAddress(198, 51, 101, 7)) == nil)
        lists.allowedNetworks = [IPBlock(IPAddress(10, 0, 0, 0), length: 8)]
        #expect(lists.refusal(of: IPAddress(198, 51, 101, 7)) == .notAllowed)
        #expect(lists.refusal(of: IPAddress(10, 9, 8, 7)) == nil)
    }
}

@Suite("Connection gate")
struct ConnectionGateTests {
    private func gate(_ change: (inout SwarmLimits) -> Void) -> ConnectionGate {
        var limits = SwarmLimits()
        limits.addressRate = Rate(burst: 100_000, perSecond: 1)
        limits.networkRate = limits.addressRate
        limits.allocationRate = limits.addressRate
        change(&limits)
        return ConnectionGate(limits)
    }

    @Test("each bound refuses the connection that goes beyond it, by its own name")
    func bounds() {
        let bounds: [(WritableKeyPath<SwarmLimits, Int>, Refusal, (UInt8) -> IPAddress)] = [
            (\.pendingInbound, .pendingInbound, { IPAddress(192, $0, 2, 1) }),
            (\.pendingPerAddress, .pendingPerAddress, { _ in IPAddress(192, 0, 2, 1) }),
            (\.connectionsPerAddress, .connectionsPerAddress, { _ in IPAddress(192, 0, 2, 1) }),
            (\.connectionsPerAddress, .connectionsPerAddress, { IPAddress(v6: 0x2001_0db8 << 96 | UInt128($0)) }),
            (\.connectionsPerNetwork, .connectionsPerNetwork, { IPAddress(192, 0, 2, $0) }),
            (\.connectionsPerAllocation, .connectionsPerNetwork, { IPAddress(192, 0, $0, 1) }),
            (
                \.connectionsPerAllocation, .connectionsPerNetwork,
                { IPAddress(v6: 0x2001_0db8_0000 << 80 | UInt128($0) << 80) }
            ),
            (\.connections, .connections, { IPAddress(192, 0, 2, $0) }),
        ]
        for (bound, refusal, place) in bounds {
            var gate = gate { $0[keyPath: bound] = 5 }
            let answers = (0..<6).map { gate.admit(from: place($0), at: at(0)) }
            #expect(answers == Array(repeating: .admitted, count: 5) + [.refused(refusal)])
            gate.leave(from: place(0))
            #expect(calling(&gate) { $0.admit(from: place(5), at: at(0)) } == .admitted)
        }
    }

    @Test("inbound connections leave the last places for dialling, a sixteenth of all at most")
    func reserve() {
        var gate = gate { limits in
            limits.connections = 64
            limits.reservedForDialling = 1000
        }
        for number in 0..<60 {
            let place = IPAddress(10, 0, UInt8(number), 1)
            #expect(calling(&gate) { $0.admit(from: place, at: at(0)) } == .admitted)
            gate.leave(from: place)
            #expect(calling(&gate) { $0.establish(peer(UInt8(number)), by: .admitted(place)) } == nil)
        }
        let next = IPAddress(10, 0, 100, 1)
        #expect(calling(&gate) { $0.admit(from: next, at: at(0)) } == .refused(.connections))
        for number in 60..<64 {
            #expect(gate.hasRoom)
            #expect(calling(&gate) { $0.establish(peer(UInt8(number)), by: .dialled) } == nil)
        }
        #expect(!gate.hasRoom)
    }

    @Test("a place is counted from knocking to closing, and nothing is left behind")
    func balance() {
        var gate = gate { limits in
            limits.connectionsPerAddress = 2
            limits.connectionsPerPeer = 1
        }
        let home = IPAddress(192, 0, 2, 1)
        for _ in 0..<100 {
            var answers: [Refusal?] = []
            for (number, home) in [(1, home), (1, home.mapped), (2, home)] as [(UInt8, IPAddress)] {
                #expect(calling(&gate) { $0.admit(from: home, at: at(0)) } == .admitted)
                gate.leave(from: home)
                answers.append(gate.establish(peer(number), by: .admitted(home)))
            }
            #expect(calling(&gate) { $0.admit(from: home, at: at(0)) } == .refused(.connectionsPerAddress))
            answers.append(gate.establish(peer(3), by: .dialled))
            #expect(answers == [nil, .connectionsPerPeer, nil, nil])
            #expect(gate.established == 3)
            gate.close(peer(1), by: .admitted(home))
            gate.close(peer(2), by: .admitted(home))
            gate.close(peer(3), by: .dialled)
            #expect(gate.established == 0 && gate.pending == 0)
        }
    }

    @Test("an address and a network that connect too often are refused until they have rested")
    func rates() {
        var limits = SwarmLimits()
        limits.addressRate = Rate(burst: 2, perSecond: 1)
        limits.networkRate = Rate(burst: 3, perSecond: 1)
        var gate = ConnectionGate(limits)
        let one = IPAddress(192, 0, 2, 1)
        let answers = [one, one, one, IPAddress(192, 0, 2, 2), IPAddress(192, 0, 2, 3)].map {
            gate.admit(from: $0, at: at(0))
        }
        #expect(answers == [.admitted, .admitted, .refused(.addressRate), .admitted, .refused(.networkRate)])
        #expect(calling(&gate) { $0.admit(from: one, at: at(1000)) } == .admitted)
    }

    @Test("an allocation that connects too often is refused, from however many of its networks")
    func allocationRate() {
        let places: [(UInt8) -> IPAddress] = [
            { IPAddress(192, 0, $0, 1) }, { IPAddress(v6: 0x2001_0db8 << 96 | UInt128($0) << 80) },
        ]
        for place in places {
            var gate = gate { $0.allocationRate = Rate(burst: 3, perSecond: 1) }
            let answers = (0..<5).map { gate.admit(from: place($0), at: at(0)) }
            #expect(
                answers == Array(repeating: .admitted, count: 3) + [.refused(.networkRate), .refused(.networkRate)])
            #expect(calling(&gate) { $0.admit(from: place(9), isProven: false, at: at(0)) } == .mustProve)
            #expect(calling(&gate) { $0.admit(from: place(9), at: at(2000)) } == .admitted)
        }
    }

    @Test("a connection that is being closed keeps nobody out, up to a bound")
    func closing() {
        var gate = gate { limits in
            limits.connections = 8
            limits.reservedForDialling = 0
            limits.closingConnections = 2
        }
        let place = IPAddress(192, 0, 2, 1)
        for number in 0..<8 as Range<UInt8> {
            #expect(calling(&gate) { $0.establish(peer(number), by: .admitted(place)) } == nil)
        }
        #expect(calling(&gate) { $0.admit(from: place, at: at(0)) } == .refused(.connections) && !gate.hasRoom)
        for _ in 0..<3 { gate.beginsToClose() }
        for number in 10..<12 as Range<UInt8> {
            #expect(calling(&gate) { $0.admit(from: place, at: at(0)) } == .admitted)
            gate.leave(from: place)
            #expect(calling(&gate) { $0.establish(peer(number), by: .admitted(place)) } == nil)
        }
        #expect(calling(&gate) { $0.admit(from: place, at: at(0)) } == .refused(.connections) && !gate.hasRoom)
        for number in 0..<3 as Range<UInt8> { gate.close(peer(number), by: .admitted(place), wasClosing: true) }
        #expect(gate.established == 7 && gate.closing == 0 && gate.hasRoom)
    }

    @Test("packets that bear an address use up nothing of it; when they are many, or its rate is used up, it is proven")
    func unproven() {
        var limits = SwarmLimits()
        limits.addressRate = Rate(burst: 2, perSecond: 1)
        limits.pendingUnproven = 5
        var gate = ConnectionGate(limits)
        let one = IPAddress(192, 0, 2, 1)
        let answers = (0..<6).map { _ in gate.admit(from: one, isProven: false, at: at(0)) }
        #expect(answers == Array(repeating: .admitted, count: 5) + [.mustProve])
        let other = IPAddress(198, 51, 100, 1)
        #expect(calling(&gate) { $0.admit(from: other, isProven: false, at: at(0)) } == .mustProve)
        #expect(calling(&gate) { $0.admit(from: one, at: at(0)) } == .admitted)
        for _ in 0..<5 { gate.leave(from: one, isProven: false) }
        #expect(gate.pending == 1)
        // Two of them turn out to be there in earnest.
        gate.charge(one, at: at(0))
        gate.charge(one, at: at(0))
        #expect(calling(&gate) { $0.admit(from: one, isProven: false, at: at(0)) } == .mustProve)
        #expect(calling(&gate) { $0.admit(from: one, at: at(0)) } == .refused(.addressRate))
        #expect(calling(&gate) { $0.admit(from: one, at: at(1000)) } == .refused(.addressRate))
        #expect(calling(&gate) { $0.admit(from: one, isProven: false, at: at(2000)) } == .admitted)
    }

    @Test("hosts and networks that dial and say nothing leave places for others, however many each is allowed")
    func crowds() {
        let crowds = [
            (0..<8).map { IPAddress(192, 0, UInt8($0), 1) }, (0..<200).map { IPAddress(192, 0, 2, $0) },
            (0..<256).map { IPAddress(v6: 0x2001_0db8 << 96 | UInt128($0) << 80) },
        ]
        for places in crowds {
            var gate = gate { _ in }
            for _ in 0..<100 {
                for place in places { _ = gate.admit(from: place, at: at(0)) }
            }
            #expect(gate.pending < 200)
            let others = (0..<40).map { gate.admit(from: IPAddress(198, 51, $0, 1), at: at(0)) }
            #expect(others.allSatisfy { $0 == .admitted })
            for _ in 0..<gate.pending { gate.leave(from: nil) }
            #expect(gate.pending == 0)
        }
    }
}

@Suite("Dial back-off")
struct DialBackoffTests {
    @Test("the pause doubles from 5 seconds to 5 minutes and ends with a success")
    func doubles() {
        var backoff = DialBackoff(remembering: 10)
        var now = at(0)
        var pauses: [Duration] = []
        for _ in 0..<9 {
            backoff.failed(tcp(1), for: peer(1), at: now)
            guard let end = backoff.pause(of: tcp(1), for: peer(1), at: now) else { break }
            pauses.append(end - now)
            now = end
            #expect(backoff.pause(of: tcp(1), for: peer(1), at: now) == nil)
        }
        #expect(pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300].map { .seconds($0) })
        #expect(backoff.pause(of: tcp(2), for: peer(1), at: now) == nil)
        backoff.failed(tcp(1), for: peer(1), at: now)
        backoff.succeeded(tcp(1), for: peer(1))
        #expect(backoff.pause(of: tcp(1), for: peer(1), at: now) == nil)
    }

    @Test("what is said of one peer at an address says nothing of another there")
    func byClaim() {
        var backoff = DialBackoff(remembering: 10)
        for _ in 0..<5 { backoff.failed(tcp(1), for: peer(1), at: at(0)) }
        #expect(backoff.pause(of: tcp(1), for: peer(1), at: at(0)) != nil)
        #expect(backoff.pause(of: tcp(1), for: peer(2), at: at(0)) == nil)
        #expect(backoff.pause(of: tcp(1), for: nil, at: at(0)) == nil)
        backoff.succeeded(tcp(1), for: peer(2))
        #expect(backoff.pause(of: tcp(1), for: peer(1), at: at(0)) != nil)
    }

    @Test("no more claims are remembered than its capacity, and those whose pause ends first go")
    func bounded() {
        var backoff = DialBackoff(remembering: 8)
        for port in 1...100 { backoff.failed(tcp(1, port: UInt16(port)), for: nil, at: at(Int64(port))) }
        #expect(backoff.count <= 8)
        #expect(backoff.pause(of: tcp(1, port: 100), for: nil, at: at(100)) != nil)
        #expect(backoff.pause(of: tcp(1, port: 1), for: nil, at: at(100)) == nil)
    }
}

@Suite("Dial plan")
struct DialPlanTests {
    static let quic4 = address("/ip4/192.0.2.1/udp/1/quic-v1")
    static let other4 = address("/ip4/192.0.2.2/udp/1/quic-v1")
    static let quic6 = address("/ip6/2001:db8::1/udp/1/quic-v1")
    static let tcp4 = address("/ip4/192.0.2.1/tcp/1")
    static let tcp6 = address("/ip6/2001:db8::1/tcp/1")
    static let relayed = address("/ip4/192.0.2.9/tcp/1/p2p/\(peer(9))/p2p-circuit")

    /// Which addresses a plan begins when none of them ever answers, asked every 50 milliseconds.
    private func begin(_ plan: inout DialPlan, for milliseconds: Int64 = 3000) -> [(Int64, Multiaddr)] {
        var begun: [(Int64, Multiaddr)] = []
        for time in stride(from: Int64(0), to: milliseconds, by: 50) {
            while let address = plan.nextAddress(at: at(time)) { begun.append((time, address)) }
        }
        return begun
    }

    @Test("TCP is a quarter of a second behind QUIC and relays are last, families take turns, and nothing comes twice")
    func order() {
        let all = [Self.relayed, Self.tcp4, Self.quic4, Self.other4, Self.tcp6, Self.quic6, Self.tcp4]
        var plan = DialPlan(all, atOnce: 8, at: at(0))
        let begun = begin(&plan)
        #expect(begun.map(\.0) == [0, 250, 250, 500, 500, 750])
        #expect(begun.map(\.1) == [Self.quic6, Self.quic4, Self.tcp6, Self.other4, Self.tcp4, Self.relayed])
    }

    @Test("no more are tried in all than the bound")
    func most() {
        var plan = DialPlan((0..<100).map { tcp(1, port: 1 + $0) }, atOnce: 8, most: 3, at: at(0))
        let begun = begin(&plan)
        #expect(begun.count == 3)
        for _ in 0..<3 { plan.failed(at: at(5000)) }
        #expect(plan.isExhausted)
    }

    @Test("IPv4 addresses of a name wait a moment for its IPv6 addresses, and go first when those take longer")
    func names() {
        for (v6At, expected) in [(Int64(30), Self.tcp6), (80, Self.tcp4)] {
            var plan = DialPlan([], atOnce: 8, at: at(0))
            plan.beginLookUp(of: .v6)
            plan.beginLookUp(of: .v4)
            #expect(!plan.isExhausted && plan.deadline == nil)
            plan.endLookUp(of: .v4, [Self.tcp4], at: at(10))
            #expect(calling(&plan) { $0.nextAddress(at: at(10)) } == nil)
            #expect(plan.deadline == at(60))
            var first: Multiaddr?
            if v6At > 60 { first = plan.nextAddress(at: at(60)) }
            plan.endLookUp(of: .v6, [Self.tcp6], at: at(v6At))
            first = first ?? plan.nextAddress(at: at(v6At))
            #expect(first == expected)
        }
    }

    @Test("a name that leads nowhere exhausts the plan, and one that leads somewhere late begins at once")
    func lateNames() {
        var plan = DialPlan([Self.tcp4], atOnce: 8, at: at(0))
        plan.beginLookUp(of: .v6)
        plan.beginLookUp(of: .v6)
        #expect(calling(&plan) { $0.nextAddress(at: at(0)) } == Self.tcp4)
        plan.failed(at: at(10))
        #expect(!plan.isExhausted)
        plan.endLookUp(of: .v6, [Self.tcp6], at: at(20))
        #expect(calling(&plan) { $0.nextAddress(at: at(20)) } == Self.tcp6)
        plan.failed(at: at(30))
        plan.endLookUp(of: .v6, [], at: at(40))
        #expect(plan.isExhausted)
    }

    @Test("addresses begin a quarter of a second apart, and at once when the one before has failed")
    func stagger() {
        var plan = DialPlan([Self.quic4, Self.tcp4, Self.tcp6], atOnce: 8, at: at(0))
        #expect(calling(&plan) { $0.nextAddress(at: at(0)) } == Self.quic4)
        #expect(calling(&plan) { $0.nextAddress(at: at(0)) } == nil)
        #expect(plan.deadline == at(250))
        #expect(calling(&plan) { $0.nextAddress(at: at(249)) } == nil)
        #expect(calling(&plan) { $0.nextAddress(at: at(250)) } == Self.tcp6)
        plan.failed(at: at(260))
        #expect(plan.deadline == at(500), "one is still on its way")
        plan.failed(at: at(270))
        #expect(calling(&plan) { $0.nextAddress(at: at(270)) } == Self.tcp4)
        #expect(plan.deadline == nil)
        #expect(!plan.isExhausted)
        plan.failed(at: at(280))
        #expect(plan.isExhausted)
    }

    @Test("no more are tried at the same time than the bound")
    func atOnce() {
        var plan = DialPlan([Self.quic4, Self.tcp4, Self.tcp6], atOnce: 1, at: at(0))
        #expect(calling(&plan) { $0.nextAddress(at: at(0)) } != nil)
        #expect(plan.deadline == nil)
        #expect(calling(&plan) { $0.nextAddress(at: at(10_000)) } == nil)
        plan.failed(at: at(10_000))
        #expect(calling(&plan) { $0.nextAddress(at: at(10_000)) } != nil)
    }
}

@Suite("Two connections to one peer")
struct DuplicateRuleTests {
    private typealias Candidate = DuplicateRule.Candidate

    private static let small = min(peer(1), peer(2))
    private static let large = max(peer(1), peer(2))

    /// What both sides keep of two connections: the older dialled by the smaller id or not, and so on.
    private func kept(
        olderBySmall: Bool, newerBySmall: Bool, apart: Int64, relayed: (older: Bool, newer: Bool) = (false, false)
    ) -> (small: UInt64?, large: UInt64?) {
        func side(_ isSmall: Bool) -> UInt64? {
            let candidates = [(1, olderBySmall, relayed.older, 0), (2, newerBySmall, relayed.newer, apart)].map {
                Candidate(
                    number: $0, direction: $1 == isSmall ? .outbound : .inbound, isRelayed: $2, madeAt: at($3),
                    idleSince: at(0))
            }
            let local = isSmall ? Self.small : Self.large
            let remote = isSmall ? Self.large : Self.small
            let forwards = DuplicateRule(local: local).preferred(of: candidates, with: remote)
            let backwards = DuplicateRule(local: local).preferred(of: candidates.reversed(), with: remote)
            #expect(forwards == backwards)
            return forwards?.number
        }
        return (side(true), side(false))
    }

    @Test("of two that were dialled at the same time, both sides keep the one that the smaller id dialled")
    func simultaneous() {
        #expect(kept(olderBySmall: true, newerBySmall: false, apart: 20) == (1, 1))
        #expect(kept(olderBySmall: false, newerBySmall: true, apart: 20) == (2, 2))
    }

    @Test("a dial long after the first, or by the same side again, means that the older is of no use")
    func newer() {
        #expect(kept(olderBySmall: true, newerBySmall: false, apart: 20_000) == (2, 2))
        #expect(kept(olderBySmall: true, newerBySmall: true, apart: 20) == (2, 2))
        #expect(kept(olderBySmall: false, newerBySmall: false, apart: 20) == (2, 2))
    }

    @Test("a direct connection is kept before a relayed one")
    func direct() {
        #expect(kept(olderBySmall: false, newerBySmall: true, apart: 20, relayed: (false, true)) == (1, 1))
        #expect(kept(olderBySmall: true, newerBySmall: false, apart: 20, relayed: (true, false)) == (2, 2))
    }

    @Test("what is not kept closes when its streams are done, first at the side with the smaller id")
    func closing() {
        var candidate = Candidate(
            number: 1, direction: .inbound, isRelayed: false, madeAt: at(0), idleSince: at(5000))
        #expect(DuplicateRule(local: Self.small).closingTime(of: candidate, with: Self.large) == at(7000))
        #expect(DuplicateRule(local: Self.large).closingTime(of: candidate, with: Self.small) == at(15_000))
        candidate.idleSince = nil
        #expect(DuplicateRule(local: Self.small).closingTime(of: candidate, with: Self.large) == nil)
    }
}

@Suite("Ping statistics")
struct PingStatisticsTests {
    @Test("minimum, maximum, mean and deviation are those of the values; the estimate follows RFC 6298")
    func values() throws {
        var statistics = PingStatistics()
        for milliseconds in [10, 20, 30, 40] { statistics.add(.milliseconds(milliseconds)) }
        statistics.addLoss()
        #expect(statistics.answered == 4 && statistics.lost == 1)
        #expect(statistics.minimum == .milliseconds(10) && statistics.maximum == .milliseconds(40))
        #expect(statistics.mean == .milliseconds(25))
        #expect(try #require(statistics.deviation).nanoseconds / 1000 == 11_180)
        var smoothed = 10.0
        for value in [20.0, 30, 40] { smoothed = smoothed * 7 / 8 + value / 8 }
        #expect(abs(try #require(statistics.smoothed) / .milliseconds(1) - smoothed) < 0.001)
    }
}

@Suite("Refusals in the log")
struct RefusalLogTests {
    @Test("an unknown protocol is named, but for what goes beyond 64 characters")
    func names() {
        func shown(_ name: String?) -> [String] {
            Swarm.fields(.unknownProtocol, protocol: name).map { "\($0.key)=\($0.value)" }
        }
        #expect(shown("/x/1.0.0") == ["reason=unknown_protocol", "protocol=/x/1.0.0"])
        #expect(shown(nil) == ["reason=unknown_protocol"])
        let long = shown("a" + String(repeating: "\u{301}", count: 500))
        #expect(long.last?.unicodeScalars.count == "protocol=".count + 64)
    }
}
