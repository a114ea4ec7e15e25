internal import CCrypto
internal import MartletWire

/// libp2p's extension of X.509: the host key, and its signature of the key that the certificate is made with.
///
///     SignedKey ::= SEQUENCE { publicKey OCTET STRING, signature OCTET STRING }
struct LibP2PExtension {
    /// The object identifier 1.3.6.1.4.1.53594.1.1.
    static let name: [UInt8] = [0x2B, 0x06, 0x01, 0x04, 0x01, 0x83, 0xA2, 0x5A, 0x01, 0x01]
    /// What stands before the certificate's key in the message that the host key signs.
    static let prefix = "libp2p-tls-handshake:"

    let hostKey: PublicKey
    let signature: Bytes

    init(_ value: RawSpan) throws(CertificateError) {
        let key: RawSpan
        do throws(WireError) {
            var reader = Reader(value)
            var signedKey = try reader.der(DER.sequence)
            try reader.expectEnd()
            var publicKey = try signedKey.der(DER.octetString)
            var octets = try signedKey.der(DER.octetString)
            try signedKey.expectEnd()
            key = publicKey.rest()
            signature = Bytes(copying: octets.rest())
        } catch { throw .extensionMalformed(error) }
        do throws(KeyError) {
            hostKey = try PublicKey(protobuf: key)
        } catch { throw .hostKey(error) }
    }

    /// The value of the extension in which `hostKey` vouches for the certificate's key.
    static func value(hostKey: PrivateKey, publicKeyInfo: RawSpan) -> Bytes {
        let key = hostKey.publicKey.protobuf
        let signature = hostKey.sign(message(publicKeyInfo))
        var writer = Writer(capacity: key.count + signature.count + 16)
        writer.der(DER.sequence, count: derSize(key.count) + derSize(signature.count))
        writer.der(DER.octetString, count: key.count)
        writer.bytes(key)
        writer.der(DER.octetString, count: signature.count)
        writer.bytes(signature)
        return writer.finish()
    }

    /// What the host key signs, for a certificate with the key `publicKeyInfo`.
    static func message(_ publicKeyInfo: RawSpan) -> Bytes {
        var writer = Writer(capacity: prefix.utf8.count + publicKeyInfo.byteCount)
        writer.utf8(prefix)
        writer.bytes(publicKeyInfo)
        return writer.finish()
    }

    /// How many bytes a DER value with `count` bytes of contents takes.
    private static func derSize(_ count: Int) -> Int {
        count + (count < 0x80 ? 2 : count < 0x100 ? 3 : 4)
    }
}

extension Writer {
    /// Appends the tag and the length of a DER value with `count` bytes of contents, of which there may be 65535.
    mutating func der(_ tag: UInt8, count: Int) {
        byte(tag)
        if count >= 0x100 {
            byte(0x82)
            integer(UInt16(count))
        } else {
            if count >= 0x80 { byte(0x81) }
            byte(UInt8(count))
        }
    }
}
