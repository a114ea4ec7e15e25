import Martlet

/// A node of a mesh that greets whoever comes, and prints what is said: `Greeter PORT [ADDRESS…]`.
@main
struct Greeter {
    static func main() async throws {
        let words = CommandLine.arguments.dropFirst()
        let port = words.first.flatMap { UInt16($0) } ?? 8001

        let node = try MeshNode(port: port, bootstrap: Array(words.dropFirst()))
        node.name = "greeter"
        node.maximumPeers = 50
        try await node.start()

        for await event in node.events {
            switch event {
            case .connected(let peer, _, _):
                // A name is its owner's choice: made safe to show, it is also one line that can be said.
                try await node.broadcast("welcome, \(TerminalText.escaped(peer.name))")
            case .message(let peer, let text):
                print("\(TerminalText.escaped(peer.name)): \(TerminalText.escaped(text))")
                if text == "goodbye, greeter" { await node.stop() }
            default: break
            }
        }
        // The events end when the node has stopped.
    }
}
