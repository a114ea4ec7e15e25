internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

/// What became of a batch.
struct BatchOutcome: Sendable {
    /// How many changes were refused, being older than what is known or about somebody unknown.
    var refused = 0
    /// What was forgotten for its age or for want of room.
    var pruned = PruneCounts()
}

/// Writes changes into a database, a batch in one transaction.
///
/// It belongs to one thread at a time, like its connection.
final class ChangeWriter {
    let connection: SQLiteConnection
    var limits: StoreLimits
    var outcome = BatchOutcome()
    /// Rows of the peers that this batch has met.
    private var rows: [PeerID: Int64] = [:]
    /// Rows of the peers whose score this batch may have changed, in the order of their numbers when they are used.
    private var toScore: Set<Int64> = []
    /// How many peers there are.
    private var peers = 0

    init(_ connection: SQLiteConnection, limits: StoreLimits) throws(StoreError) {
        self.connection = connection
        self.limits = limits
        peers = Int(try connection.number("SELECT count(*) FROM peers"))
    }

    /// Does all of `batch`, or nothing.
    func write(_ batch: [Work]) throws(StoreError) -> BatchOutcome {
        outcome = BatchOutcome()
        forget()
        let before = peers
        do throws(StoreError) {
            try connection.transaction { () throws(StoreError) in
                // First, so that a file that is full already is no reason to refuse what is new.
                try evictBytes()
                for work in batch { try apply(work) }
                let now = batch.map(\.time).max() ?? 0
                // Who has to go is a matter of scores.
                for row in toScore.sorted() { try score(row, now) }
                if peers > limits.peers { try evict(now) }
                try evictBytes()
            }
        } catch {
            peers = before
            forget()
            throw error
        }
        forget()
        return outcome
    }

    private func forget() {
        rows.removeAll(keepingCapacity: true)
        toScore.removeAll(keepingCapacity: true)
    }

    private func apply(_ work: Work) throws(StoreError) {
        let now = work.time
        guard case .change(let change) = work.kind else { return try prune(now) }
        switch change {
        case .seen(let peer): _ = try row(peer, now)
        case .addresses(let peer, let addresses, let source):
            let row = try row(peer, now)
            for address in addresses { try add(address, of: row, source, now) }
        case .connected(let peer, let address):
            let row = try row(peer, now)
            try connection.run("UPDATE peers SET last_connected = ?2 WHERE peer = ?1", .integer(row), .integer(now))
            guard let address else { return }
            try succeeded(address, of: row, now)
        case .met(let peer, let network): try meet(peer, in: network, now)
        case .proved(let peer, let topics): try prove(try row(peer, now), topics, now)
        case .identified(let peer, let agent):
            let changed = try connection.run(
                "UPDATE peers SET agent = ?2 WHERE id = ?1", .text(peer.description), .text(agent))
            if changed == 0 { outcome.refused += 1 }
        case .failed(let peer, let address, let reason): try failed(address, of: peer, reason, now)
        case .metadata(let metadata): try write(metadata, now)
        case .evidence(let evidence): try write(evidence, now)
        case .quality(let peer, let sample): try write(sample, of: try row(peer, now), now)
        case .judged(let peer, let reason, let points): try judge(try row(peer, now), reason, points, now)
        case .kept(let peer, let isKept): try keep(peer, isKept, now)
        case .forgotten(let peer):
            if let row = try knownRow(peer) { try remove([(row, peer.description)]) }
        }
    }

    // MARK: Peers

    func knownRow(_ peer: PeerID) throws(StoreError) -> Int64? {
        if let row = rows[peer] { return row }
        return try connection.first("SELECT peer FROM peers WHERE id = ?", .text(peer.description)) { $0.integer(0) }
    }

    /// The row of `peer`, which was heard of now; it is made where there is none.
    func row(_ peer: PeerID, _ now: Int64) throws(StoreError) -> Int64 {
        if let row = rows[peer] { return row }
        let id = peer.description
        let known = try connection.first("SELECT peer, last_seen FROM peers WHERE id = ?", .text(id)) {
            (row: $0.integer(0), lastSeen: $0.integer(1))
        }
        let row: Int64
        if let known {
            row = known.row
            if known.lastSeen < now {
                try connection.run("UPDATE peers SET last_seen = ?2 WHERE peer = ?1", .integer(row), .integer(now))
            }
        } else {
            try connection.run(
                "INSERT INTO peers (id, first_seen, last_seen) VALUES (?1, ?2, ?2)", .text(id), .integer(now))
            row = connection.lastRow
            peers += 1
        }
        rows[peer] = row
        return row
    }

