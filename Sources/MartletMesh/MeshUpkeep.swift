import MartletRuntime
import MartletWire

/// What connected peers say to each other: the part of a machine that finds further peers and drops silent ones.
extension Mesh {
    /// A line has come.
    mutating func handleLine(_ number: Int, _ line: String, at now: Instant) {
        switch connections[number]?.stage {
        case .accepted:
            hasChanged = true
            handleGreeting(number, line, at: now)
        case .greeted:
            hasChanged = true
            handleAnswer(number, line, at: now)
        case .connected:
            handle(number, MeshLine(line), at: now)
        case .held, .connecting, nil:
            // Who is held back has nothing to say before it is answered.
            break
        }
    }

    private mutating func handle(_ number: Int, _ line: MeshLine, at now: Instant) {
        guard let connection = connections[number], let peer = connection.peer else { return }
        if connection.deadline != .never {
            connections[number]?.deadline = .never
            hasChanged = true
        }
        if case .chat(let text) = line {
            if !text.isEmpty { act(.report(.message(from: peer, text: text))) }
            return
        }
        if configuration.reportsLines { act(.report(.received(line, from: peer))) }
        switch line {
        case .ping: send(.pong, to: number)
        case .requestPeers: send(.peers(list(for: connection)), to: number)
        case .peers(let addresses):
            if connection.owesList {
                connections[number]?.owesList = false
                send(.peers(list(for: connection)), to: number)
            }
            learn(addresses, from: connection, peer, at: now)
            hasChanged = true
        case .pong, .duplicate, .full, .chat:
            // Whoever sends the last two to a connected peer will close the connection by itself.
            break
        }
    }

    mutating func send(_ line: MeshLine, to number: Int) {
        act(.send(number, line.bytes))
        guard configuration.reportsLines, let peer = connections[number]?.peer else { return }
        act(.report(.sent(line, to: peer)))
    }

    /// The peers that `reader` can dial.
    private func list(for reader: MeshConnection) -> [MeshAddress] {
        guard let remote = reader.remote, let local = reader.local else { return [] }
        var addresses: [MeshAddress] = []
        for number in order where number != reader.number {
            guard let address = connections[number]?.listens,
                let written = vantage.write(address, for: remote, seeingThisAt: local)
            else { continue }
            addresses.append(written)
        }
        return Array(addresses.sorted().prefix(MeshLine.mostAddresses))
    }

    private mutating func learn(
        _ addresses: [MeshAddress], from connection: MeshConnection, _ peer: MeshPeer, at now: Instant
    ) {
        guard let remote = connection.remote else { return }
        var count = 0
        for written in addresses {
            guard let address = vantage.read(written, toldBy: remote), !vantage.isSelf(address) else { continue }
            let origin = AddressBook.Origin.told(by: remote.ip, isForeign: isForeign(address, to: remote.ip))
            if book.add(address, origin, rank: random.next(), at: now) {
                count += 1
            } else if let hanging = book.mention(address, at: now) {
                drop(hanging)
                book.postponed(address, hanging, by: .zero, at: now)
            }
        }
        if count > 0 { act(.report(.discovered(count: count, via: peer, known: book.count))) }
    }

    /// Whether `address` lies in a network that who tells it at `teller` is not in: nobody should be able to have this
    /// node look around in its own network for them.
    private func isForeign(_ address: MeshAddress, to teller: IPAddress) -> Bool {
        guard let ip = address.ip else { return true }
        func isNear(_ ip: IPAddress) -> Bool { ip.isLoopback || ip.isPrivate || ip.isLinkLocal || ip.isShared }
        return isNear(ip) && !isNear(teller)
    }

    /// Pings every peer, and drops those that have been silent for too long.
    mutating func maintain(at now: Instant) {
        for number in order {
            guard let connection = connections[number] else { continue }
            if now - connection.lastHeard >= configuration.peerTimeout {
                fail(number, .timedOut, at: now)
            } else {
                send(.ping, to: number)
            }
        }
    }

    /// The peer of a connection has turned up a second time: where it has lost the first one, this node learns it soon.
    mutating func probe(_ number: Int, at now: Instant) {
        guard connections[number]?.deadline == .never else { return }
        connections[number]?.deadline = now + Self.probeLimit
        send(.ping, to: number)
    }
}
