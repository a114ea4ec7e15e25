/// Writes protobuf's wire format: one method a field, in the order in which they are called.
///
///     writer.field(1, string: name)
///     if port != 0 { writer.field(2, uint32: port) }
///     writer.field(3) { address in address.field(1, bytes: host) }
///
/// Whether a default value is left out is the caller's choice, since it depends on the message's syntax.
extension Writer {
    /// Begins a field; its value must follow.
    @inlinable
    mutating func tag(_ number: Int, _ type: ProtobufReader.WireType) {
        precondition(number >= 1 && number < 1 << 29, "not a protobuf field number")
        varint(UInt64(number) << 3 | UInt64(type.rawValue))
    }

    /// Appends a `uint64` field.
    @inlinable
    public mutating func field(_ number: Int, uint64 value: UInt64) {
        tag(number, .varint)
        varint(value)
    }

    /// Appends a `uint32` field.
    @inlinable
    public mutating func field(_ number: Int, uint32 value: UInt32) {
        field(number, uint64: UInt64(value))
    }

    /// Appends an `int64` field. A negative number takes ten bytes.
    @inlinable
    public mutating func field(_ number: Int, int64 value: Int64) {
        field(number, uint64: UInt64(bitPattern: value))
    }

    /// Appends an `int32` field. A negative number takes ten bytes.
    @inlinable
    public mutating func field(_ number: Int, int32 value: Int32) {
        field(number, int64: Int64(value))
    }

    /// Appends a `sint64` or `sint32` field, in zigzag.
    @inlinable
    public mutating func field(_ number: Int, sint64 value: Int64) {
        field(number, uint64: UInt64(bitPattern: value << 1 ^ value >> 63))
    }

    /// Appends a `bool` field.
    @inlinable
    public mutating func field(_ number: Int, bool value: Bool) {
        field(number, uint64: value ? 1 : 0)
    }

    /// Appends an enumeration's value.
    @inlinable
    public mutating func field<Value: RawRepresentable>(
        _ number: Int, enumeration value: Value
    ) where Value.RawValue: FixedWidthInteger {
        field(number, int32: Int32(value.rawValue))
    }

    /// Appends a `fixed64` field.
    @inlinable
    public mutating func field(_ number: Int, fixed64 value: UInt64) {
        tag(number, .fixed64)
        littleEndian(value)
    }

    /// Appends a `fixed32` field.
    @inlinable
    public mutating func field(_ number: Int, fixed32 value: UInt32) {
        tag(number, .fixed32)
        littleEndian(value)
    }

    /// Appends a `bytes` field.
    @inlinable
    public mutating func field(_ number: Int, bytes value: RawSpan) {
        tag(number, .lengthDelimited)
        lengthPrefixed(value)
    }

    /// Appends a `bytes` field.
    @inlinable
    public mutating func field(_ number: Int, bytes value: Bytes) {
        field(number, bytes: value.span)
    }

    /// Appends a `string` field.
    @inlinable
    public mutating func field(_ number: Int, string value: String) {
        tag(number, .lengthDelimited)
        varint(UInt64(value.utf8.count))
        utf8(value)
    }

    /// Appends a message field whose fields `write` appends.
    @inlinable
    public mutating func field<E: Error>(_ number: Int, message write: (inout Writer) throws(E) -> Void) throws(E) {
        tag(number, .lengthDelimited)
        try lengthPrefixed(write)
    }

    /// Appends all of `values` packed into one field, or nothing where there are none.
    @inlinable
    public mutating func field(_ number: Int, packed values: some Sequence<UInt64>) {
        var values = values.makeIterator()
        guard let first = values.next() else { return }
        field(number) { packed in
            packed.varint(first)
            while let value = values.next() { packed.varint(value) }
        }
    }
}
