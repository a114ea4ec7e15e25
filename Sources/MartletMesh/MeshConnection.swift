import MartletRuntime
import MartletWire

/// Who a peer is: its id and its host, for peers on two hosts may have chosen the same port, and so the same id.
struct PeerKey: Hashable {
    var id: String
    /// 127.0.0.1 for this host, by whichever of its addresses.
    var host: IPAddress

    /// What decides which of two connections stays: the one dialled by the smaller stays.
    var rank: String { "\(id)@\(host.isLoopback ? "localhost" : host.description)" }
}

/// A connection of a mesh, from the first packet on: part of a machine.
struct MeshConnection {
    enum Stage: Hashable {
        /// It is dialled.
        case connecting
        /// This node has dialled and sent its greeting, and waits for the answer.
        case greeted
        /// The other has dialled, and is to send its greeting.
        case accepted
        /// The other has dialled and greeted while this node dials it: what becomes of that dial is waited for.
        case held(Greeting)
        /// Both have greeted.
        case connected

        /// Whether it is, or may at once become, one of the most peers there may be.
        var holdsPlace: Bool {
            switch self {
            case .connecting, .greeted, .connected: true
            case .accepted, .held: false
            }
        }
    }

    let number: Int
    var stage: Stage
    /// Since when it is in that stage.
    var since: Instant
    /// When it has lasted too long.
    var deadline: Instant
    /// Where this node has dialled, if it has.
    var dialled: MeshAddress?
    var remote: SocketAddress?
    var local: SocketAddress?
    var fingerprint: String?
    /// The peer, once it is connected.
    var peer: MeshPeer?
    var key: PeerKey?
    /// Where others can dial the peer.
    var listens: MeshAddress?
    /// Whether the peer has been asked for its peers, and will be told this node's in return.
    var owesList = false
    /// The addresses that are known to be this peer.
    var aliases: [MeshAddress] = []
    var lines: LineBuffer? = LineBuffer()
    var lastHeard = Instant.start
}
