internal import MartletTransport

/// How often something may happen: `burst` times at once, and `perSecond` times in the long run.
public struct Rate: Hashable, Sendable {
    /// How often at once, after a rest.
    public var burst: Int
    /// How often in the long run.
    public var perSecond: Double

    /// A rate with its two numbers, both above zero.
    public init(burst: Int, perSecond: Double) {
        precondition(burst > 0 && perSecond > 0, "a rate allows something")
        self.burst = burst
        self.perSecond = perSecond
    }
}

/// The bounds of a swarm: everything that others can make grow in it.
public struct SwarmLimits: Hashable, Sendable {
    /// Connections in all.
    public var connections = 1024
    /// How many of these are kept for dialling, at most a sixteenth of all: inbound connections never take the last
    /// places, or strangers could keep this node from connecting to anyone.
    public var reservedForDialling = 64
    /// When there are more connections, the least valuable are closed…
    public var highMark = 896
    /// …until only this many are left.
    public var lowMark = 768
    /// How long a connection that this side dialled is left alone before it may be closed for being of little value. An
    /// inbound one has no such time: a stranger would only have to connect again before it is over.
    public var trimGrace = Duration.seconds(20)
    /// Inbound connections that are being made, in all.
    ///
    /// When half of these places are taken, a network may hold no more of them than are left, an address a quarter of that,
    /// and an IPv4 /16 or IPv6 /32 twice as many, so that those who dial and say nothing never take the last ones.
    public var pendingInbound = 256
    /// How many of them may be from addresses that are not proven, as the first packet of QUIC is. Beyond this, and when
    /// the rates of an address are used up, an address must be proven first.
    public var pendingUnproven = 64
    /// Dials under way, in all.
    public var pendingOutbound = 128
    /// Inbound connections that are being made, from one IPv4 address or IPv6 /64 that is proven.
    public var pendingPerAddress = 32
    /// Connections with one peer.
    public var connectionsPerPeer = 4
    /// Inbound connections from one IPv4 address or IPv6 /64, made or being made.
    public var connectionsPerAddress = 64
    /// Inbound connections from one IPv4 /24 or IPv6 /48, made or being made.
    public var connectionsPerNetwork = 256
    /// Inbound connections from one IPv4 /16 or IPv6 /32, made or being made. The holder of such a block has very many of
    /// the smaller networks to come from. Private networks are not counted so.
    public var connectionsPerAllocation = 512
    /// Connections that this side is closing and whose places others may have already. What is queued on them may take a
    /// few seconds to leave, and a peer that takes nothing must keep nobody out meanwhile.
    public var closingConnections = 128
    /// New inbound connections from one IPv4 address or IPv6 /64. They are counted when the address is proven.
    ///
    /// A handshake costs about half a millisecond, so one address can take up half a percent of a core and no more. The
    /// burst lets all that may be connected from it come back at once, as after a restart of this node.
    public var addressRate = Rate(burst: 64, perSecond: 8)
    /// New inbound connections from one IPv4 /24 or IPv6 /48: four times as many as from one address of it, as there may
    /// be four times as many.
    public var networkRate = Rate(burst: 256, perSecond: 32)
    /// New inbound connections from one IPv4 /16 or IPv6 /32: again four times as many.
    public var allocationRate = Rate(burst: 1024, perSecond: 128)
    /// Of how many IP addresses and networks the rates are remembered.
    public var rememberedSources = 16_384

    /// Streams that a peer has open on one connection. The muxers have bounds of their own, which are a little wider.
    public var streamsPerConnection = 448
    /// Streams that a peer has open, on all its connections, of one protocol that sets no bound of its own.
    public var streamsPerProtocolAndPeer = 256
    /// New streams of one peer.
    ///
    /// One busy peer may ask 60,000 small requests a second, each on a stream of its own: what one connection is meant to
    /// carry on one core. A third above that is a flood: opening a stream costs its opener a fraction of what it costs
    /// here, and the loop of a node is everyone's. The burst is what comes at once behind a pause of a fifth of a second.
    public var streamRate = Rate(burst: 16_384, perSecond: 80_000)
    /// Streams of one peer that end before a protocol is agreed on: reset at once, silent, for something unknown here.
    ///
    /// They do no good to anyone and are the cheapest way to keep a node busy. An honest peer probes for a few protocols
    /// when it has connected, and now and then changes its mind; the burst has room for one that does so on every stream
    /// that it may have open. Beyond that the connection is closed.
    public var wastedStreamRate = Rate(burst: 1024, perSecond: 32)
    /// How long a peer may take to say which protocol a stream is for.
    public var negotiationTimeout = Duration.seconds(10)

