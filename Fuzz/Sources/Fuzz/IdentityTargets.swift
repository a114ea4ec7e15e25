import Martlet

/// The parsers of `MartletIdentity`.
let identityTargets: [FuzzTarget] = [
    FuzzTarget("PeerID") { input in
        let peer = try PeerID(bytes: input.span)
        expect(peer.bytes == input, "a peer id has one encoding")
        let again = try PeerID(parsing: peer.description)
        expect(again == peer, "a peer id is read back from its text")
        let fromCID = try PeerID(parsing: peer.cid)
        expect(fromCID == peer, "a peer id is read back from its CID")
        _ = try peer.publicKey()
    },

    FuzzTarget("PeerIDText") { input in
        let peer = try PeerID(parsing: input.span)
        let again = try PeerID(bytes: peer.span)
        expect(again == peer, "a peer id is read back from its bytes")
    },

    FuzzTarget("Multiaddr") { input in
        let address = try Multiaddr(input)
        try roundTrip(address)
        let again = try Multiaddr(address.bytes)
        expect(again == address, "an address is read back from its bytes")
    },

    FuzzTarget("MultiaddrText") { input in
        try roundTrip(try Multiaddr(parsing: input.span))
    },

    FuzzTarget("SignedEnvelope") { input in
        let envelope = try SignedEnvelope(opening: input, for: .peerRecord)
        expect(envelope.bytes == input, "an envelope is passed on as it came")
    },

    FuzzTarget("PeerRecord") { input in
        let record = try PeerRecord(input)
        let again = try PeerRecord(record.encoded)
        expect(again == record, "a record is read back from its encoding")
    },
]

/// Its canonical text must be read back as the same address, and asking it anything must not fail.
private func roundTrip(_ address: Multiaddr) throws {
    let again = try Multiaddr(parsing: address.description)
    expect(again == address, "an address is read back from its text")
    _ = (address.host, address.transport, address.socketAddress, address.peerID, address.relay)
    _ = (address.certificateHashes, address.serverName, address.withoutPeerID, address.zone)
    for component in address.components { _ = component.description }
}
