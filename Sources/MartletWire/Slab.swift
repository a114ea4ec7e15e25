/// A fixed block of memory that one producer fills and many `Bytes` look into.
///
/// A slab is written front to back, once: what a `Bytes` covers is never written again, which is why a `Bytes`
/// may be read from any thread. Whoever fills a slab may start over only when it holds the sole reference.
///
/// The memory stands behind the object itself, so a slab is one allocation.
public final class Slab: ManagedBuffer<Int, UInt8> {
    /// The most bytes a slab has room for, since a `Bytes` counts them in 32 bits.
    public static let maximumSize = Int(UInt32.max)

    /// Makes a slab with room for at least `capacity` bytes, uninitialised.
    @inlinable
    public static func make(capacity: Int) -> Slab {
        precondition(capacity >= 0 && capacity <= Int(UInt32.max), "a slab holds 0 to 4 GiB")
        let buffer = Slab.create(minimumCapacity: capacity) { _ in capacity }
        return unsafeDowncast(buffer, to: Slab.self)
    }

    /// How many bytes the slab has room for: what was asked for, which may be less than was allocated.
    @inlinable
    public var size: Int {
        // `header` itself would be checked for exclusive access at each call, and nobody writes it.
        withUnsafeMutablePointerToHeader { $0.pointee }
    }

    /// The first byte. Valid as long as the slab lives.
    @inlinable
    public var base: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(withUnsafeMutablePointerToElements { $0 })
    }
}
