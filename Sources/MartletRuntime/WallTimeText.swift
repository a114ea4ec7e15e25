internal import MartletWire

extension WallTime: CustomStringConvertible {
    /// The time in UTC to the microsecond, as RFC 3339 writes it: `2026-11-20T09:05:51.123456Z`.
    public var description: String {
        var writer = Writer(capacity: 28)
        writer.text(of: self)
        return writer.span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}

extension Writer {
    /// Appends `time` in UTC to the microsecond, as RFC 3339 writes it: 27 bytes.
    mutating func text(of time: WallTime) {
        let (day, ofDay) = time.nanoseconds.floored(by: 86_400_000_000_000)
        let date = Self.date(day: day)
        padded(date.year, width: 4)
        byte(UInt8(ascii: "-"))
        padded(date.month, width: 2)
        byte(UInt8(ascii: "-"))
        padded(date.day, width: 2)
        byte(UInt8(ascii: "T"))
        padded(ofDay / 3_600_000_000_000, width: 2)
        byte(UInt8(ascii: ":"))
        padded(ofDay / 60_000_000_000 % 60, width: 2)
        byte(UInt8(ascii: ":"))
        padded(ofDay / 1_000_000_000 % 60, width: 2)
        byte(UInt8(ascii: "."))
        padded(ofDay / 1000 % 1_000_000, width: 6)
        byte(UInt8(ascii: "Z"))
    }

    /// The date in the Gregorian calendar, `day` days after the first of 1970.
    ///
    /// Years are counted from March, so that the day that some years have more comes last; the calendar then repeats
    /// itself every 400 years, which are 146,097 days.
    private static func date(day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        // From 1 March of the year 0 to the first of 1970.
        let (era, ofEra) = (day + 719_468).floored(by: 146_097)
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        // Five months from March on have 153 days, and so have the next five.
        let month = (5 * ofYear + 2) / 153
        let isNextYear = month >= 10
        return (
            year: era * 400 + year + (isNextYear ? 1 : 0),
            month: month + (isNextYear ? -9 : 3),
            day: ofYear - (153 * month + 2) / 5 + 1
        )
    }

    private mutating func padded(_ value: Int64, width: Int) {
        var unit: Int64 = 1
        for _ in 1..<width { unit *= 10 }
        while unit > 0 {
            byte(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / unit % 10))
            unit /= 10
        }
    }
}

extension Int64 {
    /// Quotient and remainder of which the second is never negative.
    fileprivate func floored(by divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
