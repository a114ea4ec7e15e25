internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// Reads out of a database, in questions that a node has.
///
/// Rows that do not say what they should, which only a hand can have put there, are left out.
struct PeerReader {
    let connection: SQLiteConnection

    /// What stands in `evidence.about` for this node.
    static let thisNode = "self"

    func peers(_ query: PeerQuery) throws(StoreError) -> [PeerSummary] {
        guard let most = query.ofNetwork else { return try page(query) }
        var rest = query
        rest.limit = 1024
        var found: [PeerSummary] = []
        var places: [String: Int] = [:]
        while true {
            let page = try page(rest)
            for peer in page where peer.network.isEmpty || places[peer.network, default: 0] < most {
                guard found.count < query.limit else { return found }
                places[peer.network, default: 0] += 1
                found.append(peer)
            }
            guard page.count == rest.limit, let last = page.last else { return found }
            rest.after = PeerCursor(after: last, in: query.order)
        }
    }

    /// The peers for which `query` asks, from however few networks they are.
    private func page(_ query: PeerQuery) throws(StoreError) -> [PeerSummary] {
        try connection.rows(
            """
            SELECT p.id, p.score, p.first_seen, p.last_seen, p.last_connected, p.kept,
                (SELECT count(*) FROM addresses a WHERE a.peer = p.peer),
                m.sequence, m.name, coalesce(nullif(m.version, ''), p.agent), m.type, m.nat, p.network,
                (SELECT group_concat(t.topic) FROM members t WHERE t.peer = p.peer),
                EXISTS (SELECT 1 FROM members t WHERE t.peer = p.peer AND t.proven IS NOT NULL)
            FROM peers p LEFT JOIN metadata m ON m.peer = p.peer
                AND m.sequence = (SELECT max(sequence) FROM metadata WHERE peer = p.peer)
            WHERE (?1 IS NULL OR EXISTS (SELECT 1 FROM members t WHERE t.topic = ?1 AND t.peer = p.peer))
                AND (?2 IS NULL OR json_valid(m.capabilities)
                    AND EXISTS (SELECT 1 FROM json_each(m.capabilities) WHERE value = ?2))
                AND (?3 IS NULL OR m.type = ?3)
                AND (?4 IS NULL OR EXISTS (SELECT 1 FROM services s WHERE s.name = ?4 AND s.peer = p.peer))
                AND (?5 IS NULL OR (p.last_connected IS NOT NULL) = ?5)
                AND p.score >= ?6 AND p.last_seen >= ?7
                AND (?10 IS NULL OR ?10 = EXISTS (SELECT 1 FROM members t WHERE t.peer = p.peer
                    AND t.proven IS NOT NULL AND (?1 IS NULL OR t.topic = ?1)))
                AND (?15 IS NULL OR p.kept = ?15)
                AND (?11 IS NULL OR p.id IN (SELECT value FROM json_each(?11)))
                AND p.id NOT IN (SELECT value FROM json_each(?12))
                AND (?13 IS NULL OR (CASE ?8 WHEN 0 THEN -p.score WHEN 1 THEN -p.last_seen
                    ELSE -coalesce(p.last_connected, 0) END, p.id) > (?13, ?14))
            ORDER BY CASE ?8 WHEN 0 THEN -p.score WHEN 1 THEN -p.last_seen
                ELSE -coalesce(p.last_connected, 0) END, p.id
            LIMIT ?9
            """, .text(orNull: query.topic.map(hexadecimal)), .text(orNull: query.capability),
            .text(orNull: query.type), .text(orNull: query.service),
            query.wasConnected.map { .integer($0 ? 1 : 0) } ?? .null, .real(query.score ?? -1),
            .integer(query.seenSince?.seconds ?? 0), .integer(query.order.rawValue),
            .integer(max(0, min(10_000, query.limit))), query.isProven.map { .integer($0 ? 1 : 0) } ?? .null,
            .text(orNull: query.among.map(jsonArray)), .text(jsonArray(query.excluding)),
            query.after.map { .real($0.rank) } ?? .null, .text(orNull: query.after?.id.description),
            query.isKept.map { .integer($0 ? 1 : 0) } ?? .null, map: summary
        ).compactMap { $0 }
    }

    private func jsonArray(_ peers: [PeerID]) -> String {
        // Base58 has nothing that would have to be escaped.
        "[" + peers.map { "\"\($0)\"" }.joined(separator: ",") + "]"
    }

