public import MartletWire

/// What a hash or a message authentication code makes of a message: up to 64 bytes, kept inline.
public struct Digest: Sendable {
    /// The longest digest there is here, SHA-512's and BLAKE2b's.
    public static let maximumSize = 64

    @usableFromInline var storage: InlineArray<64, UInt8>
    @usableFromInline let size: UInt8

    /// `count` bytes, at most 64, which `fill` writes.
    init(count: Int, fill: (UnsafeMutableRawPointer) -> Void) {
        precondition(count <= Digest.maximumSize, "longer than any digest")
        storage = InlineArray(repeating: 0)
        size = UInt8(count)
        var bytes = storage.mutableSpan
        bytes.withUnsafeMutableBytes { fill($0.baseAddress.unsafelyUnwrapped) }
    }

    /// How many bytes there are.
    @inlinable
    public var count: Int { Int(size) }

    /// The bytes, to read where they stand.
    @inlinable
    public var span: RawSpan {
        @_lifetime(borrow self)
        get { storage.span.bytes.extracting(first: count) }
    }

    /// A copy of the bytes, in one allocation.
    public var bytes: Bytes { Bytes(copying: span) }
}

extension Digest: Hashable {
    /// Whether both have the same bytes. Not constant-time: codes are compared by their spans, with
    /// `isEqualInConstantTime(to:)`.
    public static func == (left: Digest, right: Digest) -> Bool {
        left.span.isEqual(to: right.span)
    }

    /// Feeds the bytes to `hasher`.
    public func hash(into hasher: inout Hasher) {
        span.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

extension Digest: CustomStringConvertible {
    /// The bytes in base16.
    public var description: String {
        var text = ""
        for index in 0..<count {
            let byte = span[index]
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text
    }
}
