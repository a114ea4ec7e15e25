internal import CSQLite
internal import MartletWire

/// One connection to a database, and its prepared statements. Every call may block.
///
/// It is used by one thread at a time: by whoever has taken it out of a lock.
final class SQLiteConnection {
    private let handle: OpaquePointer
    private var statements: [UnsafePointer<UInt8>: Statement] = [:]

    /// How long it waits for a lock that another process holds.
    private static let patienceMilliseconds: Int32 = 2000

    /// Opens the file at `path`, which is made where it is missing and not only to be read.
    init(path: String, isReader: Bool) throws(StoreError) {
        handle = try SQLiteConnection.open(
            path, isReader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
        try execute("PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cache_size=-1024")
    }

    /// A database in memory, with the content of the file `image` where that is not empty.
    init(image: Bytes) throws(StoreError) {
        handle = try SQLiteConnection.open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY)
        if !image.isEmpty { try load(image) }
        try execute("PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF")
    }

    deinit {
        for statement in statements.values { statement.end() }
        sqlite3_close_v2(handle)
    }

    private static func open(_ path: String, _ flags: Int32) throws(StoreError) -> OpaquePointer {
        var handle: OpaquePointer?
        let result = sqlite3_open_v2(path, &handle, flags | SQLITE_OPEN_NOMUTEX, nil)
        guard let handle else { throw .memory }
        guard result == SQLITE_OK else {
            let error = StoreError(handle)
            sqlite3_close_v2(handle)
            throw error
        }
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, patienceMilliseconds)
        return handle
    }

    private func load(_ image: Bytes) throws(StoreError) {
        guard let memory = sqlite3_malloc64(UInt64(image.count)) else { throw .memory }
        image.withUnsafeBytes { memory.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count) }
        let flags = UInt32(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE)
        // SQLite frees the memory in every case.
        let result = sqlite3_deserialize(
            handle, "main", memory.assumingMemoryBound(to: UInt8.self), Int64(image.count), Int64(image.count), flags)
        if result != SQLITE_OK { throw StoreError(handle) }
    }

    /// The database as the bytes of a file, which `init(image:)` takes.
    func image() throws(StoreError) -> Bytes {
        var count: sqlite3_int64 = 0
        guard let memory = sqlite3_serialize(handle, "main", &count, 0) else { throw .memory }
        defer { sqlite3_free(memory) }
        // The format's two version bytes, which say WAL for a file: a database in memory cannot have one.
        if count > 19 {
            memory[18] = 1
            memory[19] = 1
        }
        return Bytes(copying: UnsafeRawBufferPointer(start: memory, count: Int(count)))
    }

    /// How many bytes the database has, free ones included.
    func size() throws(StoreError) -> Int {
        Int(try number("SELECT p.page_count * s.page_size FROM pragma_page_count p, pragma_page_size s"))
    }

    /// How many bytes of the database are in use.
    func used() throws(StoreError) -> Int {
        Int(
            try number(
                """
                SELECT (p.page_count - f.freelist_count) * s.page_size
                FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s
                """))
    }

    /// Sees to it that the database never has more than `bytes`, or what it has now: SQLite then says that it is full.
    func limit(to bytes: Int) throws(StoreError) {
        let pageSize = max(512, Int(try number("PRAGMA page_size")))
        try execute("PRAGMA max_page_count=\(max(1, bytes / pageSize))")
    }

    // MARK: Statements

    /// Runs statements that return nothing, and are not worth preparing.
    func execute(_ sql: String) throws(StoreError) {
        if sqlite3_exec(handle, sql, nil, nil, nil) != SQLITE_OK { throw StoreError(handle) }
    }

    /// Runs a statement, prepared when it is first used, and returns how many rows it changed.
    @discardableResult
    func run(_ sql: StaticString, _ values: SQLValue...) throws(StoreError) -> Int {
        let statement = try prepared(sql)
        defer { statement.reset() }
        statement.bind(values)
        while try statement.step(handle) {}
        return Int(sqlite3_changes(handle))
    }

    /// Runs a statement and makes something of each row that it returns.
    func rows<Result>(
        _ sql: StaticString, _ values: SQLValue..., map: (Row) -> Result
    ) throws(StoreError) -> [Result] {
        let statement = try prepared(sql)
        defer { statement.reset() }
        statement.bind(values)
        var results: [Result] = []
        while try statement.step(handle) { results.append(map(statement.row)) }
        return results
    }

    /// Runs a statement and makes something of its first row, if there is one.
    func first<Result>(_ sql: StaticString, _ values: SQLValue..., map: (Row) -> Result) throws(StoreError) -> Result? {
        let statement = try prepared(sql)
        defer { statement.reset() }
        statement.bind(values)
        return try statement.step(handle) ? map(statement.row) : nil
    }

    /// The number that a statement returns first; 0 where it returns nothing.
    func number(_ sql: StaticString, _ values: SQLValue...) throws(StoreError) -> Int64 {
        let statement = try prepared(sql)
        defer { statement.reset() }
        statement.bind(values)
        return try statement.step(handle) ? statement.row.integer(0) : 0
    }

    /// The row that was inserted last.
    var lastRow: Int64 { sqlite3_last_insert_rowid(handle) }

    /// Does `body` wholly or not at all. What it reads is of one moment.
    func transaction<Result>(
        _ begin: String = "BEGIN IMMEDIATE", _ body: () throws(StoreError) -> Result
    ) throws(StoreError) -> Result {
        try execute(begin)
        do throws(StoreError) {
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            // Where SQLite has rolled back by itself there is nothing left to do, and it says so.
            sqlite3_exec(handle, "ROLLBACK", nil, nil, nil)
            throw error
        }
    }

    private func prepared(_ sql: StaticString) throws(StoreError) -> Statement {
        if let statement = statements[sql.utf8Start] { return statement }
        var statement: OpaquePointer?
        let text = UnsafeRawPointer(sql.utf8Start).assumingMemoryBound(to: CChar.self)
        let result = sqlite3_prepare_v3(
            handle, text, Int32(sql.utf8CodeUnitCount), UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard result == SQLITE_OK, let statement else { throw StoreError(handle) }
        let prepared = Statement(handle: statement)
        statements[sql.utf8Start] = prepared
        return prepared
    }
}

extension StoreError {
    /// What the last error of a connection means.
    init(_ handle: OpaquePointer) {
        let code = sqlite3_extended_errcode(handle)
        let words = String(cString: sqlite3_errmsg(handle))
        switch code & 0xff {
        case SQLITE_FULL: self = .full
        case SQLITE_NOMEM: self = .memory
        case SQLITE_CORRUPT, SQLITE_NOTADB: self = .corrupt(words)
        case SQLITE_BUSY, SQLITE_LOCKED: self = .busy
        case SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_PERM, SQLITE_AUTH, SQLITE_NOLFS:
            self = .disk("\(words) (\(code))")
        default: self = .failed(code, words)
        }
    }
}
