public import MartletIdentity
internal import MartletRuntime

/// The peers of a node with what they hold, and who pays when the node is short of memory.
///
/// Whoever holds most pays first: of the peers that hold more than their fair share, those that hold most come down to a
/// common level, by losing the streams that hold most, those that the peer opened before those of this side. A peer within
/// its fair share, an even part of the whole, never loses anything for another. One peer alone holds at most its share,
/// whatever its connections. It lives on the loop.
public final class ResourceTree {
    /// A peer with its connections.
    private final class Branch {
        let scope: ResourceScope
        var connections: [Connection] = []

        init(_ scope: ResourceScope) {
            self.scope = scope
        }
    }

    /// The whole.
    public let node: ResourceScope
    /// Called for each peer that has lost streams, with their number.
    public var onRelief: ((PeerID, Int) -> Void)?
    private var branches: [PeerID: Branch] = [:]
    /// Scopes of peers without a connection, some of whose streams have not been let go of by their users. A peer that comes
    /// back goes on with what it holds.
    private var departed: [PeerID: Departed] = [:]
    private var departedToSweep = 64
    private var timer: LoopTimer?

    private struct Departed {
        weak var scope: ResourceScope?
    }

    private var pause = ReliefPause()

    /// A tree without peers, within `limits`.
    public init(_ limits: ResourceLimits) {
        node = ResourceScope(limits)
    }

    /// Counts `connection`, which from here on draws from the scope of its peer. Returns that scope.
    @discardableResult
    public func add(_ connection: Connection) -> ResourceScope {
        let peer = connection.remotePeer
        let branch = branches[peer] ?? Branch(departed[peer]?.scope ?? node.addPeer())
        branches[peer] = branch
        departed[peer] = nil
        branch.connections.append(connection)
        connection.memory = branch.scope
        connection.onShortage = { [weak self] in self?.relieve() }
        return branch.scope
    }

    /// Counts `connection` no longer.
    public func remove(_ connection: Connection) {
        connection.onShortage = nil
        let peer = connection.remotePeer
        guard let branch = branches[peer] else { return }
        branch.connections.removeAll { $0 === connection }
        guard branch.connections.isEmpty else { return }
        branches[peer] = nil
        guard branch.scope.used > 0 else { return }
        departed[peer] = Departed(scope: branch.scope)
        guard departed.count >= departedToSweep else { return }
        departed = departed.filter { $0.value.scope != nil }
        departedToSweep = max(64, 2 * departed.count)
    }

    /// The scope of `peer`, if it has a connection.
    public func scope(of peer: PeerID) -> ResourceScope? { branches[peer]?.scope }

    /// Returns whether there is memory for one connection more, after those have paid that hold most if there was not.
    public func makeRoom() -> Bool {
        if node.isExhausted { _ = relieveAll() }
        return !node.isExhausted
    }

    // MARK: Who pays

    /// Makes those pay that hold most, since a stream has found that the node or its peer is short.
    private func relieve() {
        if relieveAll() || !isAnyShort {
            pause = ReliefPause()
            return node.reliefIsOver()
        }
        // It is short, and everybody is within bounds: to look again with each frame would help nobody.
        if timer == nil, let loop = branches.values.first?.connections.first?.loop {
            timer = LoopTimer(on: loop, label: "memory") { [node] in node.reliefIsOver() }
        }
        timer?.arm(after: pause.take())
    }

    private var isAnyShort: Bool { node.isShort || branches.values.contains { $0.scope.isShort } }

    /// Returns whether anybody had to pay.
    private func relieveAll() -> Bool {
        var hasPaid = false
        let peers = branches.sorted { $0.key < $1.key }
        for (peer, branch) in peers {
            guard case .all(let excess) = branch.scope.shortfall else { continue }
            hasPaid = take(excess, from: branch, of: peer) || hasPaid
        }
        switch node.shortfall {
        case nil: break
        case .all(let excess): hasPaid = level(peers, excess, floor: node.fairShare) || hasPaid
        case .side(let side, let excess): hasPaid = level(peers, excess, side, floor: node.fairShare) || hasPaid
        }
        return hasPaid
    }

    /// Brings those that hold most down to one level, at least `floor`, so that `excess` is won.
    private func level(
        _ peers: [(key: PeerID, value: Branch)], _ excess: Int, _ side: ResourceSide? = nil, floor: Int
    ) -> Bool {
        let uses = peers.map { side.map($0.value.scope.used) ?? $0.value.scope.used }
        let level = Self.level(of: uses, excess: excess, floor: floor)
        var hasPaid = false
        for (use, (peer, branch)) in zip(uses, peers) where use > level {
            hasPaid = take(use - level, from: branch, of: peer, side) || hasPaid
        }
        return hasPaid
    }

    /// To which level those of `uses` that are above it have to come down so that `excess` is won; at least `floor`, even if
    /// that wins less.
    static func level(of uses: [Int], excess: Int, floor: Int) -> Int {
        var won = 0
        let sorted = uses.filter { $0 > floor }.sorted(by: >)
        for (index, use) in sorted.enumerated() {
            let next = index + 1 < sorted.count ? sorted[index + 1] : floor
            let step = (use - next) * (index + 1)
            if won + step >= excess { return use - (excess - won + index) / (index + 1) }
            won += step
        }
        return floor
    }

    /// Breaks off streams of a peer until they held `amount` bytes, the largest first, those that it has opened before those
    /// of this side. Returns whether any stream was.
    private func take(_ amount: Int, from branch: Branch, of peer: PeerID, _ side: ResourceSide? = nil) -> Bool {
        var streams: [(link: StreamLink, held: Int)] = []
        for connection in branch.connections {
            connection.forEachStream { link in
                let held = link.held
                if held > 0, side == nil || side == link.side { streams.append((link, held)) }
            }
        }
        streams.sort { left, right in
            if left.link.isOutbound != right.link.isOutbound { return right.link.isOutbound }
            return left.held > right.held
        }
        var rest = amount
        var count = 0
        for (link, held) in streams {
            guard rest > 0 else { break }
            link.reset(code: 0, as: .outOfMemory)
            rest -= held
            count += 1
        }
        if count > 0 { onRelief?(peer, count) }
        return count > 0
    }
}

/// How long nobody is made to pay after it has turned out that there is nobody who should: a machine. To look through all
/// peers is work, so each pause is twice as long as the one before, within a bound.
struct ReliefPause {
    private var next = Duration.milliseconds(1)
    private static let longest = Duration.milliseconds(100)

    /// Returns the pause that is due, and lengthens the next.
    mutating func take() -> Duration {
        defer { next = min(next * 2, Self.longest) }
        return next
    }
}
