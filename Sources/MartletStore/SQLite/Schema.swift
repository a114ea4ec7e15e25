/// The tables, how each version of them came out of the one before, and what is done to a file before it is used.
///
/// What the columns mean stands in Documentation/Database.md. A version that was released is never changed: what is
/// new becomes the next one.
enum Schema {
    /// What marks a file as a peer database of Martlet: `Mtlt`.
    static let applicationID: Int64 = 0x4D74_6C74

    /// The version that this code works with.
    static var version: Int { migrations.count }

    /// Sees to it that the database is one of ours, whole, and of this version. Returns the version that it had; 0 for
    /// a new one.
    static func prepare(_ connection: SQLiteConnection, isFile: Bool) throws(StoreError) -> Int {
        let objects = try connection.number("SELECT count(*) FROM sqlite_schema")
        if objects > 0 {
            guard try connection.number("PRAGMA application_id") == applicationID else { throw .foreign }
        }
        let found = objects > 0 ? Int(try connection.number("PRAGMA user_version")) : 0
        guard found <= version else { throw .newer(version: found) }
        if objects > 0 {
            let verdict = try connection.first("PRAGMA quick_check(1)") { $0.text(0) }
            guard verdict == "ok" else { throw .corrupt(verdict ?? "no verdict") }
        }
        if isFile {
            // Safe against the end of the process at any moment. After a loss of power the newest batches may be
            // missing, but the file is whole: what is in it can be learnt again, so it need not cost a flush each.
            try connection.execute(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304")
        }
        for number in found..<version {
            try connection.transaction { () throws(StoreError) in
                try connection.execute(migrations[number])
                try connection.execute("PRAGMA application_id=\(applicationID); PRAGMA user_version=\(number + 1)")
            }
        }
        return found
    }

    private static let migrations = [version1, version2, version3]

    private static let version1 = """
        CREATE TABLE peers (
            peer INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            first_seen INTEGER NOT NULL,
            last_seen INTEGER NOT NULL,
            last_connected INTEGER,
            kept INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX peers_by_last_seen ON peers (last_seen);

        CREATE TABLE addresses (
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            address TEXT NOT NULL,
            source TEXT NOT NULL,
            first_seen INTEGER NOT NULL,
            last_seen INTEGER NOT NULL,
            successes INTEGER NOT NULL DEFAULT 0,
            failures INTEGER NOT NULL DEFAULT 0,
            last_success INTEGER,
            last_failure INTEGER,
            last_error TEXT,
            PRIMARY KEY (peer, address)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE metadata (
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            sequence INTEGER NOT NULL,
            received INTEGER NOT NULL,
            name TEXT NOT NULL,
            version TEXT NOT NULL,
            type TEXT NOT NULL,
            nat TEXT NOT NULL,
            capabilities TEXT NOT NULL,
            record BLOB NOT NULL,
            UNIQUE (peer, sequence)
        ) STRICT;

        CREATE TABLE topics (
            topic TEXT NOT NULL,
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            PRIMARY KEY (topic, peer)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX topics_by_peer ON topics (peer);

        CREATE TABLE services (
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            name TEXT NOT NULL,
            port INTEGER NOT NULL,
            description TEXT NOT NULL,
            PRIMARY KEY (peer, name, port)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX services_by_name ON services (name);

        CREATE TABLE evidence (
            about TEXT NOT NULL,
            kind TEXT NOT NULL,
            value TEXT NOT NULL,
            witness TEXT NOT NULL,
            first_said INTEGER NOT NULL,
            last_said INTEGER NOT NULL,
            times INTEGER NOT NULL DEFAULT 1,
            PRIMARY KEY (about, kind, value, witness)
        ) STRICT, WITHOUT ROWID;
        """

    private static let version2 = """
        ALTER TABLE peers ADD COLUMN score REAL NOT NULL DEFAULT 50;

        ALTER TABLE addresses ADD COLUMN failures_in_row INTEGER NOT NULL DEFAULT 0;
        UPDATE addresses SET failures_in_row = CASE WHEN last_success IS NULL THEN failures ELSE 1 END
            WHERE last_failure IS NOT NULL AND last_failure >= coalesce(last_success, 0);

        CREATE TABLE reasons (
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            reason TEXT NOT NULL,
            points REAL NOT NULL,
            judged INTEGER,
            PRIMARY KEY (peer, reason)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE quality (
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            since INTEGER NOT NULL,
            seconds INTEGER NOT NULL,
            samples INTEGER NOT NULL,
            round_trip_total INTEGER NOT NULL,
            round_trip_least INTEGER,
            round_trip_most INTEGER,
            jitter_total INTEGER NOT NULL,
            packets INTEGER NOT NULL,
            lost INTEGER NOT NULL,
            bytes_in INTEGER NOT NULL,
            bytes_out INTEGER NOT NULL,
            connected INTEGER NOT NULL,
            PRIMARY KEY (peer, since, seconds)
        ) STRICT, WITHOUT ROWID;

        CREATE VIEW known_peers AS
            SELECT p.peer, p.id, m.name, m.version, m.type, m.nat, m.capabilities, m.sequence, p.score, p.kept,
                datetime(p.first_seen, 'unixepoch') AS first_seen, datetime(p.last_seen, 'unixepoch') AS last_seen,
                datetime(p.last_connected, 'unixepoch') AS last_connected,
                (SELECT count(*) FROM addresses a WHERE a.peer = p.peer) AS addresses
            FROM peers p LEFT JOIN metadata m ON m.peer = p.peer
                AND m.sequence = (SELECT max(sequence) FROM metadata WHERE peer = p.peer);

        CREATE VIEW connection_quality AS
            SELECT p.id, datetime(q.since, 'unixepoch') AS since, q.seconds, q.samples,
                round(q.round_trip_total / 1000.0 / nullif(q.samples, 0), 3) AS round_trip_ms,
                round(q.jitter_total / 1000.0 / nullif(q.samples, 0), 3) AS jitter_ms,
                round(100.0 * q.lost / nullif(q.packets, 0), 2) AS loss_percent,
                q.bytes_in, q.bytes_out,
                round(100.0 * min(q.connected, q.seconds * 1000) / (q.seconds * 1000), 1) AS uptime_percent
            FROM quality q JOIN peers p USING (peer);
        """

    private static let version3 = """
        ALTER TABLE peers ADD COLUMN agent TEXT NOT NULL DEFAULT '';
        ALTER TABLE peers ADD COLUMN network TEXT NOT NULL DEFAULT '';
        CREATE INDEX peers_by_network ON peers (network);

        CREATE TABLE members (
            topic TEXT NOT NULL,
            peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            said INTEGER,
            proven INTEGER,
            PRIMARY KEY (topic, peer)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX members_by_peer ON members (peer);

        DROP VIEW known_peers;
        CREATE VIEW known_peers AS
            SELECT p.peer, p.id, m.name, coalesce(nullif(m.version, ''), p.agent) AS version, m.type, m.nat,
                m.capabilities, m.sequence, p.score, p.kept,
                datetime(p.first_seen, 'unixepoch') AS first_seen, datetime(p.last_seen, 'unixepoch') AS last_seen,
                datetime(p.last_connected, 'unixepoch') AS last_connected,
                (SELECT count(*) FROM addresses a WHERE a.peer = p.peer) AS addresses
            FROM peers p LEFT JOIN metadata m ON m.peer = p.peer
                AND m.sequence = (SELECT max(sequence) FROM metadata WHERE peer = p.peer);
        """
}
