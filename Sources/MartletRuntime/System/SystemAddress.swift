internal import CLinux
internal import Glibc
internal import MartletWire

/// Memory for an address as the kernel writes it, of either family.
struct SystemAddress: ~Copyable {
    /// Room for the larger family's, `sockaddr_in6`.
    static let capacity = MemoryLayout<sockaddr_in6>.size

    let memory: UnsafeMutableRawPointer

    init() {
        memory = .allocate(byteCount: Self.capacity, alignment: 8)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.capacity)
    }

    init(_ address: SocketAddress) {
        self.init()
        _ = Self.store(address, at: memory)
    }

    deinit { memory.deallocate() }

    /// The address that stands there, if it is of a family that we know.
    var value: SocketAddress? { Self.load(memory) }

    /// Writes `address` as the kernel wants it, and says how long that is.
    static func store(_ address: SocketAddress, at memory: UnsafeMutableRawPointer) -> socklen_t {
        memory.storeBytes(of: address.port.bigEndian, toByteOffset: 2, as: UInt16.self)
        guard address.ip.isV6 else {
            memory.storeBytes(of: sa_family_t(AF_INET), as: sa_family_t.self)
            let number = UInt32(truncatingIfNeeded: address.ip.number)
            memory.storeBytes(of: number.bigEndian, toByteOffset: 4, as: UInt32.self)
            memory.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
            return socklen_t(MemoryLayout<sockaddr_in>.size)
        }
        memory.storeBytes(of: sa_family_t(AF_INET6), as: sa_family_t.self)
        memory.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
        memory.storeBytes(of: address.ip.number.bigEndian, toByteOffset: 8, as: UInt128.self)
        memory.storeBytes(of: address.scope, toByteOffset: 24, as: UInt32.self)
        return socklen_t(capacity)
    }

    /// The address that the kernel wrote.
    static func load(_ memory: UnsafeRawPointer) -> SocketAddress? {
        let port = UInt16(bigEndian: memory.load(fromByteOffset: 2, as: UInt16.self))
        switch Int32(memory.load(as: sa_family_t.self)) {
        case AF_INET:
            let number = UInt32(bigEndian: memory.load(fromByteOffset: 4, as: UInt32.self))
            return SocketAddress(IPAddress(v4: number), port: port)
        case AF_INET6:
            let number = UInt128(bigEndian: memory.loadUnaligned(fromByteOffset: 8, as: UInt128.self))
            let scope = memory.load(fromByteOffset: 24, as: UInt32.self)
            return SocketAddress(IPAddress(v6: number), port: port, scope: scope)
        default:
            return nil
        }
    }
}

/// A descriptor of a socket while it is being set up, which is closed where that fails. The one who takes it over
/// closes it.
struct RawSocket: ~Copyable {
    let descriptor: Int32

    /// A non-blocking socket of `address`'s family.
    init(_ address: SocketAddress, _ type: __socket_type, for operation: String) throws(NetworkError) {
        let flags = Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        descriptor = socket(address.ip.isV6 ? AF_INET6 : AF_INET, flags, 0)
        guard descriptor >= 0 else { throw NetworkError(.ofErrno(), operation, address) }
        if address.ip.isV6 { set(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
    }

    deinit { Glibc.close(descriptor) }

    /// The descriptor, which is the caller's to close from now on.
    consuming func take() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    @discardableResult
    func set(_ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
        SocketOption.set(descriptor, level, option, value)
    }

    func bind(to address: SocketAddress) throws(NetworkError) {
        let system = SystemAddress()
        let size = SystemAddress.store(address, at: system.memory)
        guard Glibc.bind(descriptor, system.memory.assumingMemoryBound(to: sockaddr.self), size) == 0 else {
            throw NetworkError(.ofErrno(), "bind", address)
        }
    }
}

/// A socket's options and names, by its descriptor.
enum SocketOption {
    @discardableResult
    static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
        var value = value
        return setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) == 0
    }

    static func get(_ descriptor: Int32, _ level: Int32, _ option: Int32) -> Int32 {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, level, option, &value, &size) == 0 ? value : 0
    }

    /// The address to which the socket is bound.
    static func localAddress(_ descriptor: Int32) -> SocketAddress? {
        let system = SystemAddress()
        var size = socklen_t(SystemAddress.capacity)
        let name = system.memory.assumingMemoryBound(to: sockaddr.self)
        return getsockname(descriptor, name, &size) == 0 ? system.value : nil
    }
}
