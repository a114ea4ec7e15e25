public import MartletWire

/// Where something is reached: protocols one inside the other, as in `/ip4/1.2.3.4/udp/4001/quic-v1`.
///
/// It is its binary form, checked: every protocol is known, every value valid, and at least one is there. An
/// address from a larger input is a slice of it and costs no allocation; `compacted()` before keeping it long.
///
/// The specification is multiformats/multiaddr; the text is the canonical one of the Go implementation.
public struct Multiaddr: Sendable {
    /// The most bytes that an address from elsewhere may have. The longest in use, through a relay and with two
    /// certificates, have some 300.
    public static let maximumSize = 1024

    /// The most bytes of text that are looked at.
    public static let maximumTextSize = 4096

    /// The binary form.
    public let bytes: Bytes

    /// An address whose bytes are known to be valid.
    init(unchecked bytes: Bytes) {
        self.bytes = bytes
    }

    /// The address with this binary form, which is kept as it is.
    public init(_ bytes: Bytes) throws(MultiaddrError) {
        try Multiaddr.check(bytes.span)
        self.init(unchecked: bytes)
    }

    /// The address with this binary form, copied.
    public init(copying span: RawSpan) throws(MultiaddrError) {
        try Multiaddr.check(span)
        self.init(unchecked: Bytes(copying: span))
    }

    /// The same address, pinning no more memory than it needs.
    public func compacted() -> Multiaddr {
        Multiaddr(unchecked: bytes.compacted())
    }

    /// Throws unless `span` is the binary form of an address.
    static func check(_ span: RawSpan) throws(MultiaddrError) {
        guard span.byteCount > 0 else { throw MultiaddrError(.empty, at: 0) }
        guard span.byteCount <= maximumSize else { throw MultiaddrError(.malformed(.tooLarge), at: 0) }
        var walk = AddressWalk(span)
        while let step = try walk.next() {
            do throws(WireError) {
                try step.value.check(walk.valueBytes)
            } catch {
                throw MultiaddrError(.value(step, error.reason), at: walk.value.lowerBound + error.offset)
            }
            // In text a path goes to the end, so nothing may follow it here either.
            if case .path = step.value, walk.end < span.byteCount {
                throw MultiaddrError(.value(step, .trailingBytes), at: walk.end)
            }
        }
    }
}

/// Goes through the binary form of an address protocol by protocol, without copying or counting references.
struct AddressWalk: ~Escapable {
    private var reader: Reader
    /// Where the protocol that was read last begins.
    private(set) var start = 0
    /// Where its value is.
    private(set) var value = 0..<0

    /// A walk through `span`, or through what is left of it `from` where a protocol begins.
    @_lifetime(copy span)
    init(_ span: RawSpan, from start: Int = 0) {
        reader = Reader(span)
        try? reader.skip(start)
    }

    /// The bytes of the value that was read last.
    var valueBytes: RawSpan {
        @_lifetime(copy self)
        get { reader.span(in: value) }
    }

    /// Where the next protocol begins.
    var end: Int { reader.position }

    /// The next protocol, or `nil` at the end.
    mutating func next() throws(MultiaddrError) -> AddressProtocol? {
        guard !reader.isAtEnd else { return nil }
        start = reader.position
        let code: UInt64
        do throws(WireError) {
            code = try reader.varint()
        } catch { throw MultiaddrError(.malformed(error.reason), at: error.offset) }
        guard let number = UInt16(exactly: code), let step = AddressProtocol(rawValue: number) else {
            throw MultiaddrError(.unknownCode(code), at: start)
        }
        do throws(WireError) {
            let size = if let fixed = step.value.size { fixed } else { Int(clamping: try reader.varint()) }
            let first = reader.position
            try reader.skip(size)
            value = first..<reader.position
        } catch { throw MultiaddrError(.malformed(error.reason), at: error.offset) }
        return step
    }
}

extension Multiaddr: Hashable, Comparable {
    /// Whether both are the same bytes.
    public static func == (left: Multiaddr, right: Multiaddr) -> Bool { left.bytes == right.bytes }

    /// Feeds the bytes to `hasher`.
    public func hash(into hasher: inout Hasher) { hasher.combine(bytes) }

    /// By the binary form, byte by byte.
    public static func < (left: Multiaddr, right: Multiaddr) -> Bool { left.bytes < right.bytes }
}

/// Why bytes or text are not a multiaddr, and where.
public struct MultiaddrError: Error, Hashable, Sendable {
    /// What was wrong.
    public enum Reason: Hashable, Sendable {
        /// No protocol at all.
        case empty
        /// A code that is none of `AddressProtocol`.
        case unknownCode(UInt64)
        /// A name that is none of `AddressProtocol`, cut off after 32 characters.
        case unknownName(String)
        /// Bytes or text that do not divide into protocols and values.
        case malformed(WireError.Reason)
        /// A value that this protocol can't have.
        case value(AddressProtocol, WireError.Reason)
    }

    /// What was wrong.
    public var reason: Reason
    /// How many bytes into the address or its text it was found.
    public var offset: Int

    /// An error with its reason, at `offset`.
    public init(_ reason: Reason, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}

extension MultiaddrError: CustomStringConvertible {
    /// A sentence for a log line.
    public var description: String {
        switch reason {
        case .empty: "an address must name a protocol"
        case .unknownCode(let code): "no known protocol has code \(code), at byte \(offset)"
        case .unknownName(let name): "no known protocol is called \(name.debugDescription), at byte \(offset)"
        case .malformed(let reason): "not an address: \(reason) at byte \(offset)"
        case .value(let step, let reason): "not a value of \(step.name): \(reason) at byte \(offset)"
        }
    }
}
