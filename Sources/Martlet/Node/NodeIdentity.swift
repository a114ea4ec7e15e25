internal import MartletCrypto
internal import MartletRuntime
internal import MartletWire

/// A node's key, and the file that it is kept in.
enum NodeIdentity {
    /// The file's name in the data directory: libp2p's protobuf encoding, for its owner alone.
    static let file = "identity"
    private static let longest = 16 << 10

    /// The key of a node on this machine: what the configuration says, else what its file says, which is made where it is
    /// missing, else a new one.
    static func key(of configuration: NodeConfiguration) throws(MartletError) -> PrivateKey {
        if let identity = configuration.identity { return identity }
        var random = RandomSource.system()
        let fresh = PrivateKey.ed25519(using: &random)
        guard configuration.keepsFiles, let folder = configuration.dataDirectory else { return fresh }
        let path = "\(folder)/\(file)"
        let bytes: Bytes
        do throws(PrivateFile.Failure) {
            let secret = fresh.protobuf
            bytes = try PrivateFile(path).readOrMake(Bytes(copying: secret.span), maximum: longest)
        } catch {
            throw MartletError(.identity, "the key's file \(path) \(error.words)")
        }
        do throws(KeyError) {
            return try PrivateKey(protobuf: bytes.span)
        } catch {
            throw MartletError(.identity, "the key's file \(path) holds no key: \(error)")
        }
    }
}
