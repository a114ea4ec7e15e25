private let units: [(suffix: String, nanoseconds: Double)] = [
    ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86400e9),
]

/// The duration that `text` writes, or `nil`: numbers with the units `ms`, `s`, `m`, `h` and `d`, one behind the
/// other as in `1h30m`; a bare number is seconds.
func duration(of text: String) -> Duration? {
    var nanoseconds = 0.0
    var rest = text[...]
    repeat {
        let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        rest = rest.dropFirst(digits.count)
        var suffix = rest.prefix { $0.isASCII && $0.isLetter }
        rest = rest.dropFirst(suffix.count)
        if suffix.isEmpty, digits.count == text.count { suffix = "s" }
        guard digits.count <= 20, let number = Double(digits),
            let unit = units.first(where: { $0.suffix == suffix })
        else { return nil }
        nanoseconds += number * unit.nanoseconds
    } while !rest.isEmpty
    return nanoseconds < 9e18 ? .nanoseconds(Int64(nanoseconds)) : nil
}

/// How a duration is written, in the largest unit that needs no fraction: `15s`, `500ms`, `30d`.
func words(for duration: Duration) -> String {
    let nanoseconds = Double(duration / .nanoseconds(1))
    guard nanoseconds != 0 else { return "0s" }
    let unit = units.last { nanoseconds >= $0.nanoseconds && nanoseconds.remainder(dividingBy: $0.nanoseconds) == 0 }
    guard let unit else { return "\(nanoseconds / 1e9)s" }
    return "\(Int64(nanoseconds / unit.nanoseconds))\(unit.suffix)"
}
