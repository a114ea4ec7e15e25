public import MartletSwarm

/// How the metadata service behaves.
public struct MetadataConfiguration: Sendable {
    /// How long the other side may take to say hello, and to answer.
    public var timeout = Duration.seconds(10)
    /// How often what is known is compared with a neighbour.
    public var comparing = Duration.seconds(10)
    /// How long a neighbour with which a comparison led to nothing new is left alone at most. It begins with one pause and
    /// doubles; anything new ends it.
    public var longestComparing = Duration.seconds(160)
    /// How long others wait with what they ask while one neighbour has not answered. One at a time is asked, so that no
    /// record comes twice.
    public var asking = Duration.seconds(1)
    /// How many records that a neighbour sent in vain are remembered, so that it is not asked for them again.
    public var declined = 1024
    /// How often the own record is made anew, so that it does not expire.
    public var refreshing = Duration.seconds(1800)
    /// How long changes of the own record are collected before it is signed and pushed.
    public var collecting = Duration.milliseconds(100)
    /// To how many neighbours a record that is news is passed on at once.
    public var fanOut = 4
    /// How many bytes of news are passed on; the rest waits for the comparison.
    public var news = Rate(burst: 64 << 10, perSecond: 4096)
    /// Records that are news, from all neighbours in one IPv4 /24 or IPv6 /48: each costs the check of a signature. The burst
    /// is a large network met at once; ten thousand nodes renew five records a second.
    public var records = Rate(burst: 4096, perSecond: 32)
    /// How often a neighbour may ask or tell; what is more is refused.
    public var requests = Rate(burst: 200, perSecond: 50)
    /// How many bytes may wait for one neighbour, besides what its stream has queued already: two full answers. A push
    /// that does not fit is left to the next comparison.
    public var outbox = 128 << 10
    /// How long a message may wait until the stream has room for it. A neighbour that reads nothing for that long is
    /// dropped, so what it made this node keep is given back.
    public var writing = Duration.seconds(20)
    /// How many conversations there may be.
    public var sessions = 512
    /// What the book of records holds.
    public var book = MetadataBook.Limits()

    /// The defaults.
    public init() {}
}
