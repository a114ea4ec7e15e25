internal import CSQLite
internal import MartletWire

/// A value that is bound to a statement.
enum SQLValue {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob(Bytes)

    static func integer(_ number: Int) -> SQLValue { .integer(Int64(number)) }

    static func text(orNull text: String?) -> SQLValue { text.map { .text($0) } ?? .null }
}

/// A prepared statement. Its connection ends it.
struct Statement {
    let handle: OpaquePointer

    func bind(_ values: [SQLValue]) {
        for (index, value) in values.enumerated() {
            let index = Int32(index + 1)
            let result =
                switch value {
                case .null: sqlite3_bind_null(handle, index)
                case .integer(let number): sqlite3_bind_int64(handle, index, number)
                case .real(let number): sqlite3_bind_double(handle, index, number)
                case .text(var text):
                    text.withUTF8 { bytes in
                        bytes.withMemoryRebound(to: CChar.self) { text in
                            csq_bind_text(handle, index, text.baseAddress, Int32(text.count))
                        }
                    }
                case .blob(let bytes):
                    bytes.withUnsafeBytes { csq_bind_blob(handle, index, $0.baseAddress, Int32($0.count)) }
                }
            precondition(result != SQLITE_RANGE, "more values than the statement has places")
        }
    }

    /// Goes to the next row. `false` at the end.
    func step(_ connection: OpaquePointer) throws(StoreError) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw StoreError(connection)
        }
    }

    var row: Row { Row(handle: handle) }

    func reset() { sqlite3_reset(handle) }

    func end() { sqlite3_finalize(handle) }
}

/// The row at which a statement stands. Columns count from 0.
struct Row {
    fileprivate let handle: OpaquePointer

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    func count(_ column: Int32) -> Int { Int(integer(column)) }

    func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

    func real(_ column: Int32) -> Double { sqlite3_column_double(handle, column) }

    /// Text; empty where the column has none.
    func text(_ column: Int32) -> String { optionalText(column) ?? "" }

    func optionalText(_ column: Int32) -> String? {
        guard let text = sqlite3_column_text(handle, column) else { return nil }
        let count = Int(sqlite3_column_bytes(handle, column))
        return String(decoding: UnsafeBufferPointer(start: text, count: count), as: UTF8.self)
    }

    func blob(_ column: Int32) -> Bytes {
        let blob = sqlite3_column_blob(handle, column)
        return Bytes(copying: UnsafeRawBufferPointer(start: blob, count: Int(sqlite3_column_bytes(handle, column))))
    }
}
