/// A value that is written as one word of the command line.
protocol ExpressibleByArgument {
    /// The value that `argument` writes, or `nil` where it writes none.
    init?(argument: String)
    /// What help calls such a value: `NUMBER`.
    static var valueName: String { get }
    /// All that may be written, where that is a short list.
    static var allValues: [String] { get }
    /// The value as help shows a default.
    var argumentText: String { get }
}

extension ExpressibleByArgument {
    static var allValues: [String] { [] }
    var argumentText: String { "\(self)" }
}

extension String: ExpressibleByArgument {
    init?(argument: String) { self = argument }
    static var valueName: String { "TEXT" }
}

extension ExpressibleByArgument where Self: FixedWidthInteger {
    init?(argument: String) { self.init(argument, radix: 10) }
    static var valueName: String { "NUMBER" }
}

extension Int: ExpressibleByArgument {}
extension Int64: ExpressibleByArgument {}
extension UInt16: ExpressibleByArgument {}
extension UInt64: ExpressibleByArgument {}

extension Double: ExpressibleByArgument {
    init?(argument: String) {
        guard let value = Double(argument), value.isFinite else { return nil }
        self = value
    }
    static var valueName: String { "NUMBER" }
}

/// A choice: an enumeration of text.
extension ExpressibleByArgument where Self: RawRepresentable<String> & CaseIterable {
    init?(argument: String) { self.init(rawValue: argument) }
    static var valueName: String { allValues.joined(separator: "|") }
    static var allValues: [String] { allCases.map(\.rawValue) }
    var argumentText: String { rawValue }
}

/// A duration: `250ms`, `30s`, `5m`, `2h`, `1d`; a bare number is seconds.
extension Duration: ExpressibleByArgument {
    private static let units: [(suffix: String, nanoseconds: Double)] = [
        ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86400e9),
    ]

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let suffix = argument.dropFirst(digits.count)
        guard let unit = Self.units.first(where: { $0.suffix == (suffix.isEmpty ? "s" : suffix) }),
            let number = Double(digits), number * unit.nanoseconds < 9e18
        else { return nil }
        self = .nanoseconds(Int64(number * unit.nanoseconds))
    }

    static var valueName: String { "DURATION" }

    var argumentText: String {
        let nanoseconds = Double(self / .nanoseconds(1))
        let unit = Self.units.last {
            nanoseconds >= $0.nanoseconds && nanoseconds.remainder(dividingBy: $0.nanoseconds) == 0
        }
        guard let unit else { return "\(nanoseconds / 1e9)s" }
        return "\(Int64(nanoseconds / unit.nanoseconds))\(unit.suffix)"
    }
}
