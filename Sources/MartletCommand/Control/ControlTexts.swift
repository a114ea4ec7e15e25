import Foundation
import MartletOperator
import Martlet

// What the node's answers look like for people.

extension ControlStatus {
    /// All of it, a fact a line.
    var text: String {
        let transports = connections.byTransport.sorted { $0.key < $1.key }.map { ", \($0.value) by \($0.key)" }
            .joined()
        let facts: [(name: String, values: [String])] = [
            ("node", [(name.isEmpty ? "" : name + ", ") + "\(version), a \(role)"]),
            ("id", [id]),
            ("running", ["for \(spanText(uptimeSeconds)), as process \(process)"]),
            ("reachable", [type + (nat == "unknown" ? "" : ", NAT \(nat)")] + typeReasons),
            ("listening", listening.isEmpty ? ["nowhere"] : listening),
            ("seen at", observed),
            (
                "topics",
                topics.isEmpty
                    ? ["none"]
                    : topics.map { "\($0.name): \($0.neighbours) connected, \($0.known) known" }
            ),
            (
                "connections",
                ["\(connections.total): \(connections.inbound) in, \(connections.outbound) out\(transports)"]
            ),
            (
                "DHT",
                dht.isEmpty
                    ? ["off"]
                    : dht.map { part in
                        "\(part.family): \(part.state), \(part.nodes) nodes"
                            + (part.unansweredSeconds.map { ", no answers for \(spanText($0))" } ?? "")
                            + (part.outsideAddress.map { ", seen at \($0)" } ?? "")
                    }
            ),
            (
                "database",
                [
                    (store.path ?? "in memory alone") + ", \(known) peers on its topics, \(store.waiting) changes wait"
                        + (store.trouble.map { "; trouble: " + $0 } ?? "")
                ]
            ),
            (
                "memory",
                [
                    "\(sizeText(memory.residentBytes)), of which buffers "
                        + "\(sizeText(memory.bufferBytes)) of \(sizeText(memory.bufferLimitBytes))"
                ]
            ),
            ("control", [control]),
            ("HTTP", http.map { ["http://\($0)/"] } ?? ["off"]),
            ("warning", warnings),
        ]
        return TextTable.facts(facts.filter { !$0.values.isEmpty })
    }
}

extension ControlPeers {
    /// A table with a line for each, as of `now`.
    func text(now: Date) -> String {
        guard !peers.isEmpty else { return "no peers" }
        var table = TextTable(columns: [
            .init(title: "ID"), .init(title: "NAME"), .init(title: "TYPE"), .init(title: "TRANSPORT"),
            .init(title: "PATH"), .init(title: "RTT", isNumber: true), .init(title: "SCORE", isNumber: true),
            .init(title: "SINCE", isNumber: true),
        ])
        for peer in peers {
            table.rows.append([
                peer.id, peer.name.isEmpty ? "-" : peer.name, peer.type, peer.link?.transport ?? "-",
                peer.link.map { $0.isRelayed ? "relayed" : "direct" } ?? "-",
                peer.link?.roundTripMilliseconds.map { "\($0.text(1)) ms" } ?? "-", peer.score.text(0),
                // Of who is not connected it is shown when he was last heard of.
                peer.link.map { spanText(since: $0.since, now) } ?? "(\(spanText(since: peer.lastSeen, now)))",
            ])
        }
        return table.text
    }
}

