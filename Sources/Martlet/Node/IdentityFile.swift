public import MartletCrypto
internal import MartletRuntime
internal import MartletWire

/// The file that a key is kept in, for its owner alone: libp2p's protobuf encoding, in a file of mode 0600.
public struct IdentityFile: Sendable {
    /// Longer than any key that is taken.
    private static let longest = 16 << 10

    private let path: String

    /// The file at `path`.
    public init(_ path: String) { self.path = path }

    /// The key in the file. Where there is no file, it is made with a new key. Throws where others can read it.
    public func key() throws(MartletError) -> PrivateKey {
        var random = RandomSource.system()
        let fresh = PrivateKey.ed25519(using: &random).protobuf
        let found: Result<PrivateKey, KeyError>
        do throws(PrivateFile.Failure) {
            found = try PrivateFile(path).read(orMake: fresh.span, maximum: Self.longest) { bytes in
                do throws(KeyError) { return .success(try PrivateKey(protobuf: bytes)) } catch {
                    return .failure(error)
                }
            }
        } catch {
            throw MartletError(.identity, "the key's file \(path) \(error.words)")
        }
        switch found {
        case .success(let key): return key
        case .failure(let error): throw MartletError(.identity, "the key's file \(path) holds no key: \(error)")
        }
    }
}

extension NodeConfiguration {
    /// The file's name in the data directory.
    private static let identityFile = "identity"

    /// The key of a node on this machine: what is set, else what its file says, which is made where it is missing, else a
    /// new one.
    func key() throws(MartletError) -> PrivateKey {
        if let identity { return identity }
        if keepsFiles, let dataDirectory { return try IdentityFile("\(dataDirectory)/\(Self.identityFile)").key() }
        var random = RandomSource.system()
        return PrivateKey.ed25519(using: &random)
    }
}
