import Martlet
import Foundation
import MartletMesh
import MartletRuntime

/// A node of a mesh and the person, or the program, that uses it.
struct MeshSession {
    private static let help = """
        /peers              who is connected
        /connect HOST:PORT  connect to a peer
        /discover           ask every peer for its peers
        /help               this
        /quit               leave
        Anything else is said to everyone.
        """

    let node: MeshNode
    let isJSON: Bool
    let isDebugging: Bool
    /// Whether lines are held back until the mesh has been found.
    let waitsForPeers: Bool

    /// Runs until the input ends or somebody quits.
    func run() async throws {
        let lines = MeshLines(isDebugging: isDebugging)
        let isTerminal = isatty(0) == 1 && isatty(1) == 1 && !isJSON
        let console: any LineConsole = isTerminal ? TerminalConsole(prompt: "> ") : PlainConsole()
        let events = Task { [node, isJSON] in
            for await event in node.events {
                if isJSON {
                    var record = MeshRecord(event, at: Date())
                    if case .started = event {
                        (record.secure, record.fingerprint) = (node.transport.isSecure, node.transport.fingerprint)
                    }
                    console.show(record.json)
                } else if let line = lines.line(for: event) {
                    console.show(MeshLines.stamped(line, at: Date()))
                }
                if case .started = event, !isJSON {
                    console.show(MeshLines.stamped(Self.security(of: node), at: Date()))
                }
            }
        }
        // What comes from a pipe may be all there at once, long before anyone is connected.
        if !isTerminal, waitsForPeers { await node.settle(within: node.configuration.connectionTimeout) }
        for await line in console.lines {
            guard await handle(line, console, lines) else { break }
        }
        await node.stop()
        await events.value
        try await console.close()
    }

    /// What is to be known at the start of how safe it is.
    private static func security(of node: MeshNode) -> String {
        if let fingerprint = node.transport.fingerprint {
            return "[SYSTEM] The mesh is encrypted, and others see this node with key \(fingerprint)"
        }
        return
            "[SYSTEM] The mesh is not encrypted: anyone on the way can read and change it. To encrypt it, start all of"
            + " its nodes with --secure"
    }

    /// Does what a line says. Returns whether to go on.
    private func handle(_ line: String, _ console: any LineConsole, _ lines: MeshLines) async -> Bool {
        func tell(_ text: String, _ label: String = "SYSTEM") {
            if isJSON { return MartletCommand.complain(text) }
            for line in text.split(separator: "\n") {
                console.show(MeshLines.stamped("[\(label)] \(line)", at: Date()))
            }
        }
        let words = line.split(separator: " ")
        switch words.first {
        case nil: break
        case "/quit": return false
        case "/help": tell(Self.help)
        case "/discover": await node.discover()
        case "/peers":
            let peers = await node.peers
            tell(
                "\(peers.count)/\(node.configuration.maximumPeers) peers, \(await node.knownAddresses) addresses known")
            for peer in peers {
                let direction = peer.isInbound ? "has connected" : "was dialled"
                let key = peer.fingerprint.map { ", key \($0)" } ?? ""
                tell("  \(lines.name(peer)) at \(peer.address), \(TerminalText.escaped(peer.id)), \(direction)\(key)")
            }
        case "/connect":
            guard words.count == 2, let address = MeshAddress(String(words[1])) else {
                tell("/connect takes an address, such as 192.168.1.100:8001", "ERROR")
                break
            }
            // Not waited for: a dial may take ten seconds, in which other things are typed.
            Task {
                do throws(MeshFailure) {
                    try await node.connect(to: address)
                } catch {
                    tell("Connecting to \(address) failed: \(TerminalText.escaped(error.description))", "ERROR")
                }
            }
        default:
            do throws(MeshLine.Unsayable) {
                if try await node.broadcast(line) == 0 { tell("Nobody is connected, so nobody has heard that") }
            } catch {
                tell("Not sent: \(TerminalText.escaped(error.description))", "ERROR")
            }
        }
        return true
    }
}
