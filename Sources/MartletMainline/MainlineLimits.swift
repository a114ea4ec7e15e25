public import MartletRouting

/// Everything that strangers can make grow in a DHT node, and how far.
public struct MainlineLimits: Hashable, Sendable {
    /// The bounds of the routing tables.
    public var routing = RoutingLimits()
    /// The bounds of each lookup.
    public var lookup = LookupLimits()
    /// How many lookups run at once; further ones wait.
    public var searches = 32
    /// How many lookups wait at the most.
    public var waitingSearches = 256
    /// How many peers one lookup hands out.
    public var peersPerSearch = 10_000

    /// How many queries of ours may wait for an answer.
    public var transactions = 2048
    /// How many queries we send a second, with twice as many at once after a pause.
    public var queriesPerSecond = 100
    /// How many nodes we ping a second only to see whether they are there; eight times as many while few are known.
    public var checksPerSecond = 2

    /// The largest answer, in bytes.
    public var answerSize = 1200
    /// The largest datagram that is looked at, in bytes.
    public var datagramSize = 4096
    /// How many queries of one IPv4 address or IPv6 /64 are answered a second, with twice as many at once after a pause; 0
    /// for all.
    public var answersPerSource = 50
    /// How many bytes a second go to an address that has not proven that it receives them; 0 for any.
    public var unprovenBytesPerSource = 8 << 10
    /// How many bytes a second go to the unproven addresses of one IPv4 /24 or IPv6 /48; 0 for any.
    public var unprovenBytesPerNetwork = 64 << 10
    /// How long an address that has answered us or shown a valid token counts as proven.
    public var provenFor = Duration.seconds(15 * 60)
    /// Over how many counters strangers are spread. Those that share one share its allowance.
    public var sourceCounters = 4096

    /// How many announcements are stored in all.
    public var announcements = 100_000
    /// How many for one infohash.
    public var announcementsPerTopic = 2000
    /// How many from one IPv4 address or IPv6 /64.
    public var announcementsPerSource = 200
    /// How long an announcement lasts.
    public var announcementLifetime = Duration.seconds(30 * 60)
    /// How many items are stored in all.
    public var items = 4000
    /// How many from one IPv4 address or IPv6 /64.
    public var itemsPerSource = 40
    /// How long an item lasts.
    public var itemLifetime = Duration.seconds(2 * 3600)
    /// How many infohashes a sample holds.
    public var sampleSize = 20
    /// How long a sample stays the same.
    public var sampleInterval = Duration.seconds(600)

    /// After how long our own announcements are repeated, give or take a tenth.
    public var announceEvery = Duration.seconds(15 * 60)
    /// After how long our own items are put again, give or take a tenth.
    public var putEvery = Duration.seconds(3600)
    /// How far apart our announcements and items begin that are repeated because the node has joined anew.
    public var repeatSpacing = Duration.milliseconds(250)
    /// How long write tokens are made with the same secret. Each is good for this long at least, and twice at most.
    public var tokenRotation = Duration.seconds(5 * 60)
    /// How long until a failed attempt to join is repeated; twice as long after each further one.
    public var joinRetry = Duration.seconds(5)
    /// The longest that this becomes.
    public var joinRetryMaximum = Duration.seconds(300)
    /// How many addresses of nodes that were saved are tried at once.
    public var savedNodes = 200
    /// How many nodes are kept that others have named in a family in which few are known, until they have been tried.
    public var hearsay = 16
    /// How many of them the nodes of one IPv4 /24 or IPv6 /64 may name.
    public var hearsayPerTeller = 2

    /// The defaults, which suit a node in the public DHT.
    public init() {}
}
