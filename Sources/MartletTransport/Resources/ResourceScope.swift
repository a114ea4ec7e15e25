internal import Synchronization

/// What a node may hold for its peers, and which part of it one of them.
public struct ResourceLimits: Hashable, Sendable {
    /// How many bytes the buffers of all connections and streams may hold.
    public var memory: Int
    /// How many streams that the other sides have opened there may be.
    public var inboundStreams = 65_536
    /// How many streams that this side has opened there may be.
    public var outboundStreams = 65_536
    /// The part of each of these that one peer may hold, whatever its connections.
    public var peerShare = 0.25
    /// The part of the memory that the streams of one direction may hold, so that those who come never take what this
    /// side needs for what it opens, nor the other way round.
    public var sideShare = 0.75
    /// A peer that holds no more than this many bytes never loses a stream for what others hold.
    public var leastFairShare = 64 << 10

    /// The defaults, with `memory` bytes.
    public init(memory: Int) {
        self.memory = memory
    }

    /// What one peer may hold.
    var ofPeer: ResourceLimits {
        var limits = self
        limits.memory = max(Int(Double(memory) * peerShare), 1)
        limits.inboundStreams = max(Int(Double(inboundStreams) * peerShare), 1)
        limits.outboundStreams = max(Int(Double(outboundStreams) * peerShare), 1)
        limits.sideShare = 1
        return limits
    }
}

/// Who opened a stream, or who dialled: what the others begin and what this side begins have shares of their own.
public enum ResourceSide: Sendable {
    /// The other side.
    case inbound
    /// This side.
    case outbound
}

/// A node, or a peer of it, as far as it holds memory and streams: a tree, node → peer → connection → stream.
///
/// Those who buffer what a stranger can make grow draw from it and give back, and what they draw is drawn from the node as
/// well. A connection has a `ResourceAccount` for each side, and its streams draw from that. What is drawn is counted even
/// if it goes beyond a limit, since it is there; `ResourceTree` then makes those pay that hold most. May be used from any
/// thread.
public final class ResourceScope: Sendable {
    /// What it may hold.
    public let limits: ResourceLimits
    private let parent: ResourceScope?
    private let inboundMemory = Atomic<Int>(0)
    private let outboundMemory = Atomic<Int>(0)
    private let inboundStreams = Atomic<Int>(0)
    private let outboundStreams = Atomic<Int>(0)
    private let most = Atomic<Int>(0)
    /// How many peers share it.
    private let members = Atomic<Int>(0)
    private let isReliefPlanned = Atomic<Bool>(false)

    /// The scope of a node.
    public init(_ limits: ResourceLimits) {
        self.limits = limits
        parent = nil
    }

    /// The scope of a node that may hold `limit` bytes.
    public convenience init(limit: Int) {
        self.init(ResourceLimits(memory: limit))
    }

    private init(within parent: ResourceScope) {
        limits = parent.limits.ofPeer
        self.parent = parent
        parent.members.add(1, ordering: .relaxed)
    }

    deinit {
        parent?.members.subtract(1, ordering: .relaxed)
    }

    /// Makes a scope for one more peer, which counts among those that share this one as long as it is kept.
    public func addPeer() -> ResourceScope { ResourceScope(within: self) }

    // MARK: What is held

    /// How many bytes there may be.
    public var limit: Int { limits.memory }

    /// How many bytes are held.
    public var used: Int { inboundMemory.load(ordering: .relaxed) + outboundMemory.load(ordering: .relaxed) }

    /// How many bytes were held at most.
    public var peak: Int { most.load(ordering: .relaxed) }

    /// How many bytes are held for streams of one side.
    public func used(_ side: ResourceSide) -> Int { memory(side) { $0.load(ordering: .relaxed) } }

    /// How many streams of one side there are.
    public func streams(_ side: ResourceSide) -> Int { streams(side) { $0.load(ordering: .relaxed) } }

    /// Whether all is used.
    public var isExhausted: Bool { used >= limit }

    /// Whether nearly all is used, of the whole or of what one side may have, here or above. Nothing that is there for
    /// comfort grows any more, and whoever holds most is about to pay.
    public var isShort: Bool { shortfall != nil || parent?.isShort == true }

    /// Whether nothing more should be taken on in this scope's name: it holds nearly all that it may, or the node is short
    /// and it holds more than its fair share.
    public var isTight: Bool {
        guard let parent else { return isShort }
        return shortfall != nil || parent.isShort && used > parent.fairShare
    }

    /// How much each peer may hold for certain: an even part of the whole.
    public var fairShare: Int {
        let even = limit / max(members.load(ordering: .relaxed), 1)
        return min(max(even, limits.leastFairShare), limits.ofPeer.memory)
    }

    /// Whether there may be one more stream of `side`, here and above.
    public func admitsStream(_ side: ResourceSide) -> Bool {
        let most = side == .inbound ? limits.inboundStreams : limits.outboundStreams
        return streams(side) < most && parent?.admitsStream(side) ?? true
    }

