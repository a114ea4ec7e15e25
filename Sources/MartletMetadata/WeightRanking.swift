/// Keys by their weights: a machine that always knows the heaviest, however many there are.
///
/// Weights are whole numbers above zero. Of equals, the one that came to its weight last is named first, so the order of no
/// dictionary decides anything.
struct WeightRanking<Key: Hashable & Sendable>: Sendable {
    private struct Node {
        var key: Key
        var weight: Int
        var age: UInt64
    }

    /// A heap with the heaviest on top.
    private var heap: [Node] = []
    private var places: [Key: Int] = [:]
    private var changes: UInt64 = 0

    /// Nothing, which weighs nothing.
    init() {}

    var count: Int { heap.count }

    /// The key with the most weight.
    var heaviest: Key? { heap.first?.key }

    /// The weight of `key`; 0 if it is not there.
    subscript(key: Key) -> Int { places[key].map { heap[$0].weight } ?? 0 }

    /// Adds `weight` to that of `key`, or takes away if it is negative. A key of no weight is not there.
    mutating func add(_ weight: Int, to key: Key) {
        changes += 1
        guard let index = places[key] else {
            guard weight > 0 else { return }
            places[key] = heap.count
            heap.append(Node(key: key, weight: weight, age: changes))
            rise(from: heap.count - 1)
            return
        }
        heap[index].weight += weight
        heap[index].age = changes
        guard heap[index].weight > 0 else { return remove(at: index) }
        sink(from: rise(from: index))
    }

    private mutating func remove(at index: Int) {
        places[heap[index].key] = nil
        let last = heap.removeLast()
        guard index < heap.count else { return }
        heap[index] = last
        places[last.key] = index
        sink(from: rise(from: index))
    }

    private func isHeavier(_ left: Int, than right: Int) -> Bool {
        (heap[left].weight, heap[left].age) > (heap[right].weight, heap[right].age)
    }

    private mutating func exchange(_ left: Int, _ right: Int) {
        heap.swapAt(left, right)
        places[heap[left].key] = left
        places[heap[right].key] = right
    }

    @discardableResult
    private mutating func rise(from start: Int) -> Int {
        var index = start
        while index > 0, isHeavier(index, than: (index - 1) / 2) {
            exchange(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
        return index
    }

    private mutating func sink(from start: Int) {
        var index = start
        while true {
            var largest = index
            for child in (2 * index + 1)...(2 * index + 2) where child < heap.count && isHeavier(child, than: largest) {
                largest = child
            }
            guard largest != index else { return }
            exchange(index, largest)
            index = largest
        }
    }
}
