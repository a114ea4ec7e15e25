public import MartletRuntime
public import MartletWire

/// What a world's names stand for, and how well its servers answer.
public struct NameZone: Sendable {
    /// The records of each name.
    public var records: [String: [NameRecord]] = [:]
    /// How long an answer takes beyond the asking host's own line.
    public var latency = Duration.milliseconds(20)
    /// Whether nobody answers at all.
    public var isSilent = false
    /// How long a question is waited for before it is asked again.
    static let retry = Duration.seconds(1)

    init() {}

    /// Makes `name` stand for `address`.
    public mutating func add(_ name: String, _ address: IPAddress) {
        records[name.lowercased(), default: []].append(.address(address))
    }

    /// Gives `name` a record.
    public mutating func add(_ name: String, _ record: NameRecord) {
        records[name.lowercased(), default: []].append(record)
    }

    /// The records of a type, as a server would answer.
    func answer(_ name: String, _ type: RecordType) throws(NameError) -> [NameRecord] {
        guard let all = records[name.lowercased()] else { throw .notFound }
        let matching = all.filter { record in
            switch (record, type) {
            case (.address(let address), .a): address.isV4
            case (.address(let address), .aaaa): address.isV6
            case (.text, .txt), (.service, .srv): true
            default: false
            }
        }
        guard !matching.isEmpty else { throw .noRecords }
        return matching
    }
}

extension SimulatedEnvironment {
    /// Asks the world's names. Question and answer pass over the host's line and are lost there like packets.
    public nonisolated(nonsending) func lookUp(
        _ name: String, _ type: RecordType, deadline: Instant
    ) async throws(NameError) -> [NameRecord] {
        do {
            // An answer to an earlier question is as good as one to the last.
            var arrival = Instant.never
            while let host = livingHost {
                arrival = min(arrival, host.askName() ?? .never)
                let next = min(arrival, loop.now + NameZone.retry, deadline)
                try await loop.sleep(until: next)
                guard next < deadline else { throw NameError.timedOut }
                if next == arrival, let host = livingHost { return try host.world.names.answer(name, type) }
            }
            throw NameError.cancelled
        } catch let error as NameError {
            throw error
        } catch {
            throw .cancelled
        }
    }
}

extension Host {
    /// When the answer to a question asked now comes back, or `nil` where question or answer is lost.
    func askName() -> Instant? {
        guard network != nil, !world.names.isSilent else { return nil }
        guard case .arrives(let asked, _) = up.carry(size: 80, at: world.now, random: &world.random) else { return nil }
        let answered = asked + world.names.latency
        guard case .arrives(let back, _) = world.downLines[number].carry(size: 120, at: answered, random: &world.random)
        else {
            return nil
        }
        return back
    }
}
