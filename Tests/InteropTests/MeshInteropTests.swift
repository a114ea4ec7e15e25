import Foundation
import MartletMesh
import MartletRuntime
import Synchronization
import TestSupport
import Testing

/// A peer of the mesh in Python, as a process: see `Peers/mesh_peer.py`.
private final class PythonPeer: Sendable {
    let program: TestProgram
    let port: UInt16

    init(name: String, bootstrap: [UInt16] = []) async throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Peers/mesh_peer.py")
        program = try TestProgram(
            "/usr/bin/env", ["python3", script.path, "0", name] + bootstrap.map { "localhost:\($0)" })
        let line = try await program.line { $0.hasPrefix("LISTENING ") }
        port = UInt16(line.dropFirst("LISTENING ".count))!
    }
}

@Suite("Mesh with other implementations")
struct MeshInteropTests {
    private struct Node {
        let node: MeshNode
        let environment: SystemEnvironment
        let port: UInt16
        let events: EventList
    }

    /// What a node has told so far, to be waited for.
    private final class EventList: Sendable {
        private let events = Mutex<[MeshEvent]>([])
        private let condition = NSCondition()

        func append(_ event: MeshEvent) {
            condition.lock()
            events.withLock { $0.append(event) }
            condition.broadcast()
            condition.unlock()
        }

        /// Waits until an event is told that `matches`.
        func wait(_ matches: @escaping @Sendable (MeshEvent) -> Bool) async throws -> Bool {
            try await onOwnThread { [self] in
                let deadline = Date(timeIntervalSinceNow: 20)
                condition.lock()
                defer { condition.unlock() }
                while !events.withLock({ $0.contains(where: matches) }) {
                    if !condition.wait(until: deadline) { return false }
                }
                return true
            }
        }
    }

    private func withNode(
        bootstrap: [UInt16] = [], _ body: (Node) async throws -> Void
    ) async throws {
        let log = Logger(subsystem: "test", sink: TextLogSink { WallTime(nanoseconds: 0) }, levels: LogLevels(.warning))
        let environment = try SystemEnvironment(name: "test", log: log)
        var configuration = MeshConfiguration()
        configuration.name = "martlet"
        configuration.maintenanceInterval = .milliseconds(200)
        configuration.reportsLines = true
        let node = MeshNode(
            port: 0, bootstrap: bootstrap.map { MeshAddress("localhost:\($0)")! }, configuration: configuration,
            environment: environment)
        try await node.start()
        let list = EventList()
        let reader = Task { for await event in node.events { list.append(event) } }
        try await body(Node(node: node, environment: environment, port: await node.port!, events: list))
        await node.stop()
        await reader.value
        await environment.shutdown()
    }

    private func isConnected(_ name: String) -> @Sendable (MeshEvent) -> Bool {
        { if case .connected(let peer, _, _) = $0 { peer.name == name } else { false } }
    }

    @Test("a peer that dials this node is taken in, pinged, and heard")
    func dialler() async throws {
        try await withNode { node in
            let python = try await PythonPeer(name: "py:thon", bootstrap: [node.port])
            _ = try await python.program.line { $0 == "DIALLED peer-\(node.port) martlet" }
            #expect(try await node.events.wait(isConnected("py:thon")))
            python.program.write("grüße\n")
            #expect(
                try await node.events.wait {
                    if case .message(let peer, "grüße") = $0 { peer.name == "py:thon" && peer.isInbound } else { false }
                })
            try await node.node.broadcast("and back")
            _ = try await python.program.line { $0 == "CHAT martlet and back" }
            #expect(try await node.events.wait { if case .received(.pong, _) = $0 { true } else { false } })
        }
    }

    @Test("a peer that listens is dialled, asked for its peers and told this node's")
    func listener() async throws {
        let python = try await PythonPeer(name: "python")
        try await withNode(bootstrap: [python.port]) { node in
            _ = try await python.program.line { $0 == "ACCEPTED peer-\(node.port) martlet" }
            #expect(try await node.events.wait(isConnected("python")))
            #expect(try await node.events.wait { if case .received(.peers([]), _) = $0 { true } else { false } })
            _ = try await python.program.line { $0 == "PEERS peer-\(node.port) " }
        }
        _ = try await python.program.line { $0.hasPrefix("GONE ") }
    }

    @Test("three peers of two kinds, each told of one other, all meet")
    func mixed() async throws {
        let first = try await PythonPeer(name: "first")
        try await withNode(bootstrap: [first.port]) { node in
            #expect(try await node.events.wait(isConnected("first")))
            let second = try await PythonPeer(name: "second", bootstrap: [node.port])
            #expect(try await node.events.wait(isConnected("second")))
            _ = try await second.program.line { $0 == "DIALLED peer-\(first.port) first" }
            let third = try await PythonPeer(name: "third", bootstrap: [second.port])
            #expect(try await node.events.wait(isConnected("third")))
            _ = try await third.program.line { $0.hasSuffix(" peer-\(first.port) first") }
            third.program.write("everyone?\n")
            _ = try await first.program.line { $0 == "CHAT third everyone?" }
            #expect(try await node.events.wait { if case .message(_, "everyone?") = $0 { true } else { false } })
        }
    }
}
