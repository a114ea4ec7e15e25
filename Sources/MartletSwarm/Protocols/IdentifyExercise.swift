public import MartletCrypto
internal import MartletIdentity
public import MartletWire

/// Identify's parser for the fuzzer, which stands in a package of its own and sees only what is public.
@_spi(Fuzzing)
public enum IdentifyExercise {
    /// Reads `input` as what the holder of `key` says of itself, first to one who knows nothing, then as a push to one who
    /// knows the same. Traps where what was read goes beyond a bound, or is not read again as it is written.
    public static func run(_ input: Bytes, from key: PrivateKey) throws {
        let peer = PeerID(key.publicKey)
        var info = PeerInfo()
        try IdentifyMessage.read(input, from: peer, into: &info)
        let bound = IdentifyMessage.maximumSize
        precondition(info.listenAddresses.count <= bound && info.protocols.count <= IdentifyMessage.maximumProtocols)
        precondition(info.record.map { $0.record.peerID == peer } ?? true, "a record of somebody else")
        var again = PeerInfo()
        try IdentifyMessage.read(IdentifyMessage.write(info, key: key.publicKey), from: peer, into: &again)
        precondition(again == info, "another peer")
        try IdentifyMessage.read(input, from: peer, into: &again)
        precondition(again == info, "a push that says nothing new changes nothing")
    }
}
