extension IPAddress: LosslessStringConvertible {
    /// The address that the whole of `text` writes, or `nil`; `init(parsing:)` tells why.
    public init?(_ text: String) {
        do throws(WireError) {
            try self.init(parsing: text)
        } catch {
            return nil
        }
    }

    /// The address that the whole of `text` writes.
    public init(parsing text: String) throws(WireError) {
        try self.init(parsing: text.utf8.span.bytes)
    }

    /// The address that the whole of `text` writes, in UTF-8.
    ///
    /// IPv4 is four decimal octets without leading zeros and nothing else; IPv6 is any form of RFC 4291 §2.2,
    /// without a zone.
    public init(parsing text: RawSpan) throws(WireError) {
        var reader = Reader(text)
        self = try reader.addressText()
        try reader.expectEnd()
    }

    /// The canonical text: `1.2.3.4`, and RFC 5952 for IPv6.
    public var description: String {
        var writer = Writer(capacity: 48)
        writer.text(of: self)
        return writer.asciiText
    }
}

extension Writer {
    /// Appends the canonical text of `address`: `1.2.3.4`, and RFC 5952 for IPv6.
    public mutating func text(of address: IPAddress) {
        guard address.isV6 else { return dotted(UInt32(truncatingIfNeeded: address.low)) }
        if address.unmapped.isV4 {
            utf8("::ffff:")
            return dotted(UInt32(truncatingIfNeeded: address.low))
        }
        let number = address.number
        let zeros = Writer.longestZeros(number)
        var index = 0
        while index < 8 {
            if index == zeros.lowerBound {
                utf8("::")
                index = zeros.upperBound
                continue
            }
            if index > 0, index != zeros.upperBound { byte(UInt8(ascii: ":")) }
            hexadecimal(Writer.group(index, of: number))
            index += 1
        }
    }

    /// Appends `value` in decimal digits.
    public mutating func decimal(_ value: UInt64) {
        if value > 9 { decimal(value / 10) }
        byte(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value % 10))
    }

    /// What has been written, where that is known to be ASCII.
    var asciiText: String {
        span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private mutating func dotted(_ number: UInt32) {
        for shift: UInt32 in [24, 16, 8, 0] {
            if shift < 24 { byte(UInt8(ascii: ".")) }
            decimal(UInt64(number >> shift & 0xFF))
        }
    }

    private mutating func hexadecimal(_ group: UInt16) {
        if group > 15 { hexadecimal(group >> 4) }
        let digit = UInt8(truncatingIfNeeded: group & 15)
        byte(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
    }

    private static func group(_ index: Int, of number: UInt128) -> UInt16 {
        UInt16(truncatingIfNeeded: number >> UInt128(16 * (7 - index)))
    }

    /// The longest run of two or more zero groups, the first of several: what `::` stands for (RFC 5952 §4.2).
    /// Where there is none, a range that no index meets.
    private static func longestZeros(_ number: UInt128) -> Range<Int> {
        var longest = 9..<10
        var length = 1
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, group(end, of: number) == 0 { end += 1 }
            if end - start > length {
                longest = start..<end
                length = end - start
            }
            start = end + 1
        }
        return longest
    }
}

extension Reader {
    /// The decimal number that is written next, at most `maximum` and without leading zeros.
    public mutating func decimal(maximum: UInt64) throws(WireError) -> UInt64 {
        let start = position
        var value: UInt64 = 0
        while let byte = peek(), byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
            guard position == start || value > 0 else { throw error(.notMinimal, at: start) }
            let (product, over) = value.multipliedReportingOverflow(by: 10)
            value = product &+ UInt64(byte & 15)
            guard !over, value >= product, value <= maximum else { throw error(.tooLarge, at: start) }
            try skip(1)
        }
        if position == start { throw unexpected() }
        return value
    }

    /// The address that is written next, as far as it reaches.
    mutating func addressText() throws(WireError) -> IPAddress {
        let start = position
        while let byte = peek(), Reader.hexadecimalDigit(byte) != nil { try skip(1) }
        let isV4 = peek() == UInt8(ascii: ".")
        cursor = start
        return isV4 ? IPAddress(v4: try dotted()) : IPAddress(v6: try groups())
    }

    private mutating func dotted() throws(WireError) -> UInt32 {
        var number: UInt32 = 0
        for index in 0..<4 {
            if index > 0 { try expect(UInt8(ascii: ".")) }
            number = number << 8 | UInt32(truncatingIfNeeded: try decimal(maximum: 255))
        }
        return number
    }

    /// Eight groups of four hexadecimal digits, of which one run may be left out as `::` and the last two
    /// be written as IPv4.
    private mutating func groups() throws(WireError) -> UInt128 {
        let colon = UInt8(ascii: ":")
        var number: UInt128 = 0
        var count = 0
        var gap: Int?
        if peek() == colon {
            try skip(1)
            try expect(colon)
            gap = 0
        }
        // Behind a gap nothing has to follow; behind a single colon a group must.
        var mustFollow = gap == nil
        while mustFollow || peek().flatMap(Reader.hexadecimalDigit) != nil {
            let start = position
            var group = UInt128(try hexadecimalGroup())
            var width = 1
            if peek() == UInt8(ascii: ".") {
                cursor = start
                group = UInt128(try dotted())
                width = 2
            }
            count += width
            guard count <= (gap == nil ? 8 : 7) else { throw error(.tooLarge, at: start) }
            number = number << UInt128(16 * width) | group
            guard width == 1, peek() == colon else { break }
            try skip(1)
            mustFollow = true
            if peek() == colon {
                guard gap == nil, count < 8 else { throw unexpected() }
                gap = count
                try skip(1)
                mustFollow = false
            }
        }
        guard let gap else {
            if count < 8 { throw unexpected() }
            return number
        }
        let behind = UInt128(16 * (count - gap))
        return (number >> behind) << UInt128(16 * (8 - gap)) | number & ~(UInt128.max << behind)
    }

    private mutating func hexadecimalGroup() throws(WireError) -> UInt16 {
        let start = position
        var value: UInt16 = 0
        while let digit = peek().flatMap(Reader.hexadecimalDigit) {
            guard position - start < 4 else { throw error(.tooLarge, at: start) }
            value = value << 4 | UInt16(digit)
            try skip(1)
        }
        if position == start { throw unexpected() }
        return value
    }

    private static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte & 15
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): (byte & 15) + 9
        default: nil
        }
    }

    /// Passes over `byte`, which must be next.
    mutating func expect(_ byte: UInt8) throws(WireError) {
        guard peek() == byte else { throw unexpected() }
        try skip(1)
    }

    /// The error that the next byte, or the end, is not what should stand there.
    func unexpected() -> WireError {
        peek().map { error(.unexpected(UInt64($0))) } ?? error(.truncated)
    }
}
