import Martlet
import Foundation
import MartletMesh

/// Events as lines for people: `[15:04:32] [NETWORK] Peer bob connected from …`.
struct MeshLines {
    /// The words that stand where a name may stand, and that no peer may pass for.
    private static let labels: Set = ["SYSTEM", "NETWORK", "DISCOVERY", "MAINTENANCE", "DEBUG", "ERROR"]

    let isDebugging: Bool

    /// The line for `event`, without its time; `nil` where it is not to be shown.
    func line(for event: MeshEvent) -> String? {
        switch event {
        case .started(_, let name, let port): "[SYSTEM] Node \(TerminalText.escaped(name)) listening on port \(port)"
        case .failed(let what): "[ERROR] \(TerminalText.escaped(what))"
        case .bootstrapSucceeded(let address): "[DISCOVERY] Bootstrap via \(address) succeeded"
        case .bootstrapFailed(let address, let failure):
            "[DISCOVERY] Bootstrap via \(address) failed: \(shown(failure)); trying again"
        case .connected(let peer, let count, let maximum):
            "[NETWORK] "
                + (peer.isInbound ? "Peer \(name(peer)) connected from" : "Connected to peer \(name(peer)) at")
                + " \(peer.address)\(key(peer)) (\(count)/\(maximum) peers)"
        case .disconnected(let peer, let count, let maximum):
            "[NETWORK] Peer \(name(peer)) disconnected (\(count)/\(maximum) peers)"
        case .discovered(let count, let peer, let known):
            "[DISCOVERY] Found \(count) peers via \(name(peer)) (total known: \(known))"
        case .message(let peer, let text): "[\(name(peer))] \(TerminalText.escaped(text))"
        case .removedStale(let peer): "[MAINTENANCE] Removed stale peer \(name(peer)) (timeout)"
        case .connectionFailed(let address, let failure):
            "[NETWORK] Connection to \(address) failed: \(shown(failure))"
        case .missed(let count): "[SYSTEM] \(count) events were lost: this terminal is too slow"
        case .refused(let address, let failure):
            isDebugging ? "[DEBUG] Refused \(address): \(shown(failure))" : nil
        case .sent(let line, let peer): isDebugging ? "[DEBUG] Sent \(text(line)) to \(name(peer))" : nil
        case .received(let line, let peer): isDebugging ? "[DEBUG] Received \(text(line)) from \(name(peer))" : nil
        }
    }

    /// A peer's name, which is its own choice.
    func name(_ peer: MeshPeer) -> String {
        let name = TerminalText.escaped(peer.name)
        return Self.labels.contains(name.uppercased()) ? "\(name) (\(TerminalText.escaped(peer.id)))" : name
    }

    private func key(_ peer: MeshPeer) -> String { peer.fingerprint.map { " with key \($0)" } ?? "" }

    private func shown(_ failure: MeshFailure) -> String { TerminalText.escaped(failure.description) }

    private func text(_ line: MeshLine) -> String {
        guard case .peers(let addresses) = line, !addresses.isEmpty else { return line.text }
        return "PEERS: " + addresses.map(\.description).joined(separator: ",")
    }

    /// `line` behind the time of day.
    static func stamped(_ line: String, at date: Date) -> String {
        var seconds = time_t(date.timeIntervalSince1970)
        var time = tm()
        localtime_r(&seconds, &time)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "[\(two(time.tm_hour)):\(two(time.tm_min)):\(two(time.tm_sec))] \(line)"
    }
}

/// Events as lines for programs: one JSON object each.
struct MeshRecord: Encodable {
    struct Peer: Encodable {
        var id: String
        var name: String
        var address: String
        var inbound: Bool
        var fingerprint: String?

        init(_ peer: MeshPeer) {
            id = peer.id
            name = peer.name
            address = peer.address.description
            inbound = peer.isInbound
            fingerprint = peer.fingerprint
        }
    }

    var time: String
    var event = ""
    var id: String?
    var name: String?
    var port: UInt16?
    var secure: Bool?
    var fingerprint: String?
    var address: String?
    var peer: Peer?
    var count: Int?
    var maximum: Int?
    var known: Int?
    var text: String?
    var line: String?
    var reason: String?

    init(_ moment: MeshEvent, at date: Date) {
        time = date.formatted(.iso8601)
        take(moment)
    }

    private mutating func take(_ moment: MeshEvent) {
        switch moment {
        case .started(let id, let name, let port): (event, self.id, self.name, self.port) = ("started", id, name, port)
        case .failed(let what): (event, reason) = ("failed", what)
        case .bootstrapSucceeded(let address): (event, self.address) = ("bootstrap-succeeded", "\(address)")
        case .bootstrapFailed(let address, let failure):
            (event, self.address, reason) = ("bootstrap-failed", "\(address)", "\(failure)")
        case .connected(let peer, let count, let maximum):
            (event, self.peer, self.count, self.maximum) = ("connected", Peer(peer), count, maximum)
        case .disconnected(let peer, let count, let maximum):
            (event, self.peer, self.count, self.maximum) = ("disconnected", Peer(peer), count, maximum)
        case .discovered(let count, let peer, let known):
            (event, self.peer, self.count, self.known) = ("discovered", Peer(peer), count, known)
        case .message(let peer, let text): (event, self.peer, self.text) = ("message", Peer(peer), text)
        case .removedStale(let peer): (event, self.peer) = ("removed-stale", Peer(peer))
        case .connectionFailed(let address, let failure):
            (event, self.address, reason) = ("connection-failed", "\(address)", "\(failure)")
        case .refused(let address, let failure):
            (event, self.address, reason) = ("refused", "\(address)", "\(failure)")
        case .sent(let line, let peer): (event, self.peer, self.line) = ("sent", Peer(peer), line.text)
        case .received(let line, let peer): (event, self.peer, self.line) = ("received", Peer(peer), line.text)
        case .missed(let count): (event, self.count) = ("missed", count)
        }
    }

    /// The object in one line, in which nothing is left that a terminal would act on.
    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else { return "{}" }
        return TerminalText.escaped(json: String(decoding: data, as: UTF8.self))
    }
}
