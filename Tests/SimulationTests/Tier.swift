import Foundation

/// How much is simulated, by the variable `MARTLET_TIER`.
enum Tier: String {
    /// A slice, with every test.
    case test
    /// The full sizes, once.
    case simulate
    /// The full sizes, from one seed after the other, for hours.
    case soak

    /// The tier of this run.
    static let current: Tier = {
        guard let name = ProcessInfo.processInfo.environment["MARTLET_TIER"] else { return .test }
        guard let tier = Tier(rawValue: name) else { preconditionFailure("MARTLET_TIER is no tier: \(name)") }
        return tier
    }()

    /// The seeds from which a test is run in this tier: for `soak`, as many as the variable `MARTLET_SOAK_SEEDS` says. The
    /// variable `MARTLET_SEED` takes the place of them all.
    static var seeds: ClosedRange<UInt64> {
        if let seed = ProcessInfo.processInfo.environment["MARTLET_SEED"].flatMap({ UInt64($0) }) { return seed...seed }
        return switch current {
        case .test: 1...3
        case .simulate: 1...20
        case .soak: 1...(ProcessInfo.processInfo.environment["MARTLET_SOAK_SEEDS"].flatMap { UInt64($0) } ?? 2000)
        }
    }

    /// The one attack that a hostile world is to play, by a part of its name, from the variable `MARTLET_ATTACK`.
    static var attack: String? { ProcessInfo.processInfo.environment["MARTLET_ATTACK"] }

    /// `small` in the first tier, else `full`.
    static func size(_ small: Int, _ full: Int) -> Int { current == .test ? small : full }
}

/// How many bytes of memory this process has in use, as Linux counts them.
func residentBytes() -> Int {
    let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
}
