import Foundation
import MartletIdentity
import MartletRuntime
import MartletSimulator
import MartletStore
import MartletWire
import Testing

@Suite("The peer database's file")
struct FileTests {
    /// The first version of the schema, as it was: not to be changed with the code.
    private static let version1 = """
        PRAGMA journal_mode=WAL;
        CREATE TABLE peers (peer INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, first_seen INTEGER NOT NULL,
            last_seen INTEGER NOT NULL, last_connected INTEGER, kept INTEGER NOT NULL DEFAULT 0) STRICT;
        CREATE INDEX peers_by_last_seen ON peers (last_seen);
        CREATE TABLE addresses (peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE, address TEXT NOT NULL,
            source TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
            successes INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, last_success INTEGER,
            last_failure INTEGER, last_error TEXT, PRIMARY KEY (peer, address)) STRICT, WITHOUT ROWID;
        CREATE TABLE metadata (peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE, sequence INTEGER NOT NULL,
            received INTEGER NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, type TEXT NOT NULL,
            nat TEXT NOT NULL, capabilities TEXT NOT NULL, record BLOB NOT NULL, UNIQUE (peer, sequence)) STRICT;
        CREATE TABLE topics (topic TEXT NOT NULL, peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE,
            PRIMARY KEY (topic, peer)) STRICT, WITHOUT ROWID;
        CREATE INDEX topics_by_peer ON topics (peer);
        CREATE TABLE services (peer INTEGER NOT NULL REFERENCES peers ON DELETE CASCADE, name TEXT NOT NULL,
            port INTEGER NOT NULL, description TEXT NOT NULL, PRIMARY KEY (peer, name, port)) STRICT, WITHOUT ROWID;
        CREATE INDEX services_by_name ON services (name);
        CREATE TABLE evidence (about TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, witness TEXT NOT NULL,
            first_said INTEGER NOT NULL, last_said INTEGER NOT NULL, times INTEGER NOT NULL DEFAULT 1,
            PRIMARY KEY (about, kind, value, witness)) STRICT, WITHOUT ROWID;
        PRAGMA application_id=1299475572;
        PRAGMA user_version=1;
        """

    @Test("a file of version 1 is brought up to date, and what was in it is still there")
    func migration() async throws {
        let folder = try Folder()
        let path = folder.path + "/peers.sqlite"
        try {
            let hand = try ByHand(path)
            try hand.run(Self.version1)
            try hand.run(
                """
                INSERT INTO peers VALUES (1, '\(peer(1))', 100, 1700000000, 1600000000, 1);
                INSERT INTO addresses VALUES (1, '\(address(1))', 'dht', 100, 200, 3, 2, 190, 180, NULL);
                INSERT INTO addresses VALUES (1, '\(address(2))', 'dht', 100, 200, 0, 2, NULL, 180, 'refused');
                INSERT INTO addresses VALUES (1, '\(address(3))', 'dht', 100, 200, 5, 2, 170, 180, 'refused');
                INSERT INTO metadata VALUES (1, 7, 150, 'ant', '1.0', 'public', 'none', '["relay"]', x'0102');
                INSERT INTO topics VALUES ('0a0b', 1);
                INSERT INTO services VALUES (1, 'web', 80, 'pages');
                INSERT INTO evidence VALUES ('self', 'observed', '1.2.3.4', 'somebody', 100, 200, 3);
                """)
        }()
        try await withEnvironment(folder) { environment in
            let events = Events()
            let store = try await PeerStore.open(environment) { events.add($0) }
            #expect(events.all == [.migrated(from: 1, to: 3)])
            let details = try #require(try await store.peer(peer(1)))
            #expect(details.summary.name == "ant" && details.summary.isKept && details.summary.score == 50)
            #expect(details.summary.lastConnected?.seconds == 1_600_000_000)
            #expect(details.addresses.map(\.address) == [address(1), address(3), address(2)])
            #expect(details.addresses.map(\.failuresInRow) == [0, 1, 2])
            #expect(details.metadata.first?.record == [1, 2] && details.metadata.first?.topics == [[10, 11]])
            #expect(try await store.evidence(about: nil).first?.times == 3)
            #expect(details.summary.topics == [] && !details.summary.isProven)
            store.record([.quality(peer(1), QualitySample(packets: 5)), .connected(peer(1), address(2))])
            store.record([.proved(peer(1), topics: [[1]]), .met(peer(1), network: "192.0.2.0/24")])
            try await store.flush()
            #expect(try await store.peers(matching: PeerQuery(topic: [1], isProven: true)).map(\.id) == [peer(1)])
            try await store.close()
            #expect(try await store.reopened(environment).peer(peer(1))?.quality.count == 1)
        }
        #expect(try ByHand(path).rows("PRAGMA user_version") == ["3"])
        #expect(try ByHand(path).rows("PRAGMA integrity_check") == ["ok"])
    }

