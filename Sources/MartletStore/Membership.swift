internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

// Who is remembered for what: a proof, a record, an operator's word, or nothing but having been there.
extension ChangeWriter {
    /// A connection has proven that the peer is on `topics`.
    func prove(_ row: Int64, _ topics: [Bytes], _ now: Int64) throws(StoreError) {
        for topic in topics {
            try connection.run(
                """
                INSERT INTO members (topic, peer, proven) VALUES (?1, ?2, ?3)
                ON CONFLICT (topic, peer) DO UPDATE SET proven = excluded.proven
                """, .text(hexadecimal(topic)), .integer(row), .integer(now))
        }
        let network = try connection.first("SELECT network FROM peers WHERE peer = ?", .integer(row)) { $0.text(0) }
        try bound(network ?? "", around: row)
    }

    /// The peer's newest record says that it is on `topics`. What it proved stays: a record need not name every topic.
    func say(_ row: Int64, _ topics: [Bytes], _ now: Int64) throws(StoreError) {
        try connection.run("DELETE FROM members WHERE peer = ? AND proven IS NULL", .integer(row))
        try connection.run("UPDATE members SET said = NULL WHERE peer = ?", .integer(row))
        for topic in topics {
            try connection.run(
                """
                INSERT INTO members (topic, peer, said) VALUES (?1, ?2, ?3)
                ON CONFLICT (topic, peer) DO UPDATE SET said = excluded.said
                """, .text(hexadecimal(topic)), .integer(row), .integer(now))
        }
    }

    /// The peer was met in `network`.
    func meet(_ peer: PeerID, in network: String, _ now: Int64) throws(StoreError) {
        let row = try row(peer, now)
        try connection.run("UPDATE peers SET network = ?2 WHERE peer = ?1", .integer(row), .text(network))
        try bound(network, around: row)
    }

    /// Forgets whoever of `network` is too much beside the peer in `row`, which is there now.
    ///
    /// Coming costs a stranger nothing, so one network has room for a few of them only, and a new one takes the place of the
    /// one that was not heard of for the longest. Names cost a member of a topic nothing either: a network has room for
    /// more of those, and one that only a record calls a member makes room first, then the one with the lowest score.
    private func bound(_ network: String, around row: Int64) throws(StoreError) {
        guard !network.isEmpty else { return }
        let strangers = try connection.rows(
            """
            SELECT peer, id FROM peers WHERE network = ?1 AND kept = 0
                AND NOT EXISTS (SELECT 1 FROM members m WHERE m.peer = peers.peer)
            ORDER BY peer = ?2 DESC, last_seen DESC, peer DESC LIMIT -1 OFFSET ?3
            """, .text(network), .integer(row), .integer(max(1, limits.strangersOfNetwork))
        ) { (row: $0.integer(0), id: $0.text(1)) }
        let members = try connection.rows(
            """
            SELECT peer, id FROM peers WHERE network = ?1 AND kept = 0
                AND EXISTS (SELECT 1 FROM members m WHERE m.peer = peers.peer)
            ORDER BY peer = ?2 DESC,
                EXISTS (SELECT 1 FROM members m WHERE m.peer = peers.peer AND m.proven IS NOT NULL) DESC, score DESC,
                last_seen DESC, peer DESC LIMIT -1 OFFSET ?3
            """, .text(network), .integer(row), .integer(max(1, limits.membersOfNetwork))
        ) { (row: $0.integer(0), id: $0.text(1)) }
        let surplus = strangers + members
        guard !surplus.isEmpty else { return }
        try remove(surplus)
        outcome.pruned.peers += surplus.count
    }

    /// The peer is never forgotten from now on, or as any other. Beyond the bound, those go back to the others that were
    /// not heard of for the longest.
    func keep(_ peer: PeerID, _ isKept: Bool, _ now: Int64) throws(StoreError) {
        let row = try row(peer, now)
        try connection.run("UPDATE peers SET kept = ?2 WHERE peer = ?1", .integer(row), .integer(isKept ? 1 : 0))
        guard isKept else { return }
        try connection.run(
            """
            UPDATE peers SET kept = 0 WHERE peer IN (
                SELECT peer FROM peers WHERE kept <> 0
                ORDER BY peer = ?1 DESC, last_seen DESC, peer DESC LIMIT -1 OFFSET ?2)
            """, .integer(row), .integer(max(1, limits.kept)))
    }
}
