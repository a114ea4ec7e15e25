/// How busy a machine is, with all that runs on it, as its system counts it since it was started.
public struct MachineUse: Hashable, Sendable {
    /// The time that its processors have worked, in a unit of the system's.
    public var working: UInt64
    /// The time that its processors have had, in the same unit.
    public var time: UInt64
    /// Its memory, in bytes.
    public var memory: UInt64
    /// The memory that programs could still have, what files are kept in meanwhile included, in bytes.
    public var availableMemory: UInt64

    /// How busy a machine is, with all its parts.
    public init(working: UInt64, time: UInt64, memory: UInt64, availableMemory: UInt64) {
        self.working = working
        self.time = time
        self.memory = memory
        self.availableMemory = availableMemory
    }

    /// The share of its memory that is used, in thousandths.
    public var memoryShare: Int {
        Self.thousandths(memory - min(memory, availableMemory), of: memory)
    }

    /// The share of its processors' time that was used since `earlier`, in thousandths; 0 if none has passed.
    public func processorShare(since earlier: MachineUse) -> Int {
        guard time > earlier.time else { return 0 }
        return Self.thousandths(working - min(working, earlier.working), of: time - earlier.time)
    }

    private static func thousandths(_ part: UInt64, of whole: UInt64) -> Int {
        guard whole > 0 else { return 0 }
        return Int((Double(min(part, whole)) / Double(whole) * 1000).rounded())
    }

    /// What Linux writes into `/proc/stat` and `/proc/meminfo` (proc_stat(5), proc_meminfo(5)); `nil` if these say
    /// something else.
    init?(stat: String, meminfo: String) {
        guard let line = stat.split(separator: "\n").first, line.hasPrefix("cpu ") else { return nil }
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted among the first two.
        let ticks = line.split(separator: " ").dropFirst().prefix(8).map { UInt64($0) ?? 0 }
        guard ticks.count >= 4 else { return nil }
        let all = ticks.reduce(0, &+)
        let idle = ticks[3] &+ (ticks.count > 4 ? ticks[4] : 0)
        func size(_ name: String) -> UInt64? {
            guard let line = meminfo.split(separator: "\n").first(where: { $0.hasPrefix(name + ":") }) else {
                return nil
            }
            let words = line.split(separator: " ")
            return words.count > 1 ? UInt64(words[1]).map { $0 &* 1024 } : nil
        }
        guard all >= idle, let memory = size("MemTotal"), let available = size("MemAvailable"), memory > 0 else {
            return nil
        }
        self.init(working: all - idle, time: all, memory: memory, availableMemory: available)
    }
}