    @Test("a file of a newer program, or of another one, is refused and left alone")
    func refused() async throws {
        for (sql, expected) in [
            ("\(Self.version1) PRAGMA user_version=99;", StoreError.newer(version: 99)),
            ("CREATE TABLE songs (name TEXT);", .foreign),
        ] {
            let folder = try Folder()
            try { try ByHand(folder.path + "/peers.sqlite").run(sql) }()
            let before = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/peers.sqlite"))
            try await withEnvironment(folder) { environment in
                #expect(await failure { _ = try await PeerStore.open(environment) } == expected)
                #expect(await failure { _ = try await PeerStore.open(environment, path: "../x") } == .badPath)
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/peers.sqlite")) == before)
            #expect(folder.names == ["peers.sqlite"])
        }
    }

    private static func isSetAside(_ event: StoreEvent?) -> Bool {
        if case .setAside(_, .corrupt) = event { true } else { false }
    }

    @Test(
        "a damaged file is kept aside under another name and a new one begun, which is told",
        arguments: ["garbage", "torn", "scribbled"])
    func damaged(how: String) async throws {
        let folder = try Folder()
        let path = folder.path + "/peers.sqlite"
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            for number in 0..<500 { store.record(.addresses(peer(number), [address(number)], .dht)) }
            try await store.close()
        }
        var data = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(data.count > 20 * 4096)
        switch how {
        case "garbage": data = Data((0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 77) })
        case "torn": data = data.prefix(data.count / 2)
        default: for offset in 4096..<5 * 4096 { data[offset] = UInt8(truncatingIfNeeded: offset &* 31) }
        }
        try data.write(to: URL(fileURLWithPath: path))
        let damaged = data
        try await withEnvironment(folder) { environment in
            let events = Events()
            let store = try await PeerStore.open(environment) { events.add($0) }
            #expect(events.all.count == 1 && Self.isSetAside(events.all.first))
            guard case .setAside(let aside, _) = events.all.first else { return }
            #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + aside)) == damaged)
            #expect(try await store.counts().peers == 0)
            store.record(.seen(peer(1)))
            try await store.close()
            #expect(try await store.reopened(environment).counts().peers == 1)
        }
        #expect(folder.names.filter { $0.contains(".damaged-") }.count == 1)
    }

    @Test("a file that is damaged while it is in use is set aside too, and what was recorded goes into the new one")
    func damagedInUse() async throws {
        let folder = try Folder()
        let path = folder.path + "/peers.sqlite"
        try await withEnvironment(folder) { environment in
            let events = Events()
            let setUp = try await PeerStore.open(environment)
            for number in 0..<5000 { setUp.record(.addresses(peer(number), [address(number)], .dht)) }
            try await setUp.close()
            let store = try await PeerStore.open(environment) { events.add($0) }
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            let size = try file.seekToEnd()
            try file.seek(toOffset: 4096)
            try file.write(contentsOf: Data(repeating: 0xA5, count: Int(size) - 4096))
            try file.close()
            for number in 0..<3000 { store.record(.seen(peer(number))) }
            try await store.flush()
            #expect(events.all.count == 1 && Self.isSetAside(events.all.first))
            #expect(store.trouble == nil)
            #expect(try await store.counts().peers == 3000)
            try await store.close()
        }
        #expect(try ByHand(path).rows("SELECT count(*) FROM peers") == ["3000"])
    }

    @Test("a reader that finds the file damaged has it set aside")
    func damagedForReader() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            let events = Events()
            let setUp = try await PeerStore.open(environment)
            for number in 0..<5000 { setUp.record(.addresses(peer(number), [address(number)], .dht)) }
            try await setUp.close()
            let store = try await PeerStore.open(environment) { events.add($0) }
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.path + "/peers.sqlite"))
            let size = try file.seekToEnd()
            try file.seek(toOffset: 4096)
            try file.write(contentsOf: Data(repeating: 0xA5, count: Int(size) - 4096))
            try file.close()
            let error = await failure { _ = try await store.peer(peer(17)) }
            guard case .corrupt = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            while events.all.isEmpty { try await environment.loop.sleep(for: .milliseconds(1)) }
            #expect(Self.isSetAside(events.all.first))
            store.record(.seen(peer(1)))
            try await store.flush()
            #expect(try await store.counts().peers == 1)
            try await store.close()
        }
    }

    @Test("of damaged files the newest three are kept")
    func fewAside() throws {
        let host = try inWorld { environment in
            for _ in 0..<6 {
                try await environment.files.replace("db/peers", with: Bytes(utf8: "garbage"), isPrivate: true)
                let store = try await PeerStore.open(environment, path: "db/peers")
                try await store.close()
                try await environment.loop.sleep(for: .seconds(2))
            }
        }
        #expect(host.disk.files.keys.filter { $0.hasPrefix("db/peers.damaged-") }.count == 3)
        #expect(host.disk.files["db/peers.damaged-1767225610"] != nil)
    }

    @Test("another process that holds the database for long makes the store wait, and nothing is lost")
    func held() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            let events = Events()
            let store = try await PeerStore.open(environment) { events.add($0) }
            store.record(.seen(peer(1)))
            try await store.flush()
            let hand = try ByHand(folder.path + "/peers.sqlite")
            try hand.run("BEGIN IMMEDIATE")
            store.record(.seen(peer(2)))
            #expect(await failure { try await store.flush() } == .busy)
            #expect(try await store.counts().peers == 1)
            try hand.run("COMMIT")
            try await store.flush()
            #expect(try await store.counts().peers == 2)
            #expect(events.all == [.failing(.busy), .recovered(lost: 0)])
            try await store.close()
        }
    }

    @Test("the queries that the documentation shows run, on the schema that it shows")
    func documentation() async throws {
        let folder = try Folder()
        try await withEnvironment(folder) { environment in
            let store = try await PeerStore.open(environment)
            store.record([
                .addresses(peer(1), [address(1), address(2)], .dht), .connected(peer(1), address(1)),
                metadata(1, sequence: 1, name: "ant", capabilities: ["relay"], services: [PeerService(name: "web")]),
                .failed(peer(1), address(2), "timed out"),
                .quality(peer(1), QualitySample(roundTrip: .milliseconds(20), packets: 10, connected: .seconds(60))),
                .evidence(Evidence(kind: "observed-address", value: "1.2.3.4", witness: "\(peer(1))")),
            ])
            try await store.close()
        }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("Documentation/Database.md"), encoding: .utf8)
        let queries = text.components(separatedBy: "```sql\n").dropFirst().map {
            $0.components(separatedBy: "```")[0]
        }
        #expect(queries.count >= 3)
        let hand = try ByHand(folder.path + "/peers.sqlite")
        for query in queries { #expect(try !hand.rows(query).isEmpty, "\(query)") }
        for table in try hand.rows("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')") {
            #expect(text.contains("`\(table)`"), "\(table) is not documented")
            for column in try hand.rows("SELECT name FROM pragma_table_info('\(table)')") {
                #expect(text.contains("`\(column)`"), "\(table).\(column) is not documented")
            }
        }
    }
}

extension PeerStore {
    /// The same file, opened again.
    func reopened(_ environment: any Environment) async throws -> PeerStore {
        try await PeerStore.open(environment, path: path)
    }
}