extension ControlPeerDetails {
    /// All of it, as of `now`.
    func text(now: Date) -> String {
        var facts: [(name: String, values: [String])] = [
            ("id", [peer.id]),
            ("name", peer.name.isEmpty ? [] : [peer.name]),
            ("program", peer.version.isEmpty ? [] : [peer.version]),
            ("reachable", [peer.type + (peer.nat == "unknown" ? "" : ", NAT \(peer.nat)")]),
            ("topics", peer.topics),
            ("last seen", ["\(spanText(since: peer.lastSeen, now)) ago"]),
        ]
        if let link = peer.link {
            let measured = link.roundTripMilliseconds.map { ", \($0.text(1)) ms there and back" } ?? ""
            facts.append(
                (
                    "connected",
                    [
                        "for \(spanText(since: link.since, now)) by \(link.transport), \(link.direction), "
                            + (link.isRelayed ? "relayed" : "direct") + measured, link.address,
                    ]
                ))
        } else {
            facts.append(("connected", ["no"]))
        }
        facts.append(
            (
                "score",
                ["\(peer.score.text(0)) of 100"]
                    + reasons.map { "\($0.points > 0 ? "+" : "")\($0.points.text(1)) \($0.reason)" }
            ))
        if let metadata { facts += metadata.facts }
        facts += [
            ("addresses", addresses.map { $0.text(now: now) }),
            (
                "evidence",
                evidence.map {
                    "\($0.kind) \($0.value), by \($0.witness)"
                        + ", \(spanText(since: $0.lastSaid, now)) ago"
                }
            ),
            ("quality", quality.prefix(8).map(\.text)),
        ]
        return TextTable.facts(facts.filter { !$0.values.isEmpty })
    }
}

extension ControlPeerDetails.Metadata {
    fileprivate var facts: [(name: String, values: [String])] {
        [
            ("says", ["number \(sequence), at \(time), up for \(spanText(Double(uptimeSeconds)))"]),
            ("listens", listenAddresses), ("seen at", observedAddresses), ("private", privateAddresses),
            ("can", capabilities),
            (
                "offers",
                services.map { service in
                    service.name + (service.port == 0 ? "" : " at port \(service.port)")
                        + (service.description.isEmpty ? "" : ": " + service.description)
                }
            ),
        ]
    }
}

extension ControlPeerDetails.Address {
    fileprivate func text(now: Date) -> String {
        var text = "\(address) (\(source)): reached \(successes) times, not reached \(failures)"
        if let lastSuccess { text += ", last reached \(spanText(since: lastSuccess, now)) ago" }
        if let lastError { text += "; \(lastError)" }
        return text
    }
}

extension ControlPeerDetails.Quality {
    fileprivate var text: String {
        let measured = roundTripMilliseconds.map { "\($0.text(1)) ms" } ?? "not measured"
        return "\(since), \(spanText(lengthSeconds)): \(measured), \(packets) packets, \(lost) lost, "
            + "\(sizeText(bytesIn)) in, \(sizeText(bytesOut)) out, connected \((uptimeShare * 100).text(0)) %"
    }
}

extension ControlEvent {
    /// A line: the time of day, what happened, and whatever belongs to it.
    var text: String {
        let words = [
            peer, name.map { "\"\($0)\"" }, topic.map { "on \($0)" }, transport, direction,
            address, sequence.map { "number \($0)" }, count.map { event == "message" ? "\($0) bytes" : "\($0)" },
            detail,
        ]
        let clock = time.split(separator: "T").last?.prefix(8) ?? ""
        let all = [String(clock), event.replacing("_", with: " ")] + words.compactMap(\.self)
        return TerminalText.escaped(all.joined(separator: " "))
    }
}

extension ControlIdentity {
    /// The id, and where the node listens.
    var text: String { ([id] + addresses).joined(separator: "\n") }
}

/// A number of bytes: `1.5 MB`.
func sizeText(_ bytes: Int) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1000, unit < units.count - 1 {
        value /= 1000
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\(value.text(value < 10 ? 1 : 0)) \(units[unit])"
}

/// A span of time by its two greatest units: `3h12m`.
func spanText(_ seconds: Double) -> String {
    let whole = Int(max(0, min(seconds, 1e12)))
    switch whole {
    case ..<60: return "\(whole)s"
    case ..<3600: return "\(whole / 60)m\(whole % 60)s"
    case ..<86400: return "\(whole / 3600)h\(whole / 60 % 60)m"
    default: return "\(whole / 86400)d\(whole / 3600 % 24)h"
    }
}

/// How long before `now` the time was that is written as `text`.
private func spanText(since text: String, _ now: Date) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    // Its fractions have three digits, the node's have six.
    let parts = text.split(separator: ".")
    let time = parts.count == 2 ? "\(parts[0]).\(parts[1].prefix(3))Z" : text
    guard let date = formatter.date(from: time) else { return "?" }
    return spanText(now.timeIntervalSince(date))
}
