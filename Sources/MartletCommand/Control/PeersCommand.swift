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
    @Option(help: "at most so many") var limit: Int = 1000
    @OptionGroup var options: ControlOptions

    func validate() throws {
        guard (1...10_000).contains(limit) else { throw UsageError("--limit is a number from 1 to 10000") }
    }

    func run() async throws {
        var query = ["limit=\(limit)"]
        if connected { query.append("connected=true") }
        if let topic { query.append("topic=\(escaped(topic))") }
        let answer = try options.ask("GET", "/v1/peers?" + query.joined(separator: "&"))
        try options.show(answer, as: ControlPeers.self) { $0.text(now: Date()) }
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
