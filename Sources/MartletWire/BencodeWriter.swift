/// Writes bencode (BEP 3) in its only form.
///
///     var writer = BencodeWriter()
///     writer.dictionary { query in
///         query.key("q")
///         query.string("ping")
///         query.key("t")
///         query.string(transaction)
///     }
///     let message = writer.finish()
///
/// Keys must come in ascending order; debug builds check it. Whoever writes keys that are not his own sorts them, as
/// `Bencode` does.
public struct BencodeWriter: ~Copyable {
    private var writer: Writer
    /// Where the bytes of the innermost dictionary's last key stand, once there is one.
    private var lastKey: Range<Int>?

    /// An empty writer with room for `capacity` bytes before it has to grow.
    public init(capacity: Int = 0) {
        writer = Writer(capacity: capacity)
    }

    /// What has been written, without a copy. The writer is used up.
    public consuming func finish() -> Bytes { writer.finish() }

    /// Appends an integer.
    public mutating func integer(_ value: Int64) {
        writer.byte(UInt8(ascii: "i"))
        if value < 0 { writer.byte(UInt8(ascii: "-")) }
        writer.decimal(value.magnitude)
        writer.byte(UInt8(ascii: "e"))
    }

    /// Appends a string.
    public mutating func string(_ value: RawSpan) {
        writer.decimal(UInt64(value.byteCount))
        writer.byte(UInt8(ascii: ":"))
        writer.bytes(value)
    }

    /// Appends a string.
    public mutating func string(_ value: Bytes) { string(value.span) }

    /// Appends the UTF-8 bytes of `text` as a string.
    public mutating func string(_ text: String) { string(text.utf8Span.span.bytes) }

    /// Appends `value`, which is bencode already.
    public mutating func raw(_ value: RawSpan) { writer.bytes(value) }

    /// Appends a list of the values that `write` appends.
    public mutating func list<E: Error>(_ write: (inout BencodeWriter) throws(E) -> Void) throws(E) {
        writer.byte(UInt8(ascii: "l"))
        try write(&self)
        writer.byte(UInt8(ascii: "e"))
    }

    /// Appends a dictionary of what `write` appends: a key and a value in turn.
    public mutating func dictionary<E: Error>(_ write: (inout BencodeWriter) throws(E) -> Void) throws(E) {
        let outerKey = lastKey
        lastKey = nil
        writer.byte(UInt8(ascii: "d"))
        try write(&self)
        writer.byte(UInt8(ascii: "e"))
        lastKey = outerKey
    }

    /// Appends a key of the innermost dictionary; its value must follow.
    public mutating func key(_ key: RawSpan) {
        string(key)
        assert(isAscending(key), "keys must be in ascending order")
        lastKey = writer.count - key.byteCount..<writer.count
    }

    /// Appends a key of the innermost dictionary; its value must follow.
    public mutating func key(_ key: Bytes) { self.key(key.span) }

    /// Appends a key of the innermost dictionary; its value must follow.
    public mutating func key(_ key: String) { self.key(key.utf8Span.span.bytes) }

    private func isAscending(_ key: RawSpan) -> Bool {
        guard let lastKey else { return true }
        return writer.span.extracting(lastKey).compare(to: key) < 0
    }
}
