public import MartletRuntime

/// A machine that looks at how much memory a program uses and says when it grows and grows.
///
/// Readings are gathered into windows, of which only the least reading counts: what comes and goes leaves no trace in
/// that. Growth is steady where the least of each of the last windows is above that of the one before, and much where
/// from the first to the last it is more than a share and a number of bytes.
public struct LeakWatch: Sendable {
    /// What is steady and what is much.
    public struct Limits: Sendable, Hashable {
        /// How long a window is.
        public var window = Duration.seconds(600)
        /// How many windows must grow one after another.
        public var windows = 6
        /// How many bytes the growth must be at least.
        public var bytes = 8 << 20
        /// Which share of the first window the growth must be at least.
        public var share = 0.1

        /// The limits as they are by themselves: an hour of growth.
        public init() {}
    }

    /// How much memory was used at some moment.
    public struct Reading: Sendable, Hashable {
        /// Bytes that are in memory.
        public var resident: Int
        /// Bytes that are allocated and not freed; where that is not known, the same.
        public var live: Int

        /// A reading.
        public init(resident: Int, live: Int) {
            self.resident = resident
            self.live = live
        }
    }

    /// Memory grew steadily.
    public struct Growth: Sendable, Hashable {
        /// The least reading of the first of the windows.
        public var from: Reading
        /// The least reading of the last.
        public var to: Reading
        /// How long that took.
        public var over: Duration

        /// How fast the live bytes grow.
        public var bytesPerHour: Int { Int(Double(to.live - from.live) / (over / .seconds(3600))) }
    }

    private let limits: Limits
    private var windows: [Reading] = []
    private var current: Reading?
    private var begun: Instant?
    /// The latest growth that was found, until memory stops growing.
    public private(set) var growth: Growth?

    /// A watch that has seen nothing.
    public init(_ limits: Limits = Limits()) { self.limits = limits }

    /// Takes a reading. Returns a growth when it is found: once, and again only after as many windows.
    public mutating func handle(_ reading: Reading, at now: Instant) -> Growth? {
        guard let begun, let least = current else {
            begun = now
            current = reading
            return nil
        }
        guard now - begun >= limits.window else {
            current = Reading(resident: min(least.resident, reading.resident), live: min(least.live, reading.live))
            return nil
        }
        self.begun = now
        current = reading
        if let last = windows.last, least.live <= last.live {
            windows = []
            growth = nil
        }
        windows.append(least)
        guard windows.count > limits.windows else { return nil }
        defer { windows.removeFirst() }
        let added = least.live - windows[0].live
        guard added >= limits.bytes, Double(added) >= limits.share * Double(windows[0].live) else { return nil }
        let found = Growth(from: windows[0], to: least, over: limits.window * limits.windows)
        growth = found
        windows = [least, least]
        return found
    }
}
