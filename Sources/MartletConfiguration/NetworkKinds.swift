import MartletIdentity
import MartletRuntime
import MartletWire

extension ValueKind where Value == Multiaddr {
    /// Where to listen.
    static var listenAddress: ValueKind {
        ValueKind(
            wanted: "an address such as /ip4/0.0.0.0/udp/4001/quic-v1 or /ip4/0.0.0.0/tcp/4001",
            show: { .text($0.description) }
        ) { text throws(WrongValue) in
            let address = try multiaddr(text)
            guard case .ip = address.host, [.quicV1, .tcp].contains(address.transport), address.peerID == nil else {
                throw WrongValue("where nothing of this version can listen")
            }
            return address
        }
    }
}

extension ValueKind where Value == Settings.HostPort {
    /// A host and a port.
    static var hostPort: ValueKind {
        ValueKind(
            wanted: "a host and a port, such as bootstrap.example:4001 or [2001:db8::1]:4001",
            show: { .text($0.description) }
        ) { text throws(WrongValue) in
            try parseHostPort(text)
        }
    }
}

extension ValueKind where Value == Settings.Bootstrap {
    /// A node to begin with.
    static var bootstrap: ValueKind {
        ValueKind(
            wanted: "an address such as /ip4/192.0.2.1/udp/4001/quic-v1/p2p/ID, or a host and a port such as"
                + " bootstrap.example:4001",
            show: { value in
                switch value {
                case .multiaddr(let address): .text(address.description)
                case .hostPort(let place): .text(place.description)
                }
            }
        ) { text throws(WrongValue) in
            guard text.hasPrefix("/") else { return .hostPort(try parseHostPort(text)) }
            let address = try multiaddr(text)
            guard address.host != nil, [.quicV1, .tcp].contains(address.transport) else {
                throw WrongValue("which nothing of this version can dial")
            }
            guard address.port != 0 else { throw WrongValue("whose port is 0") }
            return .multiaddr(address)
        }
    }
}

extension ValueKind where Value == Settings.Access {
    /// Somebody who is let in, or is not.
    static var access: ValueKind {
        ValueKind(
            wanted: "a peer's id, an IP address, or a network such as 192.0.2.0/24",
            show: { value in
                switch value {
                case .peer(let peer): .text(peer.description)
                case .network(let address, let length):
                    .text(length == address.family.size * 8 ? "\(address)" : "\(address)/\(length)")
                }
            }
        ) { text throws(WrongValue) in
            let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            if let first = parts.first, let address = IPAddress(String(first)) {
                let whole = address.family.size * 8
                guard parts.count == 2 else { return .network(address, length: whole) }
                guard let length = Int(parts[1]), (0...whole).contains(length) else {
                    throw WrongValue("whose length is no number from 0 to \(whole)")
                }
                return .network(address.prefix(length), length: length)
            }
            guard let peer = PeerID(text) else { throw WrongValue() }
            return .peer(peer)
        }
    }
}

extension ValueKind where Value == SocketAddress {
    /// Where HTTP is served.
    static var http: ValueKind {
        ValueKind(
            wanted: "an IP address and a port, such as 127.0.0.1:9090", show: { .text($0.description) }
        ) { text throws(WrongValue) in
            let numbers = text.hasPrefix("localhost:") ? "127.0.0.1:" + text.dropFirst(10) : text
            guard let address = SocketAddress(numbers) else { throw WrongValue() }
            return address
        }
    }
}

extension ValueKind where Value == Logger.Level {
    /// A level of log.
    static var level: ValueKind {
        choice(Logger.Level.allCases.map { ($0, $0.description) }) { .text($0.description) }
    }
}

extension ValueKind where Value == [Settings.Log.Subsystem] {
    /// Levels by subsystem.
    static var levels: ValueKind {
        let level = ValueKind<Logger.Level>.level
        let wanted = "subsystems with their levels, as in {quic: debug, dht: warning}"
        return ValueKind(
            wanted: wanted, form: .pairs,
            read: { node, name, mistakes in
                guard case .mapping(let entries) = node.content else {
                    mistakes.note(node, "\(name) is \(node.kind)", "write \(wanted)")
                    return nil
                }
                guard entries.count <= 64 else {
                    mistakes.note(node, "\(name) has \(entries.count) entries", "write at most 64")
                    return nil
                }
                let levels = entries.map { entry -> Settings.Log.Subsystem? in
                    guard !entry.key.isEmpty, entry.key.utf8.count <= 64 else {
                        mistakes.note(
                            at: entry.position, "\(quoted(entry.key)) is no subsystem", "write 1 to 64 bytes")
                        return nil
                    }
                    let name = "the level of \(quoted(entry.key))"
                    return level.read(entry.value, name, &mistakes).map { .init(name: entry.key, level: $0) }
                }
                let whole = levels.compactMap { $0 }
                return whole.count == levels.count ? whole : nil
            },
            show: { .group($0.map { SettingValue.Field($0.name, level.show($0.level)) }) })
    }
}

