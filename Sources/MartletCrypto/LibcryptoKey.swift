internal import CCrypto
internal import MartletWire

/// One of libcrypto's keys (`EVP_PKEY`), which stays prepared for as many signatures as are made or checked with it.
/// It is freed with its last reference, and libcrypto wipes a secret half when it frees it.
///
/// It is `@unchecked Sendable` because a key never changes after it was made: libcrypto lets threads share such.
final class LibcryptoKey: @unchecked Sendable {
    let pointer: OpaquePointer

    /// Takes over a key that libcrypto made; `nil` where it made none, and then its error queue is emptied.
    init?(_ made: OpaquePointer?) {
        guard let made else {
            ERR_clear_error()
            return nil
        }
        pointer = made
    }

    deinit {
        EVP_PKEY_free(pointer)
    }

    /// Whether `signature` is one of `message` by this key.
    func isValid(_ signature: RawSpan, for message: RawSpan, hash: OpaquePointer?) -> Bool {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        let valid = signature.withUnsafeBytes { signature in
            message.withUnsafeBytes { message in
                EVP_DigestVerifyInit(context, nil, hash, nil, pointer) == 1
                    && EVP_DigestVerify(context, signature.octets, signature.count, message.octets, message.count) == 1
            }
        }
        // A signature that is no DER leaves entries as well as one that is merely wrong.
        if !valid { ERR_clear_error() }
        return valid
    }

    /// Signs `message` and hands over the signature, with room for one of the largest size. `nil` where libcrypto
    /// cannot sign with this key.
    func sign(_ message: RawSpan, hash: OpaquePointer?) -> (slab: Slab, count: Int)? {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        let slab = Slab.make(capacity: Int(EVP_PKEY_get_size(pointer)))
        var count = slab.size
        let signed = message.withUnsafeBytes { message in
            EVP_DigestSignInit(context, nil, hash, nil, pointer) == 1
                && EVP_DigestSign(context, slab.octets, &count, message.octets, message.count) == 1
        }
        guard signed else {
            ERR_clear_error()
            return nil
        }
        return (slab, count)
    }
}

extension Slab {
    /// The memory, as libcrypto takes it.
    var octets: UnsafeMutablePointer<UInt8> { base.assumingMemoryBound(to: UInt8.self) }
}

extension UnsafeRawBufferPointer {
    /// The memory, as libcrypto takes it; never null, which some of its functions take for a question.
    var octets: UnsafePointer<UInt8> {
        (baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped).assumingMemoryBound(to: UInt8.self)
    }
}

extension KeyType {
    /// The hash that a message goes through before it is signed; Ed25519 signs the message itself.
    var hash: OpaquePointer? { self == .ed25519 ? nil : EVP_sha256() }

    /// libcrypto's number for the curve of the key types whose keys are points in SEC1's form.
    var curve: Int32 { self == .secp256k1 ? NID_secp256k1 : NID_X9_62_prime256v1 }
}