    /// Removes peers and all about them.
    func remove(_ old: [(row: Int64, id: String)]) throws(StoreError) {
        for peer in old {
            try connection.run("DELETE FROM evidence WHERE about = ?", .text(peer.id))
            try connection.run("DELETE FROM peers WHERE peer = ?", .integer(peer.row))
            toScore.remove(peer.row)
        }
        peers -= old.count
        if !old.isEmpty { rows.removeAll(keepingCapacity: true) }
    }

    // MARK: Addresses

    private func add(
        _ address: Multiaddr, of row: Int64, _ source: AddressSource, _ now: Int64
    ) throws(StoreError) {
        let text = address.description
        let known = try connection.run(
            "UPDATE addresses SET last_seen = max(last_seen, ?3) WHERE peer = ?1 AND address = ?2",
            .integer(row), .text(text), .integer(now))
        if known > 0 { return }
        try connection.run(
            "INSERT INTO addresses (peer, address, source, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?4)",
            .integer(row), .text(text), .text(source.rawValue), .integer(now))
        let count = Int(try connection.number("SELECT count(*) FROM addresses WHERE peer = ?", .integer(row)))
        guard count > limits.addresses else { return }
        // The worst but for the new one, which had no chance yet.
        try connection.run(
            """
            DELETE FROM addresses WHERE peer = ?1 AND address IN (
                SELECT address FROM addresses WHERE peer = ?1 AND address <> ?2
                ORDER BY failures_in_row DESC, last_success IS NOT NULL, last_success, last_seen, address
                LIMIT ?3)
            """, .integer(row), .text(text), .integer(count - limits.addresses))
    }

    private func succeeded(_ address: Multiaddr, of row: Int64, _ now: Int64) throws(StoreError) {
        try add(address, of: row, .connection, now)
        try connection.run(
            """
            UPDATE addresses SET successes = successes + 1, failures_in_row = 0, last_success = ?3
            WHERE peer = ?1 AND address = ?2
            """, .integer(row), .text(address.description), .integer(now))
        toScore.insert(row)
    }

    /// Failing to reach a peer is no news of it, so it makes neither a peer nor an address, nor either younger.
    private func failed(
        _ address: Multiaddr, of peer: PeerID, _ reason: String, _ now: Int64
    ) throws(StoreError) {
        let changed: Int
        if let row = try knownRow(peer) {
            changed = try connection.run(
                """
                UPDATE addresses SET failures = failures + 1, failures_in_row = failures_in_row + 1,
                    last_failure = ?3, last_error = ?4
                WHERE peer = ?1 AND address = ?2
                """, .integer(row), .text(address.description), .integer(now), .text(reason))
            if changed > 0 { toScore.insert(row) }
        } else {
            changed = 0
        }
        if changed == 0 { outcome.refused += 1 }
    }

    // MARK: What peers say

    private func write(_ metadata: PeerMetadata, _ now: Int64) throws(StoreError) {
        let sequence = Int64(clamping: metadata.sequence)
        var newest: Int64?
        if let row = try knownRow(metadata.peer) {
            newest = try connection.first(
                "SELECT sequence FROM metadata WHERE peer = ? ORDER BY sequence DESC LIMIT 1", .integer(row)
            ) { $0.integer(0) }
        }
        // What anyone can replay is no news of the peer.
        if let newest, newest >= sequence {
            outcome.refused += 1
            return
        }
        let row = try row(metadata.peer, now)
        try connection.run(
            """
            INSERT INTO metadata (peer, sequence, received, name, version, type, nat, capabilities, record)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            """, .integer(row), .integer(sequence), .integer(now), .text(metadata.name), .text(metadata.version),
            .text(metadata.type), .text(metadata.nat), .text(jsonArray(metadata.capabilities)),
            .blob(metadata.record))
        if newest != nil {
            try connection.run(
                """
                DELETE FROM metadata WHERE peer = ?1 AND sequence NOT IN (
                    SELECT sequence FROM metadata WHERE peer = ?1 ORDER BY sequence DESC LIMIT ?2)
                """, .integer(row), .integer(limits.records))
            try connection.run("DELETE FROM topics WHERE peer = ?", .integer(row))
            try connection.run("DELETE FROM services WHERE peer = ?", .integer(row))
        }
        try say(row, metadata.members, now)
        for topic in metadata.topics {
            try connection.run(
                "INSERT OR IGNORE INTO topics (topic, peer) VALUES (?, ?)", .text(hexadecimal(topic)), .integer(row))
        }
        for service in metadata.services {
            try connection.run(
                "INSERT OR REPLACE INTO services (peer, name, port, description) VALUES (?, ?, ?, ?)",
                .integer(row), .text(service.name), .integer(Int(service.port)), .text(service.description))
        }
    }

