/// What a store may grow to, when what is old goes, and how it batches. Everything of a stranger ends at one of these.
public struct StoreLimits: Hashable, Sendable {
    /// The most peers. Beyond them, those go first that are on no topic of this node, then those that only a record says
    /// are on one, then those that were never connected, then those with the lowest score, then those not heard of for
    /// the longest.
    public var peers = 20_000
    /// The most peers of one IPv4 /24 or IPv6 /48 that are on no topic of this node and that no operator named. Beyond
    /// them, those go that were not heard of for the longest.
    public var strangersOfNetwork = 16
    /// The most peers of one IPv4 /24 or IPv6 /48 that are on a topic of this node and that no operator named. Beyond
    /// them, those go that only a record says are on one, then those with the lowest score.
    public var membersOfNetwork = 256
    /// The most peers that are kept however old they get. Beyond them, those not heard of for the longest are kept no
    /// longer.
    public var kept = 1024
    /// The most addresses of a peer. Beyond them, those go that failed most.
    public var addresses = 32
    /// The most bytes of an address, in its binary form. Longer ones are refused.
    public var addressSize = 512
    /// The most bytes of the database's file, in what of it is used. Beyond them, peers go in the same order, until a
    /// tenth of it is free. While a batch is written the file may be larger by `fileSlack`.
    public var fileSize = 128 << 20
    /// By how much the file may pass `fileSize` at all: more than a batch can fill.
    var fileSlack: Int { waitingBytes * 2 }
    /// The most bytes of the database while it is held in memory, since the disk is full or fails. Of a larger file no
    /// copy is made: it is read as it is, and what is recorded waits.
    public var memorySize = 32 << 20
    /// How many of a peer's metadata records are kept, by sequence.
    public var records = 4
    /// The most bytes of a metadata record. Larger ones are refused.
    public var recordSize = 16 << 10
    /// The most bytes of a name, a version, a type, a capability and the like. Longer ones are cut.
    public var textSize = 128
    /// The most bytes of a service's description. Longer ones are cut.
    public var descriptionSize = 512
    /// The most capabilities, and topics, and services, of a record. More are left out.
    public var entries = 64
    /// The most evidence about one peer, or about this node. Beyond it, the oldest goes.
    public var evidence = 256
    /// The most evidence of one witness about one peer.
    public var evidenceOfWitness = 8
    /// The most judgements of a peer that are kept apart, by their reason.
    public var judgements = 16

    /// A peer that was connected once is forgotten when it was not heard of for so long.
    public var peerAge = Duration.seconds(30 * 86_400)
    /// A peer that was never connected is forgotten when it was not heard of for so long.
    public var strangerAge = Duration.seconds(7 * 86_400)
    /// That a peer is on a topic is forgotten when neither a record nor a proof said so for this long.
    public var memberAge = Duration.seconds(30 * 86_400)
    /// An address is forgotten when nobody named it and nothing was reached there for so long.
    public var addressAge = Duration.seconds(14 * 86_400)
    /// An address that failed `failuresInRow` times is forgotten when nothing was reached there for so long.
    public var failingAddressAge = Duration.seconds(3 * 86_400)
    /// See `failingAddressAge`.
    public var failuresInRow = 10
    /// Evidence is forgotten when it was not given again for so long.
    public var evidenceAge = Duration.seconds(7 * 86_400)
    /// A judgement is forgotten after so long.
    public var judgementAge = Duration.seconds(7 * 86_400)
    /// Quality by the hour is made into quality by the day after so long.
    public var hourlyQualityAge = Duration.seconds(7 * 86_400)
    /// Quality by the day is forgotten after so long.
    public var dailyQualityAge = Duration.seconds(90 * 86_400)

    /// A change is written at the latest so long after it was recorded.
    public var writeInterval = Duration.milliseconds(250)
    /// So many changes are written together; where so many wait, they are written at once.
    public var batch = 1000
    /// The most changes that wait to be written; beyond them, the oldest are lost.
    public var waiting = 65_536
    /// The most bytes of changes that wait to be written.
    public var waitingBytes = 16 << 20
    /// How soon a failing disk is tried again; each failure doubles it.
    public var retryInterval = Duration.seconds(1)
    /// The longest between two tries.
    public var longestRetryInterval = Duration.seconds(30)
    /// How many connections for reading stay open.
    public var readers = 4
    /// The most damaged files that are kept aside; beyond them, the oldest is removed.
    public var filesAside = 3
    /// On files that are on no disk of this machine, which are written as a whole: at most so often.
    public var imageInterval = Duration.seconds(5)
    /// The largest such file that is read.
    public var imageSize = 256 << 20

    /// The limits that a node has by default.
    public init() {}

    /// The same limits for a database that is held in memory for want of a disk.
    var inMemory: StoreLimits {
        var limits = self
        limits.fileSize = min(fileSize, memorySize)
        return limits
    }
}
