internal import MartletRuntime

/// How many rows were forgotten, for their age or for want of room.
public struct PruneCounts: Hashable, Sendable {
    /// Peers, with all about them.
    public var peers = 0
    /// Addresses of peers that stay.
    public var addresses = 0
    /// Evidence.
    public var evidence = 0
    /// Hours of quality that went into days, and days that went.
    public var quality = 0
    /// Judgements.
    public var judgements = 0

    /// No rows.
    public init() {}

    static func += (left: inout PruneCounts, right: PruneCounts) {
        left.peers += right.peers
        left.addresses += right.addresses
        left.evidence += right.evidence
        left.quality += right.quality
        left.judgements += right.judgements
    }
}

extension ChangeWriter {
    /// Forgets what is old, by the rules in `StoreLimits`.
    func prune(_ clock: Int64) throws(StoreError) {
        // A clock that was ahead for a while has left times that never come.
        try connection.run(
            "UPDATE peers SET last_seen = ?1 WHERE last_seen > ?1 + 86400", .integer(clock))
        // Age counts from the newest thing in the database, not from the clock: a node that was off for months, or
        // whose clock has jumped ahead, still has peers to begin with.
        let newest = try connection.number("SELECT coalesce(max(last_seen), 0) FROM peers")
        let now = min(clock, newest + 3600)
        func before(_ age: Duration) -> SQLValue { .integer(now - age.components.seconds) }

        var counts = PruneCounts()
        let old = try connection.rows(
            """
            SELECT peer, id FROM peers WHERE kept = 0
                AND last_seen < CASE WHEN last_connected IS NULL THEN ?1 ELSE ?2 END ORDER BY peer
            """, before(limits.strangerAge), before(limits.peerAge)
        ) { (row: $0.integer(0), id: $0.text(1)) }
        try remove(old)
        counts.peers = old.count
        counts.addresses = try connection.run(
            """
            DELETE FROM addresses WHERE source <> 'configured' AND (
                max(last_seen, coalesce(last_success, 0)) < ?1
                OR failures_in_row >= ?2 AND coalesce(last_success, first_seen) < ?3)
            """, before(limits.addressAge), .integer(limits.failuresInRow), before(limits.failingAddressAge))
        try connection.run(
            "DELETE FROM members WHERE max(coalesce(said, 0), coalesce(proven, 0)) < ?", before(limits.memberAge))
        counts.evidence = try connection.run("DELETE FROM evidence WHERE last_said < ?", before(limits.evidenceAge))
        counts.quality = try pruneQuality(before: before)
        counts.judgements = try pruneJudgements(before(limits.judgementAge), now)
        outcome.pruned += counts
    }

    private func pruneQuality(before: (Duration) -> SQLValue) throws(StoreError) -> Int {
        let hours = before(limits.hourlyQualityAge)
        try connection.run(
            """
            INSERT INTO quality (peer, since, seconds, samples, round_trip_total, round_trip_least, round_trip_most,
                jitter_total, packets, lost, bytes_in, bytes_out, connected)
            SELECT peer, since - since % 86400, 86400, sum(samples), sum(round_trip_total), min(round_trip_least),
                max(round_trip_most), sum(jitter_total), sum(packets), sum(lost), sum(bytes_in), sum(bytes_out),
                sum(connected)
            FROM quality WHERE seconds = 3600 AND since < ?1 GROUP BY peer, since - since % 86400
            ON CONFLICT (peer, since, seconds) DO UPDATE SET
                samples = samples + excluded.samples,
                round_trip_total = round_trip_total + excluded.round_trip_total,
                round_trip_least = min(coalesce(round_trip_least, excluded.round_trip_least),
                    coalesce(excluded.round_trip_least, round_trip_least)),
                round_trip_most = max(coalesce(round_trip_most, excluded.round_trip_most),
                    coalesce(excluded.round_trip_most, round_trip_most)),
                jitter_total = jitter_total + excluded.jitter_total, packets = packets + excluded.packets,
                lost = lost + excluded.lost, bytes_in = bytes_in + excluded.bytes_in,
                bytes_out = bytes_out + excluded.bytes_out, connected = connected + excluded.connected
            """, hours)
        let folded = try connection.run("DELETE FROM quality WHERE seconds = 3600 AND since < ?", hours)
        let dropped = try connection.run(
            "DELETE FROM quality WHERE seconds = 86400 AND since < ?", before(limits.dailyQualityAge))
        return folded + dropped
    }

