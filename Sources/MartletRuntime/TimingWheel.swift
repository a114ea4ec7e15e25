/// A machine that keeps numbered entries in the order of their deadlines.
///
/// A hierarchical timing wheel over all 64 bits of a nanosecond clock: eleven levels of 64 slots, six bits each. An
/// entry stands at the level of the highest bits in which its deadline differs from the present, so that inserting
/// and removing touch one list and one bitmap, whatever the number of entries; on its way to its deadline an entry
/// moves down at most ten times. Entries with the same deadline come out in the order in which they went in, and
/// none comes out early.
///
/// Insert and remove entries; after the clock has moved, `popExpired(at:)` until it says `nil`, then wake up again
/// at `nextDeadline`. Neither allocates, once there has been room for the entries by `makeEntry`.
public struct TimingWheel: ~Copyable {
    /// The number of an entry, given by `makeEntry` and valid until `dropEntry`.
    public typealias Index = Int32

    private struct Entry {
        var deadline: UInt64 = 0
        var next: Index = none
        var previous: Index = none
        /// The list it stands in, or `none`.
        var slot: Int32 = none
    }

    private struct List {
        var first: Index = none
        var last: Index = none
    }

    private static let none: Int32 = -1
    private static let levels = 11

    private var entries: [Entry] = []
    private var firstFree: Index = none
    private var lists: [List]
    private var occupied: InlineArray<11, UInt64>
    /// The clock, as far as entries have been looked at.
    private var present: UInt64

    /// How many entries are waiting.
    public private(set) var count = 0

    /// A wheel whose clock stands at `now`.
    public init(now: Instant) {
        lists = Array(repeating: List(), count: Self.levels * 64)
        occupied = InlineArray(repeating: 0)
        present = now.nanoseconds
    }

    /// A new entry, which is not waiting.
    public mutating func makeEntry() -> Index {
        guard firstFree != Self.none else {
            entries.append(Entry())
            return Index(entries.count - 1)
        }
        let index = firstFree
        firstFree = entries[Int(index)].next
        entries[Int(index)] = Entry()
        return index
    }

    /// Gives up the entry, which may be waiting.
    public mutating func dropEntry(_ index: Index) {
        remove(index)
        entries[Int(index)].next = firstFree
        firstFree = index
    }

    /// Whether the entry is waiting.
    public func isWaiting(_ index: Index) -> Bool {
        entries[Int(index)].slot != Self.none
    }

    /// The deadline with which the entry was last inserted.
    public func deadline(of index: Index) -> Instant {
        Instant(nanoseconds: entries[Int(index)].deadline)
    }

    /// Makes the entry wait for `deadline`, whatever it waited for before. A deadline in the past is due at once.
    public mutating func insert(_ index: Index, at deadline: Instant) {
        remove(index)
        entries[Int(index)].deadline = deadline.nanoseconds
        link(index)
        count += 1
    }

    /// Makes the entry wait no longer.
    public mutating func remove(_ index: Index) {
        let entry = entries[Int(index)]
        guard entry.slot != Self.none else { return }
        if entry.previous == Self.none {
            lists[Int(entry.slot)].first = entry.next
        } else {
            entries[Int(entry.previous)].next = entry.next
        }
        if entry.next == Self.none {
            lists[Int(entry.slot)].last = entry.previous
        } else {
            entries[Int(entry.next)].previous = entry.previous
        }
        if lists[Int(entry.slot)].first == Self.none {
            occupied[Int(entry.slot) >> 6] &= ~(1 << UInt64(entry.slot & 63))
        }
        entries[Int(index)].slot = Self.none
        count -= 1
    }

    /// The next entry whose deadline is at or before `now`, which stops waiting, or `nil`.
    public mutating func popExpired(at now: Instant) -> Index? {
        let now = max(now.nanoseconds, present)
        while let (slot, start) = firstSlot(), start <= now {
            present = max(present, start)
            if slot < 64 {
                let index = lists[slot].first
                remove(index)
                return index
            }
            spread(slot)
        }
        present = now
        return nil
    }

    /// When to look again: never after the first deadline, and not long before it. `nil` where none waits.
    public var nextDeadline: Instant? {
        guard let (slot, start) = firstSlot() else { return nil }
        guard slot >= 64 else { return Instant(nanoseconds: start) }
        // The slot is a stretch of time; its first deadline is worth finding only while that is quick.
        var earliest = UInt64.max
        var index = lists[slot].first
        for _ in 0..<16 {
            earliest = min(earliest, entries[Int(index)].deadline)
            index = entries[Int(index)].next
            if index == Self.none { return Instant(nanoseconds: earliest) }
        }
        return Instant(nanoseconds: start)
    }

    /// The slot that comes first, and when it begins.
    private func firstSlot() -> (slot: Int, start: UInt64)? {
        guard count > 0 else { return nil }
        for level in 0..<Self.levels where occupied[level] != 0 {
            let bit = occupied[level].trailingZeroBitCount
            let shift = UInt64(6 * level)
            // Above the slot's six bits, a waiting deadline and the present are the same.
            let above = level == Self.levels - 1 ? 0 : (present >> (shift + 6)) << (shift + 6)
            return (level << 6 | bit, above | (UInt64(bit) << shift))
        }
        return nil
    }

    /// Moves the entries of a slot that has begun to the levels below.
    private mutating func spread(_ slot: Int) {
        var index = lists[slot].first
        lists[slot] = List()
        occupied[slot >> 6] &= ~(1 << UInt64(slot & 63))
        while index != Self.none {
            let next = entries[Int(index)].next
            link(index)
            index = next
        }
    }

    /// Puts the entry last in the list where its deadline belongs.
    private mutating func link(_ index: Index) {
        let deadline = max(entries[Int(index)].deadline, present)
        let difference = deadline ^ present
        let level = difference == 0 ? 0 : (63 - difference.leadingZeroBitCount) / 6
        let slot = level << 6 | Int(truncatingIfNeeded: deadline >> UInt64(6 * level)) & 63
        let last = lists[slot].last
        entries[Int(index)].slot = Int32(slot)
        entries[Int(index)].next = Self.none
        entries[Int(index)].previous = last
        if last == Self.none {
            lists[slot].first = index
            occupied[level] |= 1 << UInt64(slot & 63)
        } else {
            entries[Int(last)].next = index
        }
        lists[slot].last = index
    }
}
