import MartletIdentity
import MartletWire
import Testing

@testable import MartletSwarm

@Suite("Address book")
struct AddressBookTests {
    private static func book(_ change: (inout SwarmLimits) -> Void = { _ in }) -> AddressBook {
        var limits = SwarmLimits()
        limits.rememberedPeers = 16
        change(&limits)
        return AddressBook(limits)
    }

    private static func place(_ network: UInt8, _ host: UInt8, port: UInt16 = 4001) -> Multiaddr {
        .tcp(SocketAddress(IPAddress(70, 7, network, host), port: port))
    }

    @Test("addresses are kept without the peer, the newest first, bounded for each peer and in peers")
    func bounded() throws {
        var book = Self.book()
        book.give([try tcp(1).appending(.p2p(peer(1))), try tcp(2).appending(.p2p(peer(2)))], of: peer(1))
        #expect(book.addresses(of: peer(1)) == [tcp(1)])
        for port in 1...100 { book.give([tcp(1, port: UInt16(port))], of: peer(1)) }
        #expect(book.addresses(of: peer(1)).count == SwarmLimits().addressesPerPeer)
        #expect(book.addresses(of: peer(1)).first == tcp(1, port: 100))
        for number in 2..<100 { book.give([tcp(3)], of: peer(UInt8(number))) }
        #expect(book.count <= 16)
        #expect(book.addresses(of: peer(1)).isEmpty)
        #expect(book.addresses(of: peer(99)) == [tcp(3)])
    }

    @Test("addresses of one peer have a bound in bytes")
    func bytes() {
        var book = Self.book { $0.addressBytesPerPeer = 4 * tcp(1).bytes.count }
        for port in 1...10 { book.give([tcp(1, port: UInt16(port))], of: peer(1)) }
        #expect(book.addresses(of: peer(1)) == [10, 9, 8, 7].map { tcp(1, port: $0) })
    }

    @Test("what was proven comes first, then what was given, then what is claimed; each address stands once")
    func origins() {
        var book = Self.book()
        book.claim([tcp(1), tcp(2), Self.place(1, 1)], of: peer(1), heardIn: .site)
        #expect(book.addresses(of: peer(1), from: .given).isEmpty)
        book.give([tcp(2), tcp(3)], of: peer(1))
        book.prove(tcp(3), of: peer(1))
        book.give([tcp(3)], of: peer(1))
        #expect(book.addresses(of: peer(1)) == [tcp(3), tcp(2), tcp(1), Self.place(1, 1)])
        #expect(book.addresses(of: peer(1), from: .given) == [tcp(3), tcp(2)])
        #expect(book.addresses(of: peer(1), from: .proven) == [tcp(3)])
        book.claim([tcp(3), tcp(4)], of: peer(1), heardIn: .site)
        #expect(book.addresses(of: peer(1)) == [tcp(3), tcp(2), tcp(4)], "the new claims take the place of the old")
        #expect(book.addresses(of: peer(1), from: .given) == [tcp(3), tcp(2)])
    }

    @Test("a peer claims a few addresses, few of them in one network, and only such as it may name")
    func claims() {
        var book = Self.book()
        let limits = SwarmLimits()
        let flood = (0..<100).map { Self.place(7, UInt8($0 + 1)) }
        book.claim(flood, of: peer(1), heardIn: .world)
        #expect(book.addresses(of: peer(1)) == Array(flood.prefix(limits.claimedAddressesPerNetwork)))
        let ports = (0..<100).map { Self.place(7, 7, port: UInt16($0 + 1)) }
        book.claim(ports, of: peer(1), heardIn: .world)
        #expect(book.addresses(of: peer(1)) == Array(ports.prefix(limits.claimedAddressesPerNetwork)))
        let wide = (0..<100).map { Self.place(UInt8($0), 1) }
        book.claim(wide, of: peer(1), heardIn: .world)
        #expect(book.addresses(of: peer(1)) == Array(wide.prefix(limits.claimedAddressesPerPeer)))
        let near = ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "/dns4/localhost/tcp/1"]
        book.claim(near.map { address($0) }, of: peer(2), heardIn: .world)
        #expect(book.addresses(of: peer(2)).isEmpty && book.count == 1)
        book.claim(near.map { address($0) }, of: peer(2), heardIn: .site)
        #expect(book.addresses(of: peer(2)) == near[1...2].map { address($0) })
    }

    @Test("claims push out claims alone, of however many peers, and make way for all else")
    func capacity() {
        var book = Self.book()
        for number in 1...8 { book.give([tcp(UInt8(number))], of: peer(UInt8(number))) }
        for number in 9...12 { book.prove(tcp(UInt8(number)), of: peer(UInt8(number))) }
        for number in 20..<250 { book.claim([tcp(UInt8(number))], of: peer(UInt8(number)), heardIn: .site) }
        #expect(book.count <= 16)
        for number in 1...12 { #expect(book.addresses(of: peer(UInt8(number))) == [tcp(UInt8(number))]) }
        for number in 13...16 { book.give([tcp(UInt8(number))], of: peer(UInt8(number))) }
        for number in 1...16 { #expect(book.addresses(of: peer(UInt8(number))) == [tcp(UInt8(number))]) }
        book.claim([tcp(99)], of: peer(99), heardIn: .site)
        #expect(book.addresses(of: peer(99)).isEmpty && book.count == 16)
    }

    @Test("claims that are taken back leave nothing behind")
    func takenBack() {
        var book = Self.book()
        book.claim([tcp(1)], of: peer(1), heardIn: .site)
        book.claim([], of: peer(1), heardIn: .site)
        #expect(book.count == 0)
        book.claim([tcp(1)], of: peer(1), heardIn: .site)
        book.prove(tcp(2), of: peer(1))
        book.claim([], of: peer(1), heardIn: .site)
        #expect(book.addresses(of: peer(1)) == [tcp(2)])
    }
}
