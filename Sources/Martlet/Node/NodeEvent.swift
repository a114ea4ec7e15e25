public import MartletIdentity
public import MartletMetadata
public import MartletRuntime
public import MartletStore
public import MartletWire

/// Something that happened to a node.
public enum NodeEvent: Hashable, Sendable {
    /// It accepts connections there.
    case listening(Multiaddr)
    /// It no longer accepts connections there.
    case stoppedListening(Multiaddr)
    /// A peer is connected that was not.
    case connected(NodePeer.Link, PeerID)
    /// A peer is no longer connected, for the reason in a few words.
    case disconnected(PeerID, reason: String)
    /// A peer that is connected has proven to be on the topic.
    case joined(PeerID, topic: String)
    /// The conversation with a peer that was on the topic is over.
    case left(PeerID, topic: String)
    /// A peer has said something new of itself.
    case updated(PeerID, name: String, sequence: UInt64)
    /// A peer has sent a message on the topic.
    case message(PeerID, topic: String, Bytes)
    /// What is known of whether this node can be reached has changed.
    case typeChanged(NodeMetadata.NodeType)
    /// A peer or a node of the DHT sees this node there.
    case observedAddress(Multiaddr, by: String)
    /// Something about the DHT, in a sentence.
    case dht(String)
    /// Something happened to the peer database.
    case store(StoreEvent)
    /// Something that may need attention, in a sentence.
    case warning(String)
    /// So many events were not taken in time, and are lost. It stands where they would have stood.
    case missed(Int)
}

extension NodeEvent {
    /// How many bytes it holds that somebody else chose.
    var size: Int { if case .message(_, _, let bytes) = self { bytes.count } else { 0 } }
}

/// What happens to a node, in order, for one reader: `for await event in node.events`.
///
/// Beyond 4,096 events or 4 MiB of messages the oldest are dropped, and `NodeEvent.missed` tells how many. It ends when
/// the node has stopped.
public typealias NodeEvents = EventQueue<NodeEvent>

/// The readers of a node's events.
final class NodeEventReaders: Sendable {
    private struct Reader {
        weak var events: NodeEvents?
    }

    private struct State {
        var readers: [Reader] = []
        var isOver = false
    }

    private static let capacity = 4096
    private static let bytes = 4 << 20

    private let state = Lock(State())

    /// One reader more, who hears of what happens from now on, as long as it is kept.
    func add() -> NodeEvents {
        let events = NodeEvents(capacity: Self.capacity, bytes: Self.bytes) { .missed($0) }
        let isOver = state.withLock { state in
            state.readers.removeAll { $0.events == nil }
            state.readers.append(Reader(events: events))
            return state.isOver
        }
        if isOver { events.finish() }
        return events
    }

    func tell(_ event: NodeEvent) {
        for reader in state.withLock({ $0.readers }) { reader.events?.append(event, size: event.size) }
    }

    func finish() {
        let readers = state.withLock { state in
            state.isOver = true
            return state.readers
        }
        for reader in readers { reader.events?.finish() }
    }
}
