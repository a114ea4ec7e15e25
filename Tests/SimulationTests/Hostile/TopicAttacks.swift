import Martlet
import MartletRuntime
import MartletSimulator
import NodeWorlds

/// Records of nodes that are not there, as fast as they are taken, each signed by a key of its own.
struct MadeUpRecords: Attack {
    let name = "made-up records"

    func strike(_ stranger: Stranger) async throws {
        try await stranger.tell { _ in }
    }
}

/// The same with addresses of the victim's in each of them.
struct RecordsNamingVictim: Attack {
    let name = "records that name a victim"

    func strike(_ stranger: Stranger) async throws {
        let victim = stranger.victim
        try await stranger.tell { record in
            let first = 1024 + stranger.draw(below: 60_000)
            record.listenAddresses = (0..<8).map { Stranger.quic(SocketAddress(victim, port: UInt16(first + $0))) }
            record.observedAddresses = (0..<8).map { .tcp(SocketAddress(victim, port: UInt16(first + $0))) }
        }
    }
}

/// The same with addresses in each of them that mean something else in every home.
struct RecordsNamingHomes: Attack {
    let name = "records that name private networks"

    func strike(_ stranger: Stranger) async throws {
        try await stranger.tell { record in
            let last = UInt8(1 + stranger.draw(below: 250))
            record.privateAddresses = [
                .tcp(SocketAddress(IPAddress(192, 168, 1, last), port: 22)),
                .tcp(SocketAddress(IPAddress(10, 0, 0, last), port: 80)),
                .tcp(SocketAddress(.loopbackV4, port: UInt16(1000 + Int(last)))),
                Stranger.quic(SocketAddress(IPAddress(169, 254, 1, last), port: 4001)),
            ]
        }
    }
}

/// Records that claim the addresses of honest nodes for others.
struct StolenAddresses: Attack {
    let name = "stolen addresses"

    func strike(_ stranger: Stranger) async throws {
        try await stranger.tell { record in
            let members = (0..<4).map { _ in stranger.target() }
            record.listenAddresses = members.map {
                Stranger.quic(SocketAddress($0.host.address, port: NodeWorld.port))
            }
            record.observedAddresses = members.map { Stranger.tcp($0) }
        }
    }
}

/// A neighbour that asks for all records again and again, and takes a message each five seconds.
struct SlowReader: Attack {
    let name = "slow reader"

    func strike(_ stranger: Stranger) async throws {
        let swarm = stranger.newSwarm(stranger.key())
        let stream = try await stranger.greet(stranger.target(), by: swarm)
        stranger.answer(stream, every: .seconds(5))
        let all = MetadataSummary(first: 0, last: .max, entries: [])
        for id in UInt64(100)...2000 {
            try await stream.writeMessage(MetadataMessage(id: id, .summary(all)).encoded)
            try await stranger.pause(.milliseconds(100))
        }
    }
}

/// Neighbours whose clocks are hours or years ahead or behind, with records of those times.
struct WrongClock: Attack {
    let name = "wrong clocks"
    let hosts = 3

    func strike(_ stranger: Stranger) async throws {
        let offsets: [Int64] = [3 * 3600, -3 * 3600, 10 * 365 * 86_400]
        let offset = offsets[stranger.number % offsets.count] * 1_000_000_000
        let key = stranger.key()
        let swarm = stranger.newSwarm(key)
        let stream = try await stranger.greet(stranger.target(), by: swarm)
        stranger.answer(stream)
        for number in UInt64(0)..<60 {
            let record = stranger.record(key) { record in
                record.time = WallTime(nanoseconds: record.time.nanoseconds &+ offset)
                record.sequence = .max - 100 + number
            }
            try await stream.writeMessage(MetadataMessage(id: 10 + number, .push(record.envelope.bytes)).encoded)
            try await stranger.pause(.seconds(1))
        }
    }
}

extension Stranger {
    /// Tells one node of one peer after the other that is not there, with records that `change` completes.
    fileprivate nonisolated(nonsending) func tell(_ change: (inout NodeMetadata) -> Void) async throws {
        let swarm = newSwarm(key())
        let stream = try await greet(target(), by: swarm)
        answer(stream)
        for id in UInt64(10)..<400 {
            for _ in 0..<strength {
                let bytes = record(key(), change).envelope.bytes
                try await stream.writeMessage(MetadataMessage(id: id, .push(bytes)).encoded)
            }
            try await pause(.milliseconds(100))
        }
    }
}
