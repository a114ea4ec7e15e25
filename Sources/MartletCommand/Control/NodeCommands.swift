import Foundation
import Martlet
import MartletOperator

/// `martlet status`.
struct StatusCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "status", abstract: "tell how the running node is doing",
            examples: ["martlet status", "martlet status --json | jq .connections"], exitCodes: ControlOptions.exitCodes
        )
    }

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try options.show(try options.ask("GET", "/v1/status"), as: ControlStatus.self) { $0.text }
    }
}

/// `martlet id`.
struct IDCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "id", abstract: "tell the running node's id and where it listens",
            discussion: "What it prints below the id is what is typed on another machine, after `martlet connect` or "
                + "`martlet up --bootstrap`.",
            examples: ["martlet id"], exitCodes: ControlOptions.exitCodes)
    }

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try options.show(try options.ask("GET", "/v1/id"), as: ControlIdentity.self) { $0.text }
    }
}

/// `martlet metrics`.
struct MetricsCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "metrics", abstract: "print what the running node counts and measures, as Prometheus reads it",
            examples: ["martlet metrics", "martlet metrics | grep swarm_connections"],
            exitCodes: ControlOptions.exitCodes)
    }

    @OptionGroup var options: ControlOptions

    func run() async throws {
        let answer = try options.ask("GET", options.json ? "/v1/metrics?format=json" : "/v1/metrics")
        try StandardOutput.write(answer.body)
    }
}

/// `martlet connect`.
struct ConnectCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "connect", abstract: "have the running node connect to a peer",
            examples: [
                "martlet connect /ip4/192.0.2.1/udp/4001/quic-v1",
                "martlet connect 12D3KooWSahP5pFRCEfaziPEba7urXGeif6T1y8jmodzdFUvzBHj",
            ], exitCodes: ControlOptions.exitCodes)
    }

    @Argument(help: "an address, or the id of a peer that is known", valueName: "ADDRESS|ID") var target: String
    @OptionGroup var options: ControlOptions

    func validate() throws {
        if target.hasPrefix("/") {
            guard (try? Multiaddr(parsing: target)) != nil else {
                throw UsageError("'\(target)' is no address; write it like /ip4/192.0.2.1/tcp/4001")
            }
        } else {
            try checkPeerID(target)
        }
    }

    func run() async throws {
        let isAddress = target.hasPrefix("/")
        let order = ControlOrder(address: isAddress ? target : nil, peer: isAddress ? nil : target)
        try options.show(try options.order("/v1/connect", order), as: ControlDone.self) { "connected: \($0.peer)" }
    }
}

/// `martlet disconnect`.
struct DisconnectCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "disconnect", abstract: "have the running node close its connection to a peer",
            examples: ["martlet disconnect 12D3KooWSahP5pFRCEfaziPEba7urXGeif6T1y8jmodzdFUvzBHj"],
            exitCodes: ControlOptions.exitCodes)
    }

    @Argument(help: "the peer's id", valueName: "ID") var peer: String
    @OptionGroup var options: ControlOptions

    func validate() throws { try checkPeerID(peer) }

    func run() async throws {
        let answer = try options.order("/v1/disconnect", ControlOrder(peer: peer))
        try options.show(answer, as: ControlDone.self) { "disconnected: \($0.peer)" }
    }
}

/// `martlet events`.
struct EventsCommand: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "events", abstract: "tell what happens to the running node",
            discussion: "Tells the next thing that happens and ends; with --follow it goes on until the node ends.",
            examples: ["martlet events --follow", "martlet events --follow --json | jq -r .event"],
            exitCodes: ControlOptions.exitCodes)
    }

    @Flag(letter: "f", help: "go on") var follow: Bool
    @OptionGroup var options: ControlOptions

    func run() async throws {
        let (follow, json) = (follow, options.json)
        try options.orComplain { client in
            try client.lines("/v1/events") { line in
                let decoder = JSONDecoder()
                decoder.keyDecodingStrategy = .convertFromSnakeCase
                guard let event = try? decoder.decode(ControlEvent.self, from: line) else { return true }
                // Only there so that both sides notice when the other has gone.
                if event.event == "heartbeat" { return true }
                try StandardOutput.write((json ? line.safeJSON : Data(event.text.utf8)) + Data("\n".utf8))
                return follow
            }
        }
    }
}

/// Throws where `text` is no peer's id.
func checkPeerID(_ text: String) throws {
    guard (try? PeerID(parsing: text)) != nil else {
        throw UsageError("'\(text)' is no peer's id, which `martlet peers` shows, nor an address, which begins with /")
    }
}
