/// A bencode value (BEP 3) held in memory, for tests and tools. Protocols read with `BencodeReader`.
public enum Bencode: Hashable, Sendable {
    /// A whole number.
    case integer(Int64)
    /// Bytes, text or not.
    case string(Bytes)
    /// Values one after the other.
    case list([Bencode])
    /// Keys with their values, in the order in which they were read.
    case dictionary([Entry])

    /// A key of a dictionary with its value.
    public struct Entry: Hashable, Sendable {
        /// The key.
        public var key: Bytes
        /// What stands under it.
        public var value: Bencode

        /// A key with its value.
        public init(_ key: Bytes, _ value: Bencode) {
            self.key = key
            self.value = value
        }
    }

    /// The value that all of `bytes` is. Its strings share their memory; lists of the shortest values take some twenty
    /// times the memory that they are written in. Throws what `BencodeReader` throws, and `trailingBytes`.
    public init(
        _ bytes: Bytes, keyOrder: BencodeReader.KeyOrder = .ascending, maximumSize: Int = BencodeReader.defaultSize
    ) throws(WireError) {
        var reader = try BencodeReader(bytes.span, keyOrder: keyOrder, maximumSize: maximumSize)
        self = try Bencode(&reader, of: bytes)
        try reader.expectEnd()
    }

    /// As deep as the reader goes, which is bounded.
    private init(_ reader: inout BencodeReader, of bytes: Bytes) throws(WireError) {
        switch try reader.kind() {
        case .integer:
            self = .integer(try reader.integer())
        case .string:
            let count = try reader.string().byteCount
            self = .string(bytes.slice(reader.position - count..<reader.position))
        case .list:
            var elements: [Bencode] = []
            try reader.beginList()
            while try reader.nextElement() { elements.append(try Bencode(&reader, of: bytes)) }
            self = .list(elements)
        case .dictionary:
            var entries: [Entry] = []
            try reader.beginDictionary()
            while let key = try reader.nextKey() {
                let count = key.bytes.byteCount
                let key = bytes.slice(reader.position - count..<reader.position)
                entries.append(Entry(key, try Bencode(&reader, of: bytes)))
            }
            self = .dictionary(entries)
        }
    }

    /// What stands under `key`, or `nil` where there is nothing or this is not a dictionary.
    public subscript(key: String) -> Bencode? {
        guard case .dictionary(let entries) = self else { return nil }
        return entries.first { $0.key == Bytes(utf8: key) }?.value
    }

    /// The value as it is sent, with every dictionary's keys in ascending order.
    public func encoded() -> Bytes {
        var writer = BencodeWriter()
        write(to: &writer)
        return writer.finish()
    }

    /// Appends the value, with every dictionary's keys in ascending order. Of a key that is there twice, the last
    /// value is written.
    public func write(to writer: inout BencodeWriter) {
        switch self {
        case .integer(let value):
            writer.integer(value)
        case .string(let value):
            writer.string(value)
        case .list(let elements):
            writer.list { list in
                for element in elements { element.write(to: &list) }
            }
        case .dictionary(let entries):
            // The sort is stable, so among equal keys the last one stays last.
            let sorted = entries.sorted { $0.key < $1.key }
            writer.dictionary { dictionary in
                for (index, entry) in sorted.enumerated()
                where index + 1 == sorted.count || sorted[index + 1].key != entry.key {
                    dictionary.key(entry.key)
                    entry.value.write(to: &dictionary)
                }
            }
        }
    }
}