extension ValueKind where Value == Settings.Service {
    /// A service.
    static var service: ValueKind {
        let name = ValueKind<String>.text("a name", atMost: 64)
        let port = ValueKind<UInt16>.port
        let description = ValueKind<String>.text("a sentence", atMost: 256, orEmpty: true)
        let wanted = "a group such as {name: web, port: 8080, description: \"Our pages\"}"
        return ValueKind(
            wanted: wanted, form: .services,
            read: { node, entry, mistakes in
                guard case .mapping(let fields) = node.content else {
                    mistakes.note(node, "\(entry) is \(node.kind)", "write \(wanted)")
                    return nil
                }
                var service = Settings.Service(name: "")
                var isRight = true
                for field in fields {
                    let shown = "the \(field.key) of \(entry)"
                    switch field.key {
                    case "name": name.read(field.value, shown, &mistakes).map { service.name = $0 } ?? (isRight = false)
                    case "port": port.read(field.value, shown, &mistakes).map { service.port = $0 } ?? (isRight = false)
                    case "description":
                        description.read(field.value, shown, &mistakes).map { service.description = $0 }
                            ?? (isRight = false)
                    default:
                        let known = ["name", "port", "description"]
                        let meant = closest(to: field.key, among: known).map { "did you mean '\($0)'?" }
                        mistakes.note(
                            at: field.position, "a service has no \(quoted(field.key))",
                            meant ?? "it has \(known.joined(separator: ", "))")
                        isRight = false
                    }
                }
                if isRight, service.name.isEmpty {
                    mistakes.note(node, "\(entry) has no name", "write \(wanted)")
                    return nil
                }
                return isRight ? service : nil
            },
            show: { service in
                .group([
                    .init("name", .text(service.name)), .init("port", .number(Int(service.port))),
                    .init("description", .text(service.description)),
                ])
            })
    }
}

private func multiaddr(_ text: String) throws(WrongValue) -> Multiaddr {
    do throws(MultiaddrError) {
        return try Multiaddr(parsing: text)
    } catch {
        switch error.reason {
        case .empty: throw WrongValue("which names no protocol")
        case .unknownName(let name): throw WrongValue("in which \(quoted(name)) is no protocol")
        case .value(let step, .missing): throw WrongValue("in which \(step.name) has no value")
        case .value(let step, _): throw WrongValue("in which \(step.name) has a value that it cannot have")
        case .malformed, .unknownCode: throw WrongValue("which is no address from byte \(error.offset + 1) on")
        }
    }
}

private func parseHostPort(_ text: String) throws(WrongValue) -> Settings.HostPort {
    let host: Substring
    let rest: Substring
    if text.hasPrefix("[") {
        guard let end = text.firstIndex(of: "]"), let address = IPAddress(String(text.dropFirst()[..<end])),
            address.isV6
        else { throw WrongValue("whose brackets hold no IPv6 address") }
        (host, rest) = (Substring(address.description), text[text.index(after: end)...])
    } else {
        host = text.prefix { $0 != ":" }
        rest = text[host.endIndex...]
        if IPAddress(text)?.isV6 == true { throw WrongValue("which has no port", advice: "write [\(text)]:PORT") }
        guard !host.isEmpty, host.utf8.count <= 253, !host.hasPrefix("-"),
            host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "." || $0 == "_") })
        else { throw WrongValue() }
    }
    guard rest.hasPrefix(":") else { throw WrongValue("which has no port", advice: "write \(text):PORT") }
    guard rest.dropFirst().allSatisfy({ $0.isASCII && $0.isNumber }), let port = UInt16(rest.dropFirst()), port != 0
    else { throw WrongValue("whose port is no number from 1 to 65535") }
    return Settings.HostPort(host: String(host), port: port)
}
