/// The closest nodes of a table while they are looked for: places and keys, which move cheaper than nodes do.
@usableFromInline
struct Closest<Key: RoutingKey> {
    @usableFromInline typealias Place = (bucket: UInt32, node: UInt32)

    @usableFromInline static var most: Int { 32 }

    @usableFromInline let target: Key
    @usableFromInline let wanted: Int
    @usableFromInline var count = 0
    /// Those before this are closer than all that come.
    @usableFromInline var settled = 0
    @usableFromInline var keys: InlineArray<32, Key>
    @usableFromInline var places = InlineArray<32, Place>(repeating: (0, 0))

    @inlinable
    init(_ target: Key, wanted: Int) {
        self.target = target
        self.wanted = wanted
        keys = InlineArray(repeating: target)
    }

    @inlinable var isFull: Bool { count >= wanted }

    @inlinable
    mutating func settle() { settled = count }

    @inlinable
    mutating func add(_ key: Key, _ place: Place) {
        if isFull {
            guard count > settled, key.isCloser(to: target, than: keys[count - 1]) else { return }
            count -= 1
        }
        var index = count
        while index > settled, key.isCloser(to: target, than: keys[index - 1]) {
            keys[index] = keys[index - 1]
            places[index] = places[index - 1]
            index -= 1
        }
        keys[index] = key
        places[index] = place
        count += 1
    }
}