    private func summary(_ row: Row) -> PeerSummary? {
        guard let id = PeerID(row.text(0)) else { return nil }
        return PeerSummary(
            id: id, name: row.text(8), version: row.text(9), type: row.text(10), nat: row.text(11),
            sequence: row.optionalInteger(7).map { UInt64(clamping: $0) }, score: row.real(1),
            firstSeen: WallTime(seconds: row.integer(2)), lastSeen: WallTime(seconds: row.integer(3)),
            lastConnected: row.optionalInteger(4).map { WallTime(seconds: $0) }, isKept: row.integer(5) != 0,
            addresses: row.count(6), network: row.text(12),
            topics: row.text(13).split(separator: ",").compactMap { bytes(hexadecimal: String($0)) },
            isProven: row.integer(14) != 0)
    }

    /// All about a peer, as it was at one moment.
    func details(_ id: PeerID) throws(StoreError) -> PeerDetails? {
        try connection.transaction("BEGIN") { () throws(StoreError) in
            let found = try connection.first(
                """
                SELECT p.id, p.score, p.first_seen, p.last_seen, p.last_connected, p.kept,
                    (SELECT count(*) FROM addresses a WHERE a.peer = p.peer),
                    m.sequence, m.name, coalesce(nullif(m.version, ''), p.agent), m.type, m.nat, p.network,
                    (SELECT group_concat(t.topic) FROM members t WHERE t.peer = p.peer),
                    EXISTS (SELECT 1 FROM members t WHERE t.peer = p.peer AND t.proven IS NOT NULL), p.peer
                FROM peers p LEFT JOIN metadata m ON m.peer = p.peer
                    AND m.sequence = (SELECT max(sequence) FROM metadata WHERE peer = p.peer)
                WHERE p.id = ?
                """, .text(id.description)
            ) { (summary($0), $0.integer(15)) }
            guard let (summary, row) = found, let summary else { return nil }
            return PeerDetails(
                summary: summary, addresses: try addresses(row), metadata: try metadata(id, row),
                evidence: try evidence(about: id), quality: try quality(row),
                reasons: try connection.rows(
                    "SELECT reason, points FROM reasons WHERE peer = ? ORDER BY reason", .integer(row)
                ) { ScoreReason(reason: $0.text(0), points: $0.real(1)) })
        }
    }

    /// The addresses of `id`, those to dial first at the front: where it was reached last time and since, the latest
    /// first; then those never tried; then those that failed, the least often in a row first.
    func addresses(of id: PeerID) throws(StoreError) -> [KnownAddress] {
        let row = try connection.first("SELECT peer FROM peers WHERE id = ?", .text(id.description)) { $0.integer(0) }
        guard let row else { return [] }
        return try addresses(row)
    }

    private func addresses(_ row: Int64) throws(StoreError) -> [KnownAddress] {
        try connection.rows(
            """
            SELECT address, source, first_seen, last_seen, successes, failures, failures_in_row, last_success,
                last_failure, last_error
            FROM addresses WHERE peer = ?
            ORDER BY failures_in_row, last_success IS NULL, last_success DESC, last_seen DESC, address
            """, .integer(row)
        ) { row -> KnownAddress? in
            guard let address = Multiaddr(row.text(0)) else { return nil }
            return KnownAddress(
                address: address, source: AddressSource(rawValue: row.text(1)) ?? .peer,
                firstSeen: WallTime(seconds: row.integer(2)), lastSeen: WallTime(seconds: row.integer(3)),
                successes: row.count(4), failures: row.count(5), failuresInRow: row.count(6),
                lastSuccess: row.optionalInteger(7).map { WallTime(seconds: $0) },
                lastFailure: row.optionalInteger(8).map { WallTime(seconds: $0) }, lastError: row.optionalText(9))
        }.compactMap { $0 }
    }

