internal import MartletIdentity
internal import MartletRuntime

/// Which addresses are left alone because dialling them failed, and until when: a machine.
///
/// The pause doubles with each failure in a row, from 5 seconds to 5 minutes, and ends with a success. At most so many
/// addresses are remembered; when there are more, those whose pause ends first are forgotten.
struct DialBackoff: Sendable {
    static let first = Duration.seconds(5)
    static let longest = Duration.seconds(300)

    private struct Failure {
        var until: Instant
        var count: Int
    }

    private let capacity: Int
    private var failures: [Multiaddr: Failure] = [:]

    init(remembering capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { failures.count }

    /// When `address` may be dialled again, or `nil` where it may be now.
    func pause(of address: Multiaddr, at now: Instant) -> Instant? {
        guard let failure = failures[address], failure.until > now else { return nil }
        return failure.until
    }

    mutating func failed(_ address: Multiaddr, at now: Instant) {
        if failures[address] == nil, failures.count >= capacity { makeRoom() }
        var failure = failures[address] ?? Failure(until: now, count: 0)
        let pause = min(Self.longest, Self.first * (1 << min(failure.count, 6)))
        failure.count += 1
        failure.until = now + pause
        failures[address.compacted()] = failure
    }

    mutating func succeeded(_ address: Multiaddr) {
        failures[address] = nil
    }

    /// Forgets a quarter of them, so that this is done seldom.
    private mutating func makeRoom() {
        let oldest = failures.sorted { ($0.value.until, $0.key) < ($1.value.until, $1.key) }
        for (address, _) in oldest.prefix(max(1, capacity / 4)) { failures[address] = nil }
    }
}
