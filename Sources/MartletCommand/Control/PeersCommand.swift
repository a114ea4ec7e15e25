import Foundation
import MartletOperator

/// `martlet peers`.
struct PeersCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "peers", abstract: "list the peers that the running node knows",
            discussion:
                "Those that are connected stand first. RTT is how long an answer takes, SCORE how good a peer is "
                + "to be connected to, from 0 to 100, SINCE for how long it has been connected; in parentheses, when it "
                + "was last heard of.",
            examples: ["martlet peers", "martlet peers --connected --topic chess", "martlet peers show 12D3KooW…"],
            exitCodes: ControlOptions.exitCodes, subcommands: [PeersShowCommand.self])
    }

    @Option(help: "only those on this topic of the node") var topic: String?
    @Flag(help: "only those that are connected") var connected: Bool
    @Option(help: "list at most this many; all by default") var limit: Int?
    @OptionGroup var options: ControlOptions

    func validate() throws {
        guard limit ?? 1 > 0 else { throw UsageError("--limit is a number from 1 on") }
    }

    func run() async throws {
        var filter = ""
        if connected { filter += "&connected=true" }
        if let topic { filter += "&topic=\(escaped(topic))" }
        let peers = try Self.pages(upTo: limit) { count, cursor in
            let after = cursor.map { "&after=\(escaped($0))" } ?? ""
            return try options.read(try options.ask("GET", "/v1/peers?limit=\(count)\(filter)\(after)"))
        }
        try options.show(peers) { $0.text(now: Date()) }
    }

    /// How many peers are asked for at once: what the node writes down in some milliseconds.
    private static let page = 1000

    /// The peers of as many pages as there are, at most `limit` of them. `ask` gets one: so many behind a cursor.
    static func pages(
        upTo limit: Int?, _ ask: (_ count: Int, _ after: String?) throws -> ControlPeers
    ) throws -> ControlPeers {
        var all = try ask(min(limit ?? page, page), nil)
        while let next = all.next, limit.map({ all.peers.count < $0 }) ?? true {
            let more = try ask(min(limit.map { $0 - all.peers.count } ?? page, page), next)
            all.peers += more.peers
            // A page without peers is the last, whatever it says.
            all.next = more.peers.isEmpty ? nil : more.next
        }
        return all
    }

    private func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain =
                byte < 0x80 && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber)
            return isPlain ? String(Unicode.Scalar(byte)) : String(format: "%%%02X", byte)
        }.joined()
    }
}

/// `martlet peers show`.
struct PeersShowCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "show", abstract: "tell all that the running node knows of a peer",
            discussion: "What it says of itself, each of its addresses and how it fared, and what others said of it.",
            examples: ["martlet peers show 12D3KooWSahP5pFRCEfaziPEba7urXGeif6T1y8jmodzdFUvzBHj"],
            exitCodes: ControlOptions.exitCodes)
    }

    @Argument(help: "the peer's id", valueName: "ID") var peer: String
    @OptionGroup var options: ControlOptions

    func validate() throws { try checkPeerID(peer) }

    func run() async throws {
        try options.show(try options.ask("GET", "/v1/peers/\(peer)"), as: ControlPeerDetails.self) {
            $0.text(now: Date())
        }
    }
}
