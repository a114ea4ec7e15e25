/// What measures the program that it is part of: gperftools, in the command. A room that serves profiles is given it.
///
/// All of it may be called from any thread.
public struct Profiling: Sendable {
    /// About how many bytes stand between two samples of the heap. 512 KiB cost an allocating program 6 % of its speed.
    public static let sampleBytes = 512 << 10

    /// The sampled heap in gperftools' text.
    public var heap: @Sendable () -> [UInt8]
    /// From now on one allocation about every so many bytes is sampled. Early, for threads that have allocated before
    /// take long to notice.
    public var sampleEvery: @Sendable (_ bytes: Int) -> Void
    /// Begins to take a profile of the processor's time; says whether it could.
    public var begin: @Sendable () -> Bool
    /// Ends that profile, and gives it in gperftools' binary format.
    public var end: @Sendable () -> [UInt8]
    /// How many bytes the program has allocated and not freed.
    public var liveBytes: @Sendable () -> Int
    /// A symbol's name as it is written in its language, or `nil` where it is written just so.
    public var demangled: @Sendable (_ name: String) -> String?

    /// All parts.
    public init(
        heap: @escaping @Sendable () -> [UInt8], sampleEvery: @escaping @Sendable (_ bytes: Int) -> Void,
        begin: @escaping @Sendable () -> Bool, end: @escaping @Sendable () -> [UInt8],
        liveBytes: @escaping @Sendable () -> Int, demangled: @escaping @Sendable (_ name: String) -> String?
    ) {
        self.heap = heap
        self.sampleEvery = sampleEvery
        self.begin = begin
        self.end = end
        self.liveBytes = liveBytes
        self.demangled = demangled
    }
}

/// Samples as a profiler took them: how often a stack was seen, and with what numbers.
struct StackSamples {
    /// A kind of number: `inuse_space` in `bytes`.
    struct Kind: Hashable {
        var name: String
        var unit: String
    }

    /// A stack and its numbers.
    struct Sample: Hashable {
        /// Where the program was, the innermost first.
        var addresses: [UInt64]
        /// A number for each kind.
        var values: [Int64]
    }

    /// What is counted.
    var kinds: [Kind]
    /// What stands between two samples, and how much of it.
    var period: (kind: Kind, amount: Int64)
    /// Whether the innermost address is one that is returned to, as all others are.
    var isInnermostReturn: Bool
    /// Functions, as a regular expression, that are left out with all that they call: those that only allocate.
    var hiddenFrames = ""
    /// The samples.
    var samples: [Sample] = []

    /// The address by which the `index`th frame of `addresses` is looked up: within the call, not behind it.
    func place(_ index: Int, of addresses: [UInt64]) -> UInt64 {
        index == 0 && !isInnermostReturn ? addresses[index] : addresses[index] &- 1
    }
}

/// Why a profiler's output can't be read.
struct ProfileError: Error, Hashable {
    var message: String
}
