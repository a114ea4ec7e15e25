/// A queue in a circle of memory that doubles when it is full and never shrinks. An unused one costs no memory.
struct Ring<Element>: ~Copyable {
    private var buffer: UnsafeMutablePointer<Element>?
    private var mask = -1
    private var head = 0
    private var tail = 0

    deinit {
        guard let buffer else { return }
        var index = head
        while index != tail {
            (buffer + (index & mask)).deinitialize(count: 1)
            index &+= 1
        }
        buffer.deallocate()
    }

    var count: Int { tail &- head }

    var isEmpty: Bool { head == tail }

    mutating func append(_ element: consuming Element) {
        if tail &- head > mask { grow() }
        (buffer.unsafelyUnwrapped + (tail & mask)).initialize(to: element)
        tail &+= 1
    }

    mutating func popFirst() -> Element? {
        guard head != tail else { return nil }
        defer { head &+= 1 }
        return (buffer.unsafelyUnwrapped + (head & mask)).move()
    }

    /// The element that is `position` behind the first.
    subscript(position: Int) -> Element {
        get { (buffer.unsafelyUnwrapped + ((head &+ position) & mask)).pointee }
        nonmutating set { (buffer.unsafelyUnwrapped + ((head &+ position) & mask)).pointee = newValue }
    }

    private mutating func grow() {
        let capacity = max(16, 2 * (mask + 1))
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        var moved = 0
        while let element = popFirst() {
            (larger + moved).initialize(to: element)
            moved += 1
        }
        buffer?.deallocate()
        buffer = larger
        mask = capacity - 1
        head = 0
        tail = moved
    }
}
