internal import MartletRuntime

/// A table that holds at most `capacity` entries, of which the oldest go first: a machine.
struct BoundedTable<Key: Hashable, Value> {
    private var values: [Key: (value: Value, number: UInt64)] = [:]
    /// In the order in which they came; those that were removed stand here in vain.
    private var order: [(key: Key, number: UInt64)] = []
    private var first = 0
    private var last: UInt64 = 0
    let capacity: Int

    init(_ capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { values.count }

    subscript(key: Key) -> Value? {
        get { values[key]?.value }
        set {
            guard let newValue else {
                values[key] = nil
                return
            }
            if values[key] != nil {
                values[key]?.value = newValue
                return
            }
            last += 1
            values[key] = (newValue, last)
            order.append((key, last))
            while values.count > capacity || order.count - first > 2 * capacity { dropOldest() }
        }
    }

    private mutating func dropOldest() {
        let (key, number) = order[first]
        first += 1
        if values[key]?.number == number { values[key] = nil }
        if first >= 1024, first * 2 >= order.count {
            order.removeFirst(first)
            first = 0
        }
    }
}

/// A table that holds at most `capacity` entries, of which those go first that are in use for the shortest time, and of
/// these the oldest: a machine. So a flood of entries that are hardly used pushes out itself.
struct LeastUsedTable<Key: Hashable, Value> {
    private struct Entry {
        var value: Value
        var usedUntil: Instant
        var number: UInt64
    }

    private var entries: [Key: Entry] = [:]
    private var last: UInt64 = 0
    let capacity: Int

    init(_ capacity: Int) {
        self.capacity = max(1, capacity)
    }

    var count: Int { entries.count }

    subscript(key: Key) -> Value? { entries[key]?.value }

    /// Puts `value` in place of what `key` has; it matters until `usedUntil`.
    mutating func set(_ key: Key, to value: Value, usedUntil: Instant) {
        last += 1
        entries[key] = Entry(value: value, usedUntil: usedUntil, number: entries[key]?.number ?? last)
        if entries.count > capacity { makeRoom() }
    }

    mutating func remove(_ key: Key) {
        entries[key] = nil
    }

    /// Makes room for a sixteenth at once, so that it is not done each time.
    private mutating func makeRoom() {
        let order = entries.sorted { left, right in
            let (one, other) = (left.value, right.value)
            return one.usedUntil != other.usedUntil ? one.usedUntil < other.usedUntil : one.number < other.number
        }
        for (key, _) in order.prefix(max(entries.count - capacity, capacity / 16)) { entries[key] = nil }
    }
}
