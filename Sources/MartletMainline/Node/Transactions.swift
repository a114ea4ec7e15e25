import MartletRuntime
import MartletWire

/// The queries of ours that wait for an answer.
///
/// Their ids are drawn: who does not see our queries cannot answer them.
struct Transactions {
    enum Purpose {
        /// To see whether a node is there.
        case check
        /// A step of a lookup.
        case step(SearchID)
        /// To store what a lookup was for.
        case store(SearchID)
    }

    struct Pending {
        var address: SocketAddress
        var purpose: Purpose
        var sent: Instant
    }

    private var pending: [UInt32: Pending] = [:]
    /// In the order in which they were sent, which is that of their deadlines. Answered ones stay until their time.
    private var order: [(id: UInt32, sent: Instant)] = []
    private var first = 0
    private let patience: Duration

    init(patience: Duration) { self.patience = patience }

    /// How many wait.
    var count: Int { pending.count }

    /// A new one, whose id is drawn.
    mutating func begin(
        _ address: SocketAddress, _ purpose: Purpose, at now: Instant, using generator: inout some RandomNumberGenerator
    ) -> UInt32 {
        var id: UInt32
        repeat { id = generator.next() } while pending[id] != nil
        pending[id] = Pending(address: address, purpose: purpose, sent: now)
        order.append((id, now))
        return id
    }

    /// The query that the answer `transaction` from `source` belongs to, which no longer waits.
    mutating func end(_ transaction: RawSpan, from source: SocketAddress) -> Pending? {
        var reader = Reader(transaction)
        guard transaction.byteCount == 4, let id: UInt32 = try? reader.integer(), let found = pending[id],
            found.address == source
        else { return nil }
        pending[id] = nil
        return found
    }

    /// The next query that has waited long enough, which no longer waits.
    mutating func nextExpired(at now: Instant) -> Pending? {
        while first < order.count {
            let (id, sent) = order[first]
            guard let waiting = pending[id], waiting.sent == sent else {
                first += 1
                continue
            }
            guard now >= sent + patience else { break }
            first += 1
            pending[id] = nil
            return waiting
        }
        if first > 256, first > order.count / 2 || first == order.count {
            order.removeFirst(first)
            first = 0
        }
        return nil
    }

    /// When the oldest has waited long enough. May be said for one that was answered.
    var deadline: Instant? { first < order.count ? order[first].sent + patience : nil }
}

/// What is to be sent and told, in order.
struct Outbox<Element> {
    private var elements: [Element?] = []
    private var first = 0

    var isEmpty: Bool { first == elements.count }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard first < elements.count else { return nil }
        defer { first += 1 }
        let element = elements[first].take()
        if first + 1 == elements.count {
            elements.removeAll(keepingCapacity: true)
            first = -1
        }
        return element
    }
}