    private func write(_ evidence: Evidence, _ now: Int64) throws(StoreError) {
        if let about = evidence.about, try knownRow(about) == nil {
            outcome.refused += 1
            return
        }
        let about = SQLValue.text(evidence.about?.description ?? PeerReader.thisNode)
        let (kind, value) = (SQLValue.text(evidence.kind), SQLValue.text(evidence.value))
        let witness = SQLValue.text(evidence.witness)
        let known = try connection.run(
            """
            UPDATE evidence SET last_said = max(last_said, ?5), times = times + 1
            WHERE about = ?1 AND kind = ?2 AND value = ?3 AND witness = ?4
            """, about, kind, value, witness, .integer(now))
        if known > 0 { return }
        // The bounds first: what is new stays.
        try connection.run(
            """
            DELETE FROM evidence WHERE about = ?1 AND witness = ?2 AND (kind, value) IN (
                SELECT kind, value FROM evidence WHERE about = ?1 AND witness = ?2
                ORDER BY last_said DESC, kind, value LIMIT -1 OFFSET ?3)
            """, about, witness, .integer(limits.evidenceOfWitness - 1))
        try connection.run(
            """
            DELETE FROM evidence WHERE about = ?1 AND (kind, value, witness) IN (
                SELECT kind, value, witness FROM evidence WHERE about = ?1
                ORDER BY last_said DESC, kind, value, witness LIMIT -1 OFFSET ?2)
            """, about, .integer(limits.evidence - 1))
        try connection.run(
            """
            INSERT INTO evidence (about, kind, value, witness, first_said, last_said) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
            """, about, kind, value, witness, .integer(now))
    }

    // MARK: Quality and judgements

    private func write(_ sample: QualitySample, of row: Int64, _ now: Int64) throws(StoreError) {
        let roundTrip = sample.roundTrip.map { SQLValue.integer($0.nanoseconds / 1000) } ?? .null
        try connection.run(
            """
            INSERT INTO quality (peer, since, seconds, samples, round_trip_total, round_trip_least, round_trip_most,
                jitter_total, packets, lost, bytes_in, bytes_out, connected)
            VALUES (?1, ?2, 3600, ?3 IS NOT NULL, coalesce(?3, 0), ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            ON CONFLICT (peer, since, seconds) DO UPDATE SET
                samples = samples + excluded.samples,
                round_trip_total = round_trip_total + excluded.round_trip_total,
                round_trip_least = min(coalesce(round_trip_least, ?3), coalesce(?3, round_trip_least)),
                round_trip_most = max(coalesce(round_trip_most, ?3), coalesce(?3, round_trip_most)),
                jitter_total = jitter_total + excluded.jitter_total, packets = packets + excluded.packets,
                lost = lost + excluded.lost, bytes_in = bytes_in + excluded.bytes_in,
                bytes_out = bytes_out + excluded.bytes_out, connected = connected + excluded.connected
            """, .integer(row), .integer(now - now % 3600), roundTrip,
            .integer(sample.roundTrip == nil ? 0 : sample.jitter.nanoseconds / 1000), .integer(sample.packets),
            .integer(sample.lost), .integer(sample.bytesIn), .integer(sample.bytesOut),
            .integer(sample.connected.nanoseconds / 1_000_000))
        toScore.insert(row)
    }

    private func judge(_ row: Int64, _ reason: String, _ points: Int, _ now: Int64) throws(StoreError) {
        try connection.run(
            """
            INSERT INTO reasons (peer, reason, points, judged) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (peer, reason) DO UPDATE SET points = excluded.points, judged = excluded.judged
            """, .integer(row), .text("judged: \(reason)"), .real(Double(points)), .integer(now))
        try connection.run(
            """
            DELETE FROM reasons WHERE peer = ?1 AND reason IN (
                SELECT reason FROM reasons WHERE peer = ?1 AND judged IS NOT NULL
                ORDER BY judged DESC, reason LIMIT -1 OFFSET ?2)
            """, .integer(row), .integer(limits.judgements))
        toScore.insert(row)
    }
}

/// A JSON array of texts. They have been bounded, so quotes and backslashes are all that has to be escaped.
private func jsonArray(_ texts: [String]) -> String {
    let quoted = texts.map { text in
        "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
    }
    return "[" + quoted.joined(separator: ",") + "]"
}

/// Two digits for each byte.
func hexadecimal(_ bytes: Bytes) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
