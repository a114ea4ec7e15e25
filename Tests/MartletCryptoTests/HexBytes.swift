import MartletCrypto
import MartletWire

/// The bytes that `hex` writes in base16. Spaces and line ends in between are passed over.
func bytes(hex: String) -> Bytes {
    let digits = hex.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
    precondition(digits.count % 2 == 0, "half a byte")
    return Bytes(stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) })
}

/// The secret that `hex` writes in base16.
func secret(hex: String) -> Secret {
    Secret(copying: bytes(hex: hex).span)
}