    /// How long this side waits for a peer that allows it no stream although none is open, until it takes another
    /// connection for its streams.
    public var streamPatience = Duration.seconds(5)

    /// Identify pushes of one peer that are applied. Each may cost the check of a signature, and an honest peer changes
    /// seldom; but some send one for each address that they begin to listen on, over each connection. The newest of those
    /// that come faster waits for its turn.
    public var identifyPushRate = Rate(burst: 16, perSecond: 0.2)
    /// Signed records in identify messages from one IPv4 address or IPv6 /64 that are checked, whichever peers they are of
    /// and however often those connect anew. The burst is for all that may be connected from there.
    public var recordRate = Rate(burst: 64, perSecond: 2)
    /// The same from one IPv4 /24 or IPv6 /48.
    public var recordNetworkRate = Rate(burst: 256, perSecond: 8)
    /// Peers whose last record is remembered when they are gone, so that the same need not be checked again.
    public var rememberedRecords = 1024
    /// What one peer does beyond the rates of protocols like ping and identify push; beyond this rate the peer is
    /// disconnected.
    public var excessRate = Rate(burst: 64, perSecond: 1)

    /// How long a dial may take that says nothing else.
    public var dialTimeout = Duration.seconds(15)
    /// Addresses of one peer that are tried in one dial.
    public var addressesPerDial = 16
    /// Addresses that are tried at the same time in one dial.
    public var dialsAtOnce = 8
    /// Peers whose addresses are remembered. Those of which nothing is known but what they say of themselves are forgotten
    /// first.
    public var rememberedPeers = 8192
    /// Addresses that are remembered of one peer…
    public var addressesPerPeer = 32
    /// …and the bytes that they may have together.
    public var addressBytesPerPeer = 4 << 10
    /// How many of them may be known by the peer's own word alone, and not by a connection or a caller. Whoever names a
    /// victim's addresses as its own can have no more than these dialled.
    public var claimedAddressesPerPeer = 8
    /// How many of those may be in one IPv4 /24 or IPv6 /48: one host over TCP and QUIC.
    public var claimedAddressesPerNetwork = 2
    /// Addresses that failed and are remembered for it.
    public var rememberedFailures = 8192

    /// Bytes in all that the buffers of connections and streams may hold.
    ///
    /// When nearly all is used, the peers that hold most lose their largest streams, until they hold no more than others
    /// or than an even part of the whole. No window grows meanwhile.
    public var memory = 256 << 20
    /// Streams in all that peers have opened.
    public var inboundStreams = 65_536
    /// Streams in all that this node has opened.
    public var outboundStreams = 65_536
    /// The part of the memory and of the streams that one peer may hold, whatever its connections.
    public var shareOfPeer = 0.25
    /// The part of the memory that streams may hold which peers have opened, and the same for those of this node.
    public var shareOfDirection = 0.75
    /// Bytes that every peer may hold whatever the others hold, even if an even part of the whole is less.
    public var leastFairShare = 64 << 10

    /// The bounds of memory and streams as its connections draw from them.
    var resources: ResourceLimits {
        var resources = ResourceLimits(memory: memory)
        resources.inboundStreams = inboundStreams
        resources.outboundStreams = outboundStreams
        resources.peerShare = shareOfPeer
        resources.sideShare = shareOfDirection
        resources.leastFairShare = leastFairShare
        return resources
    }

    /// The defaults.
    public init() {}

    /// How many connections there may be for one more inbound one to be let in.
    var connectionsForInbound: Int { connections - max(0, min(reservedForDialling, connections / 16)) }
}
