import MartletWire

/// What others say our own address is: one vote for each of their networks, the last that it cast (BEP 42).
struct AddressVotes {
    /// How many votes are kept.
    static let kept = 24
    /// How many must agree before an address is taken for ours.
    static let needed = 4

    private var votes: [(network: IPAddress, address: SocketAddress)] = []
    /// The address that most agree on; `nil` until enough do.
    private(set) var winner: SocketAddress?

    /// Someone at `voter` says that we are at `address`. Says whether that changes the winner's host or makes one.
    mutating func add(_ address: SocketAddress, from voter: IPAddress) -> Bool {
        let network = voter.isGlobal ? voter.prefix(voter.isV4 ? 24 : 48) : voter
        votes.removeAll { $0.network == network }
        if votes.count >= Self.kept { votes.removeFirst() }
        votes.append((network, address))
        let ofHost = votes.filter { $0.address.ip == address.ip }
        guard ofHost.count >= Self.needed, 2 * ofHost.count > votes.count else { return false }
        let before = winner
        // The port that most of them saw, the last one first: behind some NATs each sees another.
        let port = ofHost.reversed().map(\.address.port).max { left, right in
            ofHost.count { $0.address.port == left } < ofHost.count { $0.address.port == right }
        }
        winner = SocketAddress(address.ip, port: port ?? address.port)
        return before?.ip != winner?.ip
    }
}
