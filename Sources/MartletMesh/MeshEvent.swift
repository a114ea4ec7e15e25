public import MartletRuntime
public import MartletWire

/// A peer of a mesh.
public struct MeshPeer: Hashable, Sendable {
    /// What programs call it: `peer-8001`. Peers on different hosts may share an id.
    public var id: String
    /// What people call it. It is the peer's own choice, and may hold anything but a line break.
    public var name: String
    /// Where it listens, as far as that is known; else where its connection comes from.
    public var address: MeshAddress
    /// Whether it has dialled this node, and not the other way round.
    public var isInbound: Bool
    /// The fingerprint of its key, where the connection proves one.
    public var fingerprint: String?

    /// A peer with all that is known of it.
    public init(id: String, name: String, address: MeshAddress, isInbound: Bool, fingerprint: String? = nil) {
        self.id = id
        self.name = name
        self.address = address
        self.isInbound = isInbound
        self.fingerprint = fingerprint
    }
}

/// Why a connection did not come about.
public enum MeshFailure: Error, Hashable, Sendable {
    /// The network says so.
    case network(NetworkError.Reason)
    /// The name could not be looked up.
    case name(NameError)
    /// There is one already.
    case duplicate
    /// As many peers are connected as there may be.
    case full
    /// This node itself listens there.
    case oneself
    /// The other side does not speak the mesh's protocol, or breaks it.
    case noPeer(String)
    /// It did not answer in time.
    case timedOut
    /// The connection could not be secured.
    case insecure(String)
    /// The text is no address.
    case noAddress(String)
    /// This node has stopped.
    case stopped
}

extension MeshFailure {
    init(_ error: NetworkError) { self = error.reason == .timedOut ? .timedOut : .network(error.reason) }
}

extension MeshFailure: CustomStringConvertible {
    /// The reason in plain words.
    public var description: String {
        switch self {
        case .network(let reason): reason.description
        case .name(.notFound), .name(.noRecords): "there is no such name"
        case .name(let error): "the name could not be looked up (\(error))"
        case .duplicate: "already connected"
        case .full: "no room for more peers"
        case .oneself: "that is this node itself"
        case .noPeer(let what): "not a peer of a mesh: \(what)"
        case .timedOut: "no answer in time"
        case .insecure(let what): what
        case .noAddress(let text): "'\(text)' is no address such as localhost:8001 or 192.168.1.100:8001"
        case .stopped: "the node has stopped"
        }
    }
}

/// Something that happened to a node of a mesh.
public enum MeshEvent: Hashable, Sendable {
    /// The node listens.
    case started(id: String, name: String, port: UInt16)
    /// Something is wrong with the node itself.
    case failed(String)
    /// A peer answered where the node was told to begin.
    case bootstrapSucceeded(MeshAddress)
    /// Nobody answers where the node was told to begin. It goes on trying, and says this once until it succeeds.
    case bootstrapFailed(MeshAddress, MeshFailure)
    /// A peer is connected; so many are now, of so many that may be.
    case connected(MeshPeer, count: Int, maximum: Int)
    /// A peer is gone, by its own will or the network's.
    case disconnected(MeshPeer, count: Int, maximum: Int)
    /// A peer has told addresses that were new.
    case discovered(count: Int, via: MeshPeer, known: Int)
    /// A peer has said something. It may hold anything but a line break: show it by `TerminalText.escaped`.
    case message(from: MeshPeer, text: String)
    /// A peer was silent for too long and is no longer counted as one.
    case removedStale(MeshPeer)
    /// An address was dialled in vain. It is said once until that address answers.
    case connectionFailed(MeshAddress, MeshFailure)
    /// Someone who dialled this node was sent away.
    case refused(SocketAddress, MeshFailure)
    /// A line went to a peer; only where `MeshConfiguration.reportsLines` is on, and never for chat.
    case sent(MeshLine, to: MeshPeer)
    /// A line came from a peer; the same.
    case received(MeshLine, from: MeshPeer)
    /// So many events were not taken in time, and are lost. It stands where they would have stood.
    case missed(Int)
}

/// How a node of a mesh behaves.
public struct MeshConfiguration: Sendable {
    /// What people call this node; its id where there is none. It is one line, and short.
    public var name: String?
    /// How often peers are asked for theirs. Nothing waits for it: new addresses are told and dialled at once.
    public var discoveryInterval: Duration = .seconds(30)
    /// How often peers are asked whether they are still there.
    public var maintenanceInterval: Duration = .seconds(15)
    /// How long connecting and being greeted may take.
    public var connectionTimeout: Duration = .seconds(10)
    /// How long a peer may say nothing.
    public var peerTimeout: Duration = .seconds(60)
    /// How many peers there may be.
    public var maximumPeers = 20
    /// How many bytes may wait to be sent to a peer. One that is further behind is disconnected.
    public var maximumQueued = 4 << 20
    /// Whether each line of the protocol is an event.
    public var reportsLines = false
    /// How many events wait for who takes them; the oldest are lost first.
    public var maximumEvents = 4096
    /// How connections are made.
    public var transport = MeshTransport.plain

    /// The defaults.
    public init() {}
}

/// What happens to a node of a mesh, in order, for one reader. Beyond `MeshConfiguration.maximumEvents` the oldest events
/// are dropped, and `MeshEvent.missed` tells how many.
public typealias MeshEvents = EventQueue<MeshEvent>
