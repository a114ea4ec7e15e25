internal import MartletRuntime

/// What a writer is to do, with the time at which it was asked for, in seconds since 1970.
struct Work: Sendable {
    enum Kind: Sendable {
        case change(PeerChange)
        case prune
    }

    var kind: Kind
    var time: Int64
}

/// Changes on their way to the disk, numbered in the order in which they were recorded.
///
/// It is a machine: bounded by number and by bytes, and what finds no room pushes out the oldest.
struct ChangeQueue {
    private struct Entry {
        var work: Work
        var size: Int
    }

    private var entries: [Entry] = []
    /// How many at the front of `entries` are gone.
    private var gone = 0
    private var bytes = 0
    /// The number of the first one that waits.
    private(set) var start = 0

    /// The number that the next one will have.
    var end: Int { start + count }
    var count: Int { entries.count - gone }

    /// Appends `work`. Returns how many were pushed out.
    mutating func append(_ work: Work, size: Int, limits: StoreLimits) -> Int {
        entries.append(Entry(work: work, size: size))
        bytes += size
        var lost = 0
        while count > 1, count > limits.waiting || bytes > limits.waitingBytes {
            remove(below: start + 1)
            lost += 1
        }
        return lost
    }

    /// At most `most` from `number` on.
    func batch(from number: Int, most: Int) -> [Work] {
        let first = gone + max(0, number - start)
        return entries[min(first, entries.count)..<min(first + most, entries.count)].map(\.work)
    }

    /// Forgets those with a number below `number`.
    mutating func remove(below number: Int) {
        let removed = max(0, min(number - start, count))
        for index in gone..<gone + removed { bytes -= entries[index].size }
        gone += removed
        start += removed
        // Moving the rest costs as much as what was removed, at most.
        if gone > entries.count / 2 {
            entries.removeFirst(gone)
            gone = 0
        }
    }
}