    private func pruneJudgements(_ before: SQLValue, _ now: Int64) throws(StoreError) -> Int {
        let judged = try connection.rows(
            "SELECT DISTINCT peer FROM reasons WHERE judged < ? ORDER BY peer", before
        ) { $0.integer(0) }
        let dropped = try connection.run("DELETE FROM reasons WHERE judged < ?", before)
        for row in judged { try score(row, now) }
        return dropped
    }

    /// Makes room when there are more peers than there may be, and a little more, so that it is not done each time.
    func evict(_ now: Int64) throws(StoreError) {
        let count = Int(try connection.number("SELECT count(*) FROM peers"))
        guard count > limits.peers else { return }
        _ = try removeWorst(count - limits.peers + limits.peers / 20)
    }

    /// Makes room when the database has more bytes than it may, and a tenth more.
    func evictBytes() throws(StoreError) {
        guard try connection.used() > limits.fileSize else { return }
        while try connection.used() > limits.fileSize / 10 * 9 {
            let count = Int(try connection.number("SELECT count(*) FROM peers"))
            // Only those are left that are never forgotten.
            guard try removeWorst(max(1, count / 20)) > 0 else { return }
        }
    }

    /// Forgets the `count` least valuable peers, and says how many those were.
    private func removeWorst(_ count: Int) throws(StoreError) -> Int {
        let worst = try connection.rows(
            """
            SELECT peer, id FROM peers WHERE kept = 0
            ORDER BY
                coalesce((SELECT max(1 + (m.proven IS NOT NULL)) FROM members m WHERE m.peer = peers.peer), 0),
                last_connected IS NOT NULL, score, last_seen, peer
            LIMIT ?
            """, .integer(Int64(count))
        ) { (row: $0.integer(0), id: $0.text(1)) }
        try remove(worst)
        outcome.pruned.peers += worst.count
        return worst.count
    }

    /// Computes the score of a peer and its reasons anew.
    func score(_ row: Int64, _ now: Int64) throws(StoreError) {
        var facts = PeerScore.Facts()
        let dials = try connection.first(
            "SELECT coalesce(sum(successes), 0), coalesce(sum(failures), 0) FROM addresses WHERE peer = ?",
            .integer(row)
        ) { ($0.count(0), $0.count(1)) }
        (facts.successes, facts.failures) = dials ?? (0, 0)
        let quality = try connection.first(
            """
            SELECT sum(samples), sum(round_trip_total), sum(jitter_total), sum(packets), sum(lost), sum(connected),
                min(since)
            FROM quality WHERE peer = ?1 AND seconds = 3600 AND since > ?2
            """, .integer(row), .integer(now - 86_400)
        ) { ($0.real(0), $0.real(1), $0.real(2), $0.real(3), $0.real(4), $0.real(5), $0.optionalInteger(6)) }
        if let (samples, roundTrip, jitter, packets, lost, connected, since) = quality, let since {
            if samples > 0 {
                facts.roundTrip = roundTrip / samples
                facts.jitter = jitter / samples
            }
            if packets > 0 { facts.loss = lost / packets }
            facts.uptime = connected / 1000 / Double(max(3600, now - since))
        }
        let reasons = PeerScore.reasons(facts)
        try connection.run("DELETE FROM reasons WHERE peer = ? AND judged IS NULL", .integer(row))
        for (reason, points) in reasons {
            try connection.run(
                "INSERT OR REPLACE INTO reasons (peer, reason, points) VALUES (?, ?, ?)", .integer(row),
                .text(reason), .real(points))
        }
        let judged = try connection.rows(
            "SELECT points FROM reasons WHERE peer = ? AND judged IS NOT NULL ORDER BY reason", .integer(row)
        ) { $0.real(0) }
        try connection.run(
            "UPDATE peers SET score = ?2 WHERE peer = ?1", .integer(row),
            .real(PeerScore.score(reasons.map(\.points) + judged)))
    }
}
