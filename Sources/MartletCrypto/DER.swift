internal import MartletWire

/// The tags of the few DER values (X.690) that keys and certificates are read from here.
enum DER {
    static let boolean: UInt8 = 0x01
    static let integer: UInt8 = 0x02
    static let bitString: UInt8 = 0x03
    static let octetString: UInt8 = 0x04
    static let objectIdentifier: UInt8 = 0x06
    static let sequence: UInt8 = 0x30

    /// The tag of an explicitly tagged, constructed value.
    static func context(_ number: UInt8) -> UInt8 { 0xA0 | number }
}

extension Reader {
    /// A reader of the contents of the next value, which must have `tag`. Strict: the length is definite and as
    /// short as it can be.
    @_lifetime(copy self)
    mutating func der(_ tag: UInt8) throws(WireError) -> Reader {
        let start = position
        let found = try byte()
        guard found == tag else { throw error(.unexpected(UInt64(found)), at: start) }
        return try reader(try derLength())
    }

    /// The length octets of a DER value. Values of up to 16 MiB are far more than any key needs.
    private mutating func derLength() throws(WireError) -> Int {
        let start = position
        let first = try byte()
        if first < 0x80 { return Int(first) }
        let octets = Int(first & 0x7F)
        guard octets > 0 else { throw error(.unexpected(UInt64(first)), at: start) }
        guard octets <= 3 else { throw error(.tooLarge, at: start) }
        var length = 0
        for _ in 0..<octets { length = length << 8 | Int(try byte()) }
        guard length >= 0x80, length >> (8 * (octets - 1)) != 0 else { throw error(.notMinimal, at: start) }
        return length
    }

    /// The next value, a number that is not negative: its magnitude, most significant byte first, no zero in front.
    @_lifetime(copy self)
    mutating func derUnsigned() throws(WireError) -> Reader {
        var contents = try der(DER.integer)
        guard let first = contents.peek() else { throw contents.error(.truncated) }
        guard first < 0x80 else { throw contents.error(.unexpected(UInt64(first))) }
        if first == 0, contents.remaining > 1 {
            try contents.skip(1)
            // A zero in front is there only to keep the number from being negative.
            guard let second = contents.peek(), second >= 0x80 else { throw contents.error(.notMinimal, at: 0) }
        }
        return contents
    }

    /// A reader of the next value, a string of whole bytes in a BIT STRING.
    @_lifetime(copy self)
    mutating func derBits() throws(WireError) -> Reader {
        var contents = try der(DER.bitString)
        let unused = try contents.byte()
        guard unused == 0 else { throw contents.error(.unexpected(UInt64(unused)), at: 0) }
        return contents
    }

    /// Fails unless the next bytes are `expected`, and passes over them.
    mutating func expect(_ expected: [UInt8]) throws(WireError) {
        for value in expected {
            let at = position
            let found = try byte()
            guard found == value else { throw error(.unexpected(UInt64(found)), at: at) }
        }
    }

    /// Walks over one value and all that is nested in it, and fails where lengths do not agree with each other.
    mutating func skipDER(depth: Int) throws(WireError) {
        guard depth > 0 else { throw error(.tooDeep) }
        let tag = try byte()
        // Tags above 30 take more than one byte; nothing in a certificate has them.
        guard tag & 0x1F != 0x1F else { throw error(.unexpected(UInt64(tag)), at: position - 1) }
        var contents = try reader(try derLength())
        guard tag & 0x20 != 0 else { return }
        while !contents.isAtEnd { try contents.skipDER(depth: depth - 1) }
    }
}
