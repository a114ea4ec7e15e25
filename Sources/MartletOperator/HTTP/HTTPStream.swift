/// An answer that goes on and on: what is written to it waits, within a bound, until the client takes it.
///
/// It belongs to its server's loop.
final class HTTPStream {
    private let capacity: Int
    private var bytes: [UInt8] = []
    private var taken = 0
    private(set) var isEnded = false
    /// Whether the client is gone, or has been cut off.
    private(set) var isClosed = false
    /// Called after something was written or ended, for whoever takes it.
    var onChange: (() -> Void)?
    /// Called once, when the client is gone.
    var onClose: (() -> Void)?

    /// A stream in which at most `capacity` bytes wait.
    init(capacity: Int) { self.capacity = capacity }

    /// How many bytes wait.
    var waiting: Int { bytes.count - taken }

    /// Appends all of `more`, or where there is no room none of it; says which.
    func write(_ more: [UInt8]) -> Bool {
        guard !isClosed, !isEnded, waiting + more.count <= capacity else { return false }
        if taken > 0, taken == bytes.count || taken >= capacity {
            bytes.removeFirst(taken)
            taken = 0
        }
        bytes += more
        onChange?()
        return true
    }

    /// Nothing more is written.
    func end() {
        isEnded = true
        onChange?()
    }

    /// Takes as much as fits into `buffer`.
    func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, waiting)
        bytes.withUnsafeBytes { all in
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: all[taken..<taken + count]))
        }
        taken += count
        return count
    }

    /// The client is gone.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        bytes = []
        taken = 0
        onChange = nil
        let closed = onClose
        onClose = nil
        closed?()
    }
}