    private func metadata(_ id: PeerID, _ row: Int64) throws(StoreError) -> [PeerMetadata] {
        var records = try connection.rows(
            """
            SELECT sequence, record, name, version, type, nat, capabilities FROM metadata WHERE peer = ?
            ORDER BY sequence DESC
            """, .integer(row)
        ) { row in
            (
                PeerMetadata(
                    peer: id, sequence: UInt64(clamping: row.integer(0)), record: row.blob(1), name: row.text(2),
                    version: row.text(3), type: row.text(4), nat: row.text(5)), row.text(6)
            )
        }
        for index in records.indices {
            records[index].0.capabilities = try connection.rows(
                "SELECT value FROM json_each(CASE WHEN json_valid(?1) THEN ?1 ELSE '[]' END)",
                .text(records[index].1)
            ) { $0.text(0) }
        }
        guard !records.isEmpty else { return [] }
        records[0].0.topics = try connection.rows(
            "SELECT topic FROM topics WHERE peer = ? ORDER BY topic", .integer(row)
        ) { bytes(hexadecimal: $0.text(0)) }.compactMap { $0 }
        records[0].0.members = try connection.rows(
            "SELECT topic FROM members WHERE peer = ? AND said IS NOT NULL ORDER BY topic", .integer(row)
        ) { bytes(hexadecimal: $0.text(0)) }.compactMap { $0 }
        records[0].0.services = try connection.rows(
            "SELECT name, port, description FROM services WHERE peer = ? ORDER BY name, port", .integer(row)
        ) { PeerService(name: $0.text(0), port: UInt16(clamping: $0.integer(1)), description: $0.text(2)) }
        return records.map(\.0)
    }

    /// What was said about `id`, or about this node; the newest first.
    func evidence(about id: PeerID?) throws(StoreError) -> [KnownEvidence] {
        try connection.rows(
            """
            SELECT kind, value, witness, first_said, last_said, times FROM evidence WHERE about = ?
            ORDER BY last_said DESC, kind, value, witness
            """, .text(id?.description ?? Self.thisNode)
        ) { row in
            KnownEvidence(
                evidence: Evidence(about: id, kind: row.text(0), value: row.text(1), witness: row.text(2)),
                firstSaid: WallTime(seconds: row.integer(3)), lastSaid: WallTime(seconds: row.integer(4)),
                times: row.count(5))
        }
    }

    private func quality(_ row: Int64) throws(StoreError) -> [QualityPeriod] {
        try connection.rows(
            """
            SELECT since, seconds, samples, round_trip_total, round_trip_least, round_trip_most, jitter_total,
                packets, lost, bytes_in, bytes_out, connected
            FROM quality WHERE peer = ? ORDER BY since DESC, seconds
            """, .integer(row)
        ) { row in
            let (seconds, samples) = (max(1, row.integer(1)), row.integer(2))
            return QualityPeriod(
                since: WallTime(seconds: row.integer(0)), length: .seconds(seconds), samples: Int(samples),
                roundTrip: samples > 0 ? .microseconds(row.integer(3) / samples) : nil,
                leastRoundTrip: row.optionalInteger(4).map { .microseconds($0) },
                longestRoundTrip: row.optionalInteger(5).map { .microseconds($0) },
                jitter: samples > 0 ? .microseconds(row.integer(6) / samples) : nil, packets: row.count(7),
                lost: row.count(8), bytesIn: row.count(9), bytesOut: row.count(10),
                uptime: min(1, Double(row.integer(11)) / 1000 / Double(seconds)))
        }
    }

    func counts() throws(StoreError) -> StoreCounts {
        let counts = try connection.first(
            """
            SELECT (SELECT count(*) FROM peers), (SELECT count(*) FROM addresses), (SELECT count(*) FROM metadata),
                (SELECT count(*) FROM topics), (SELECT count(*) FROM services), (SELECT count(*) FROM evidence),
                (SELECT count(*) FROM quality), (SELECT count(*) FROM reasons), (SELECT count(*) FROM members)
            """
        ) { row in
            StoreCounts(
                peers: row.count(0), addresses: row.count(1), metadata: row.count(2), topics: row.count(3),
                members: row.count(8), services: row.count(4), evidence: row.count(5), quality: row.count(6),
                reasons: row.count(7))
        }
        return counts ?? StoreCounts()
    }
}

extension WallTime {
    /// So many seconds after the beginning of 1970.
    init(seconds: Int64) {
        let (nanoseconds, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        self.init(nanoseconds: overflow ? (seconds < 0 ? .min : .max) : nanoseconds)
    }
}

/// The bytes that pairs of digits write, or `nil` where they write none.
private func bytes(hexadecimal text: String) -> Bytes? {
    let digits = Array(text.utf8)
    guard digits.count % 2 == 0 else { return nil }
    let bytes = stride(from: 0, to: digits.count, by: 2).map { index in
        UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16)
    }
    return bytes.contains(nil) ? nil : Bytes(bytes.compactMap { $0 })
}
