import Martlet

/// Finds others on a topic, greets them, and prints what they say: `Neighbours TOPIC NAME [BOOTSTRAP…]`.
@main
struct Neighbours {
    static func main() async throws {
        let words = Array(CommandLine.arguments.dropFirst())
        guard words.count >= 2 else { return print("usage: Neighbours TOPIC NAME [BOOTSTRAP…]") }
        var configuration = NodeConfiguration(topics: [words[0]], name: words[1])
        configuration.bootstrap = words.dropFirst(2).compactMap { BootstrapAddress($0) }
        let node = try Node(configuration)
        try await node.start()
        for await event in node.events {
            switch event {
            case .joined(let peer, let topic):
                try? await node.send(Bytes(utf8: "hello from \(words[1])"), to: peer, on: topic)
            case .message(let peer, _, let text):
                print("\(peer): \(TerminalText.escaped(text.utf8 ?? ""))")
            default: break
            }
        }
    }
}
