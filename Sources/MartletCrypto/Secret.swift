internal import CCrypto

/// Bytes that must not leak: a private key, a pre-shared key, a derived key.
///
/// They never change, are wiped when the last copy is released, compare in constant time and are never printed.
/// Copying a `Secret` copies a reference.
///
/// It is `@unchecked Sendable` because nothing writes the bytes after they were first filled.
public struct Secret: @unchecked Sendable {
    let storage: SecretStorage

    /// Exactly `count` bytes, written by `fill` over zeros, in one allocation.
    public init<E: Error>(
        count: Int, fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        storage = SecretStorage.make(count: count)
        try fill(UnsafeMutableRawBufferPointer(start: storage.base, count: count))
    }

    /// A copy of `span`. Whoever holds the original wipes it.
    public init(copying span: RawSpan) {
        self.init(count: span.byteCount) { target in
            span.withUnsafeBytes { target.copyMemory(from: $0) }
        }
    }

    /// `count` bytes drawn from `generator`.
    public init(count: Int, using generator: inout some RandomNumberGenerator) {
        self.init(count: count) { fillRandomly($0, using: &generator) }
    }

    /// How many bytes there are.
    public var count: Int { storage.header }

    /// The bytes, to read where they stand. Whoever copies them takes over the duty to wipe the copy.
    public var span: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: storage.base, count: count))
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Calls `body` with the bytes where they stand. The pointer is valid only inside the call.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafeRawBufferPointer(start: storage.base, count: count))
    }
}

extension Secret: Equatable {
    /// Whether both have the same bytes, in a time that depends on their number alone.
    public static func == (left: Secret, right: Secret) -> Bool {
        left.span.isEqualInConstantTime(to: right.span)
    }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// How many bytes there are, and nothing else about them.
    public var description: String { "Secret(\(count) bytes)" }

    /// The same as `description`.
    public var debugDescription: String { description }

    /// Nothing: `dump` shows no bytes either.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// The memory of a `Secret`: the bytes stand behind the object itself.
final class SecretStorage: ManagedBuffer<Int, UInt8> {
    static func make(count: Int) -> SecretStorage {
        let made = SecretStorage.create(minimumCapacity: count) { _ in count }
        let storage = unsafeDowncast(made, to: SecretStorage.self)
        storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
        return storage
    }

    var base: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(withUnsafeMutablePointerToElements { $0 })
    }

    deinit {
        OPENSSL_cleanse(base, header)
    }
}

extension RawSpan {
    /// Whether both have the same bytes, in a time that depends on their number alone: for secrets and for message
    /// authentication codes.
    public func isEqualInConstantTime(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        return withUnsafeBytes { left in
            other.withUnsafeBytes { right in
                left.count == 0 || CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0
            }
        }
    }
}

/// Fills `target` from `generator`, eight bytes a draw, least significant first.
func fillRandomly(_ target: UnsafeMutableRawBufferPointer, using generator: inout some RandomNumberGenerator) {
    var offset = 0
    while offset < target.count {
        withUnsafeBytes(of: generator.next().littleEndian) { drawn in
            let size = min(drawn.count, target.count - offset)
            UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + size])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: drawn[..<size]))
            offset += size
        }
    }
}
