import Martlet

/// The parsers of keys and certificates in `MartletCrypto`.
let keyTargets: [FuzzTarget] = [
    FuzzTarget("PublicKey") { input in
        let key = try PublicKey(protobuf: input)
        expect(key.protobuf == input, "a public key has one encoding")
        expect(try PublicKey(type: key.type, data: key.data.span) == key, "a public key is its type and data")
        expect(!key.isValid(input, for: Bytes()), "an encoding is no signature")
    },

    FuzzTarget("PrivateKey") { input in
        let key = try PrivateKey(protobuf: input.span)
        let message = Bytes(utf8: "a message")
        expect(key.publicKey.isValid(key.sign(message), for: message), "a private key that is accepted signs")
        let again = try PrivateKey(protobuf: key.protobuf.span)
        expect(again.publicKey == key.publicKey, "a private key comes back from its encoding")
    },

    FuzzTarget("Certificate") { input in
        let certificate = try Certificate(der: input)
        expect(certificate.der == input, "a certificate is kept as it was")
        expect(certificate.notBefore <= 253_402_300_799, "times end with the year 9999")
        let key = try certificate.verify(at: certificate.notBefore)
        expect(try PublicKey(protobuf: key.protobuf) == key, "a host key that is proven is a key")
    },
]
