import MartletRuntime

/// Faults drawn from a seed: first which kinds there are at all in this run, then when, where, how badly and how long.
///
/// A run that has every fault finds less than many runs that have a few each: where hosts die all the time, nothing
/// lives long enough to meet the rarer troubles (swarm testing). All faults begin and end within `duration`, and
/// after it everything is as good as before. So a test has two phases: run for `duration` and check that nothing
/// wrong happens, then run on and check that what should happen does.
public struct FaultSchedule: Sendable {
    /// A way in which something goes wrong.
    public enum Kind: String, Hashable, CaseIterable, Sendable {
        /// A host's line loses packets.
        case loss
        /// A host's line doubles packets.
        case duplication
        /// A host's line lets packets overtake each other.
        case reordering
        /// A host's line becomes slow and uneven.
        case delay
        /// A host's line carries little.
        case congestion
        /// Some hosts don't reach the others.
        case partition
        /// Some hosts don't reach the others, but these reach them.
        case oneWayPartition
        /// A host stands still.
        case pause
        /// A host is off for a while.
        case crash
        /// A host is off for a moment.
        case restart
        /// A gateway forgets its mappings.
        case gatewayRestart
        /// A host's disk fails to write.
        case diskFailure
        /// A host's calendar clock jumps.
        case clockJump
        /// Nobody answers for names.
        case silentNames
    }

    /// One fault.
    public struct Fault: Sendable {
        /// What goes wrong.
        public var kind: Kind
        /// To which hosts, by number; or to which network, or to none in particular.
        public var targets: [Int]
        /// When, counted from the moment at which the schedule is applied.
        public var begins: Duration
        /// For how long.
        public var lasts: Duration
        /// How badly, from 0 to 1.
        public var strength: Double
    }

    /// The kinds of fault that this run has.
    public let kinds: [Kind]
    /// The faults, in the order in which they begin.
    public let faults: [Fault]
    /// How long there are faults.
    public let duration: Duration

    /// Draws faults for a world of `hosts` hosts and `networks` networks, about `count` of them. Each of `kinds` is
    /// there or not with the same chance.
    public init(
        hosts: Int, networks: Int = 0, duration: Duration, count: Int = 20,
        from candidates: [Kind] = Kind.allCases, using random: inout SeededRandom
    ) {
        precondition(hosts > 0 && count >= 0 && duration > .zero, "there is nothing that faults could be drawn for")
        self.duration = duration
        kinds = candidates.filter { _ in random.chance(0.5) }
        var faults: [Fault] = []
        for _ in 0..<(kinds.isEmpty ? 0 : count) {
            let kind = kinds[Int.random(in: kinds.indices, using: &random)]
            let begins = random.duration(upTo: duration)
            let lasts = random.duration(upTo: min(duration - begins, duration / 4))
            let targets: [Int]
            switch kind {
            case .silentNames: targets = []
            case .gatewayRestart:
                guard networks > 0 else { continue }
                targets = [Int.random(in: 0..<networks, using: &random)]
            case .partition, .oneWayPartition:
                let share = random.fraction()
                targets = (0..<hosts).filter { _ in random.chance(share) }
            default: targets = [Int.random(in: 0..<hosts, using: &random)]
            }
            faults.append(
                Fault(kind: kind, targets: targets, begins: begins, lasts: lasts, strength: random.fraction()))
        }
        // Drawn at the same instant or not, equal times keep the order in which they were drawn.
        self.faults = faults.enumerated().sorted { ($0.element.begins, $0.offset) < ($1.element.begins, $1.offset) }
            .map(\.element)
    }
}

extension FaultSchedule: CustomStringConvertible {
    /// The kinds in a line, and each fault in one of its own.
    public var description: String {
        let names = kinds.isEmpty ? "none" : kinds.map(\.rawValue).joined(separator: ", ")
        let lines = faults.map { fault in
            let targets =
                fault.targets.isEmpty ? "" : " of " + fault.targets.map { String($0) }.joined(separator: ", ")
            let strength = Int(fault.strength * 100)
            return "  \(fault.begins) for \(fault.lasts): \(fault.kind.rawValue)\(targets) (\(strength) %)"
        }
        return (["faults for \(duration): \(names)"] + lines).joined(separator: "\n")
    }
}

