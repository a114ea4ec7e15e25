/// Why the peer database could not do what it was asked.
public enum StoreError: Error, Hashable, Sendable {
    /// The disk is full, or the quota is.
    case full
    /// The file cannot be opened, read or written, in the system's or SQLite's words.
    case disk(String)
    /// The file is no database any more, in SQLite's words.
    case corrupt(String)
    /// The file is of a newer Martlet, which has this version of the schema; it is left alone.
    case newer(version: Int)
    /// The file is another program's database; it is left alone.
    case foreign
    /// The machine has no memory left.
    case memory
    /// Another process holds the database for long.
    case busy
    /// The path leads out of the environment's files.
    case badPath
    /// The store has been closed.
    case closed
    /// The conversation was cancelled, or the environment has been shut down.
    case cancelled
    /// SQLite refused a statement, by its number and its words: a mistake of this room.
    case failed(Int32, String)

    /// Whether it is the doing of the disk or of the machine, so that trying again later makes sense.
    var mayPass: Bool {
        switch self {
        case .full, .disk, .busy, .memory: true
        default: false
        }
    }
}

extension StoreError: CustomStringConvertible {
    /// A sentence for a log line.
    public var description: String {
        switch self {
        case .full: "the disk is full"
        case .disk(let words): "the disk fails: \(words)"
        case .corrupt(let words): "the file is damaged: \(words)"
        case .newer(let version): "the database has schema version \(version), which is newer than this program"
        case .foreign: "the file is the database of another program"
        case .memory: "there is no memory left"
        case .busy: "another process holds the database"
        case .badPath: "the path of the database leads out of the data directory"
        case .closed: "the peer database has been closed"
        case .cancelled: "cancelled"
        case .failed(let number, let words): "SQLite error \(number): \(words)"
        }
    }
}

/// What happened to a store that an operator should know. Each is logged as well.
public enum StoreEvent: Hashable, Sendable {
    /// The file had an older version of the schema and was brought up to date.
    case migrated(from: Int, to: Int)
    /// The file was damaged: it is kept as `path`, and a new one was begun.
    case setAside(path: String, reason: StoreError)
    /// Nothing can be written to the disk. The store goes on in memory and tries again.
    case failing(StoreError)
    /// The disk works again. What was recorded meanwhile is on it, but for `lost` changes that found no room in memory.
    case recovered(lost: Int)
    /// Changes were given up, for what the error says.
    case lost(Int, StoreError)
}
