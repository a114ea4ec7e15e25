public import MartletSwarm

/// How a node looks for peers on its topics, and everything in that which others can make grow.
public struct DiscoveryLimits: Hashable, Sendable {
    /// To how many peers on its topics a node connects by itself. Each topic has an even share of it, and four at least.
    public var target = 32
    /// How many candidates are remembered.
    public var candidates = 4096
    /// How many of them may be bare addresses, which nobody has signed.
    public var addresses = 1024
    /// Of how many addresses it is remembered whose they are.
    public var owners = 16_384
    /// How many are remembered that turned out to be of no use.
    public var useless = 4096
    /// For how long they are left alone.
    public var uselessFor = Duration.seconds(3600)
    /// How many dials are under way at once.
    public var dials = 8
    /// How long one that could not be reached is left alone; twice as long after each further failure. A dial lasts
    /// longer than that at first, so two behind NATs dial each other at the same time, again and again.
    public var retry = Duration.seconds(5)
    /// The longest that this becomes.
    public var longestRetry = Duration.seconds(900)
    /// How often one that was never reached is dialled before it is forgotten.
    public var attempts = 6
    /// The same for one that proved to be on a topic before.
    public var provenAttempts = 24
    /// How many such are remembered of one IPv4 /24 or IPv6 /48; others of it are forgotten as if they had proven nothing.
    public var provenOfNetwork = 128
    /// How long one that closed the connection is left alone.
    public var rest = Duration.seconds(60)
    /// How soon a search in the DHT is repeated at first; twice as late after each.
    public var search = Duration.seconds(1)
    /// The longest that this becomes: less than the half hour for which an announcement lasts.
    public var longestSearch = Duration.seconds(600)
    /// The longest that this becomes while nobody is connected.
    public var longestSearchAlone = Duration.seconds(60)
    /// How often a search comes early because the last neighbour on a topic is gone; later losses wait for their turn.
    public var earlySearches = Rate(burst: 4, perSecond: 1 / 60)
    /// How many told addresses of one candidate are remembered: what a node has on its own few networks, in both families.
    public var addressesPerCandidate = 16
    /// How many bare addresses of one IPv4 /24 or IPv6 /48 are remembered, so that one network does not fill the table.
    public var addressesPerNetwork = 64
    /// How long an address stays a peer's after the peer was connected there last. Addresses change hands.
    public var ownedFor = Duration.seconds(7200)
    /// How often one address is dialled because somebody named it, in the time of `hearsayMemory`. Two behind NATs meet
    /// within the first few dials, and a host that was named in vain is spared the rest.
    public var hearsayDials = 6
    /// At how many addresses that somebody named a candidate is dialled at once; next time at those that were dialled least.
    public var hearsayAddressesAtOnce = 4
    /// How long it is remembered what was dialled because somebody named it.
    public var hearsayMemory = Duration.seconds(3600)
    /// Dials into one IPv4 /24 or IPv6 /48 at addresses that somebody named. The burst is a full set of neighbours in one
    /// network; a thousand nodes that are aimed at one network cost it a hundred packets a second.
    public var networkDials = Rate(burst: 32, perSecond: 0.1)
    /// How often the word of one teller may lead nowhere until no more is dialled on it for a while; one that is right
    /// makes up for one of them. It is what a teller may name of peers that have just left.
    public var tellerFailures = Rate(burst: 16, perSecond: 0.05)
    /// The same for all tellers of one IPv4 /24 or IPv6 /48 together.
    public var tellerNetworkFailures = Rate(burst: 64, perSecond: 0.2)
    /// Of how many addresses, networks and tellers this is remembered, each.
    public var hearsay = 4096
    /// How many peers of the database a node that starts takes for candidates…
    public var remembered = 256
    /// …at most this many of them from one IPv4 /24 or IPv6 /48, unless an operator named them…
    public var rememberedOfNetwork = 16
    /// …and at most this many that never proved to be on a topic…
    public var rememberedStrangers = 32
    /// …at most this many of those from one network.
    public var rememberedStrangersOfNetwork = 2

    /// The defaults.
    public init() {}

    /// With more than this many on its topics, a node begins to close some connections…
    var highMark: Int { max(target + 4, target * 2) }
    /// …until there are this many.
    var lowMark: Int { max(target + 2, target * 3 / 2) }
}