extension World {
    /// Draws a schedule of faults for the hosts and networks that there are now.
    public func drawFaults(
        for duration: Duration, count: Int = 20, from candidates: [FaultSchedule.Kind] = FaultSchedule.Kind.allCases
    ) -> FaultSchedule {
        FaultSchedule(
            hosts: hosts.count, networks: networks.count, duration: duration, count: count, from: candidates,
            using: &random)
    }

    /// Makes the faults of `schedule` happen from now on, and end by the time that its duration has passed.
    public func apply(_ schedule: FaultSchedule) {
        let begun = now
        for fault in schedule.faults {
            at(begun + fault.begins) { [weak self] in self?.begin(fault, until: begun + fault.begins + fault.lasts) }
        }
    }

    private func begin(_ fault: FaultSchedule.Fault, until ends: Instant) {
        let host = fault.targets.first.map { hosts[$0] }
        switch fault.kind {
        case .loss, .duplication, .reordering, .delay, .congestion:
            guard let host else { return }
            worsen(host, fault, until: ends)
        case .partition, .oneWayPartition:
            let some = Set(fault.targets)
            let partition = separate(
                hosts.filter { some.contains($0.number) }, from: hosts.filter { !some.contains($0.number) },
                oneWay: fault.kind == .oneWayPartition)
            at(ends) { [weak self] in self?.heal(partition) }
        case .pause:
            host?.pause()
            at(ends) { host?.resume() }
        case .crash:
            host?.kill()
            at(ends) { if host?.state == .down { host?.restart() } }
        case .restart:
            host?.restart()
        case .gatewayRestart:
            networks[fault.targets[0]].gateway?.restart()
        case .diskFailure:
            host?.disk.writeFailure = fault.strength < 0.5 ? .full : .system(5, "the disk fails")
            at(ends) { host?.disk.writeFailure = nil }
        case .clockJump:
            let jump = Duration.seconds((fault.strength - 0.5) * 86_400 * 365)
            host?.wallClockOffset += jump
            at(ends) { host?.wallClockOffset -= jump }
        case .silentNames:
            names.isSilent = true
            at(ends) { [weak self] in self?.names.isSilent = false }
        }
    }

    /// Makes a host's line worse for a while. Faults of one line add up, and the line is as it was after the last.
    private func worsen(_ host: Host, _ fault: FaultSchedule.Fault, until ends: Instant) {
        var trouble = host.trouble ?? LineTrouble(up: host.upLine, down: host.downLine)
        let number = trouble.add(fault)
        show(trouble, on: host)
        at(ends) { [weak self] in
            guard var trouble = host.trouble else { return }
            trouble.remove(number)
            self?.show(trouble, on: host)
        }
    }

    private func show(_ trouble: LineTrouble, on host: Host) {
        host.upLine = trouble.worsened(trouble.up)
        host.downLine = trouble.worsened(trouble.down)
        host.trouble = trouble.isOver ? nil : trouble
    }
}

/// What a host's line is like without its faults, and which faults it has.
struct LineTrouble {
    let up: LinkConditions
    let down: LinkConditions
    private var faults: [(number: Int, fault: FaultSchedule.Fault)] = []
    private var last = 0

    init(up: LinkConditions, down: LinkConditions) {
        self.up = up
        self.down = down
    }

    var isOver: Bool { faults.isEmpty }

    mutating func add(_ fault: FaultSchedule.Fault) -> Int {
        last += 1
        faults.append((last, fault))
        return last
    }

    mutating func remove(_ number: Int) { faults.removeAll { $0.number == number } }

    func worsened(_ conditions: LinkConditions) -> LinkConditions {
        var bad = conditions
        for (_, fault) in faults {
            switch fault.kind {
            case .loss: bad.loss = max(bad.loss, fault.strength)
            case .duplication: bad.duplication = max(bad.duplication, fault.strength / 2)
            case .reordering: bad.reordering = max(bad.reordering, fault.strength)
            case .delay:
                bad.latency += .seconds(fault.strength)
                bad.jitter += .seconds(fault.strength / 2)
            default: bad.rate = min(bad.rate ?? .max, 20_000 + Int(fault.strength * 1_000_000))
            }
        }
        return bad
    }
}