    // MARK: Drawing

    /// Counts `bytes` more, or fewer if it is negative, here and above.
    public func draw(_ bytes: Int, _ side: ResourceSide = .inbound) {
        guard bytes != 0 else { return }
        memory(side) { _ = $0.add(bytes, ordering: .relaxed) }
        if bytes > 0 {
            let now = used
            if now > most.load(ordering: .relaxed) { most.max(now, ordering: .relaxed) }
        }
        parent?.draw(bytes, side)
    }

    /// Counts `count` streams more, or fewer if it is negative, here and above.
    func countStreams(_ count: Int, _ side: ResourceSide) {
        streams(side) { _ = $0.add(count, ordering: .relaxed) }
        parent?.countStreams(count, side)
    }

    private func memory<Result>(_ side: ResourceSide, _ body: (borrowing Atomic<Int>) -> Result) -> Result {
        side == .inbound ? body(inboundMemory) : body(outboundMemory)
    }

    private func streams<Result>(_ side: ResourceSide, _ body: (borrowing Atomic<Int>) -> Result) -> Result {
        side == .inbound ? body(inboundStreams) : body(outboundStreams)
    }

    // MARK: When it is short

    /// What exceeds its limit.
    enum Shortfall: Equatable {
        /// Of the streams of one side, by this many bytes.
        case side(ResourceSide, Int)
        /// Of all, by this many bytes.
        case all(Int)
    }

    /// From how much of a limit on there is too much of it, and how much is left once those have paid that hold most.
    private static func highMark(_ limit: Int) -> Int { limit - limit / 16 }
    private static func lowMark(_ limit: Int) -> Int { limit - limit / 8 }

    /// Of what there is too much here, if there is of anything.
    var shortfall: Shortfall? {
        let inbound = inboundMemory.load(ordering: .relaxed)
        let outbound = outboundMemory.load(ordering: .relaxed)
        if inbound + outbound > Self.highMark(limit) { return .all(inbound + outbound - Self.lowMark(limit)) }
        // Both together are within the limit, so at most one is beyond its share.
        let share = limits.sideShare < 1 ? Int(Double(limit) * limits.sideShare) : limit
        if inbound > Self.highMark(share) { return .side(.inbound, inbound - Self.lowMark(share)) }
        if outbound > Self.highMark(share) { return .side(.outbound, outbound - Self.lowMark(share)) }
        return nil
    }

    /// Returns whether somebody should now see to it that those pay that hold most: once until `reliefIsOver`, for all
    /// scopes of a node together.
    func planRelief() -> Bool {
        if let parent { return parent.planRelief() }
        return !isReliefPlanned.load(ordering: .relaxed) && !isReliefPlanned.exchange(true, ordering: .relaxed)
    }

    /// What was planned has been done, or cannot be done by whoever planned it.
    func reliefIsOver() {
        if let parent { return parent.reliefIsOver() }
        isReliefPlanned.store(false, ordering: .relaxed)
    }
}

/// What the streams of one side of a connection hold.
///
/// It draws from the connection's scope in steps, so that a frame costs one atomic addition, and only now and then those of
/// the scopes above. May be used from any thread.
public final class ResourceAccount: Sendable {
    /// In steps of this many bytes it draws from above. It gives back what is more than two of them.
    private static let step = 8 << 10
    /// About how many bytes a stream takes that holds nothing: its two ends here and the muxer's entry.
    private static let stream = 1 << 10

    /// What it draws from.
    public let scope: ResourceScope
    private let side: ResourceSide
    private let held = Atomic<Int>(0)
    private let drawn = Atomic<Int>(0)

    /// An account that draws from `scope`.
    public init(of scope: ResourceScope, _ side: ResourceSide) {
        self.scope = scope
        self.side = side
    }

    deinit {
        scope.draw(-drawn.load(ordering: .relaxed), side)
    }

    /// How many bytes are held.
    public var used: Int { held.load(ordering: .relaxed) }

    /// Counts `bytes` more, or fewer if it is negative.
    public func draw(_ bytes: Int) {
        guard bytes != 0 else { return }
        let now = held.add(bytes, ordering: .relaxed).newValue
        let covered = drawn.load(ordering: .relaxed)
        if now > covered || covered - now >= 2 * Self.step { cover(now) }
    }

    private func cover(_ amount: Int) {
        let wanted = (max(amount, 0) + Self.step - 1) / Self.step * Self.step
        let before = drawn.exchange(wanted, ordering: .relaxed)
        scope.draw(wanted - before, side)
    }

    /// Counts a stream that has begun, with what it takes by itself.
    func begin() {
        scope.countStreams(1, side)
        draw(Self.stream)
    }

    /// Counts a stream no longer.
    func end() {
        scope.countStreams(-1, side)
        draw(-Self.stream)
    }
}
