import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMesh

/// The machine by hand: a node on 192.168.1.5:8001.
@Suite("Mesh machine")
struct MeshTests {
    private static let here = IPAddress(192, 168, 1, 5)

    private struct Node {
        var mesh: Mesh<SeededGenerator>
        var now = Instant.start
        var dials: [MeshAddress] = []
        var sent: [Int: [String]] = [:]
        var events: [MeshEvent] = []

        init(_ change: (inout MeshConfiguration) -> Void = { _ in }) {
            var configuration = MeshConfiguration()
            change(&configuration)
            mesh = Mesh(
                port: 8001, own: [MeshTests.here], configuration: configuration, random: SeededGenerator(seed: 1),
                at: .start)
        }

        /// Someone connects from `host` and says `lines`. Returns the connection's number.
        mutating func accept(from host: IPAddress, _ lines: String...) -> Int? {
            let number = mesh.handleAccepted(
                from: SocketAddress(host, port: 40_000), local: SocketAddress(MeshTests.here, port: 8001), at: now)
            for line in lines {
                if let number { mesh.handleBytes(number, Bytes(utf8: line + "\n").span, at: now) }
            }
            drain()
            return number
        }

        mutating func drain() {
            while let action = mesh.nextAction() {
                switch action {
                case .dial(_, let address): dials.append(address)
                case .send(let number, let bytes):
                    sent[number, default: []].append(String(decoding: Array(bytes), as: UTF8.self))
                case .report(let event): events.append(event)
                case .close, .ended: break
                }
            }
        }

        /// Lets time pass, and fails all dials.
        mutating func pass(_ duration: Duration) {
            let end = now + duration
            while mesh.deadline <= end {
                now = mesh.deadline
                for connection in mesh.connections.values.sorted(by: { $0.number < $1.number })
                where connection.stage == .connecting {
                    mesh.handleEnd(connection.number, .network(.refused), at: now)
                }
                mesh.handleTimeout(at: now)
                drain()
            }
            now = end
        }
    }

    @Test("a node recognises itself in what it is told, whoever tells it, and never dials itself")
    func oneself() {
        var node = Node()
        for host in [IPAddress(192, 168, 1, 9), IPAddress(203, 0, 113, 7), .loopbackV4, MeshTests.here] {
            let isHere = host == .loopbackV4 || host == MeshTests.here
            var list = "192.168.1.5:8001"
            // Loopback is the teller's own host, and so this one only where the teller is on it.
            if isHere { list += ",localhost:8001,127.0.0.1:8001,[::1]:8001,0.0.0.0:8001" }
            let number = node.accept(from: host, "peer-\(host.isLoopback ? 1 : 2):x", "PEERS:\(list)")
            #expect(number != nil)
        }
        node.pass(.seconds(20))
        #expect(node.dials.allSatisfy { $0.description != "localhost:8001" })
        #expect(node.events.allSatisfy { if case .discovered = $0 { false } else { true } })
    }

    @Test("addresses in this node's own network that a stranger from elsewhere tells are dialled few and slowly")
    func ownNetwork() {
        var node = Node()
        let list = (1...100).map { "192.168.1.5:\(9000 + $0),192.168.1.77:\($0)" }.joined(separator: ",")
        _ = node.accept(from: IPAddress(203, 0, 113, 7), "carol:Carol", "PEERS:\(list)")
        #expect(node.dials.count == 2)
        node.pass(.seconds(24))
        #expect(node.dials.count <= 2 + 3)
        #expect(node.dials.count > 2)
    }

    @Test("a greeting that never comes is waited for ten seconds, and not a moment longer")
    func silence() {
        var node = Node()
        let number = node.accept(from: IPAddress(192, 168, 1, 9))
        node.pass(.milliseconds(9999))
        #expect(node.mesh.connections.count == 1)
        node.pass(.milliseconds(1))
        #expect(node.mesh.connections.isEmpty)
        #expect(number.flatMap { node.sent[$0] } == nil)
        #expect(node.events.last == .refused(SocketAddress(IPAddress(192, 168, 1, 9), port: 40_000), .timedOut))
    }

    @Test(
        "peers are pinged every fifteen seconds, asked for theirs every thirty, and dropped after a minute of silence")
    func upkeep() throws {
        var node = Node()
        let accepted = node.accept(from: IPAddress(192, 168, 1, 9), "carol:Carol")
        let number = try #require(accepted)
        node.pass(.seconds(59))
        #expect(node.sent[number] == ["peer-8001:peer-8001\n", "PING\n", "PING\n", "REQUEST_PEERS\n", "PING\n"])
        node.pass(.seconds(1))
        guard case .removedStale(let peer) = node.events.dropLast().last else {
            Issue.record("\(node.events)")
            return
        }
        #expect(peer.name == "Carol")
        #expect(node.mesh.connections.isEmpty)
    }
}
