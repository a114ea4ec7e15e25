import MartletRuntime
import MartletWire

/// The items that others have stored here (BEP 44). When it is full, the item farthest from our own id gives way to a
/// closer one.
struct ItemStore {
    private struct Stored {
        var item: MainlineItem
        var end: Instant
        var source: Int
    }

    private let limits: MainlineLimits
    private let hash: SipHash
    private var items: [NodeID: Stored] = [:]
    private var ofSource: [UInt16]

    init(limits: MainlineLimits, hash: SipHash) {
        self.limits = limits
        self.hash = hash
        ofSource = [UInt16](repeating: 0, count: max(1, limits.sourceCounters))
    }

    /// How many there are.
    var count: Int { items.count }

    /// What is stored under `target`.
    func item(_ target: NodeID, at now: Instant) -> MainlineItem? {
        guard let stored = items[target], now < stored.end else { return nil }
        return stored.item
    }

    /// Stores `item`, whose signature has been checked, for `source`. Throws `sequenceMismatch` where `expected` is not the
    /// number of what is there, `sequenceTooLow` where a newer version is, and `server` where there is no room.
    mutating func put(
        _ item: MainlineItem, replacing expected: Int64?, from source: IPAddress, near own: NodeID, at now: Instant
    ) throws(KRPCError) {
        let end = now + limits.itemLifetime
        if let before = self.item(item.target, at: now) {
            if let author = item.author, let known = before.author {
                if let expected, expected != known.sequence { throw .sequenceMismatch }
                guard author.sequence >= known.sequence else { throw .sequenceTooLow }
                if author.sequence == known.sequence, before.value != item.value { throw .sequenceTooLow }
            }
            items[item.target]?.item = item
            items[item.target]?.end = end
            return
        }
        remove(item.target)
        let counter = Int(hash(source.counted) % UInt64(ofSource.count))
        guard Int(ofSource[counter]) < min(limits.itemsPerSource, Int(UInt16.max)) else { throw .server }
        if items.count >= limits.items {
            guard let farthest = items.keys.max(by: { $0.isCloser(to: own, than: $1) }),
                item.target.isCloser(to: own, than: farthest)
            else { throw .server }
            remove(farthest)
        }
        ofSource[counter] += 1
        items[item.target] = Stored(item: item, end: end, source: counter)
    }

    private mutating func remove(_ target: NodeID) {
        guard let stored = items.removeValue(forKey: target) else { return }
        ofSource[stored.source] -= 1
    }

    /// Forgets what has ended.
    mutating func expire(at now: Instant) {
        for target in items.filter({ now >= $0.value.end }).keys { remove(target) }
    }
}
