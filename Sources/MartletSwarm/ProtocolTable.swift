public import MartletTransport

/// Takes a stream that a peer opened, with the name of the protocol that was agreed on. It is called on the loop, and
/// must not hold it: it starts a conversation there, or hands the stream to a task elsewhere.
public typealias StreamHandler = (_ stream: Stream, _ protocol: String) -> Void

/// Who takes streams of which protocol: a machine. Exact names come first, then predicates in the order in which they
/// were added.
struct ProtocolTable {
    struct Entry {
        /// Which handler it is, for its removal.
        var number: UInt64
        /// How many streams of the protocol one peer may have open; `nil` for the swarm's bound.
        var limit: Int?
        var handler: Handler
    }

    /// Takes a stream with the name of its protocol and the connection that carries it.
    typealias Handler = (Stream, String, SwarmConnection) -> Void

    private var exact: [String: Entry] = [:]
    private var predicates: [(matches: (String) -> Bool, entry: Entry)] = []
    private var nextNumber: UInt64 = 0
    /// The exact names, in order.
    private(set) var names: [String] = []

    mutating func add(_ name: String, limit: Int?, _ handler: @escaping Handler) -> UInt64 {
        nextNumber += 1
        exact[name] = Entry(number: nextNumber, limit: limit, handler: handler)
        names = exact.keys.sorted()
        return nextNumber
    }

    mutating func add(
        where matches: @escaping (String) -> Bool, limit: Int?, _ handler: @escaping Handler
    ) -> UInt64 {
        nextNumber += 1
        predicates.append((matches, Entry(number: nextNumber, limit: limit, handler: handler)))
        return nextNumber
    }

    mutating func remove(_ number: UInt64) {
        exact = exact.filter { $0.value.number != number }
        predicates.removeAll { $0.entry.number == number }
        names = exact.keys.sorted()
    }

    subscript(name: String) -> Entry? {
        exact[name] ?? predicates.first { $0.matches(name) }?.entry
    }
}
