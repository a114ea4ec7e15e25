internal import CLinux
internal import Glibc
internal import MartletWire

/// What the kernel tells of a datagram beside its bytes: ancillary data as `recvmsg` writes it (`cmsg(3)`).
struct ReceivedControl {
    /// The address of this host to which the datagram came.
    private(set) var localAddress: IPAddress?
    private(set) var ecn = ECN.notCapable
    /// How long each of several datagrams is that came as one; the last may be shorter.
    private(set) var segmentSize: Int?

    private static let headerSize = MemoryLayout<cmsghdr>.size

    /// Reads `memory`, which the kernel has filled.
    init(_ memory: UnsafeRawBufferPointer) {
        var offset = 0
        while offset + Self.headerSize <= memory.count {
            let size = memory.load(fromByteOffset: offset, as: Int.self)
            guard size >= Self.headerSize, size <= memory.count - offset else { return }
            let level = memory.load(fromByteOffset: offset + 8, as: Int32.self)
            let type = memory.load(fromByteOffset: offset + 12, as: Int32.self)
            let start = offset + Self.headerSize
            take(level, type, UnsafeRawBufferPointer(rebasing: memory[start..<offset + size]))
            offset += (size + 7) & ~7
        }
    }

    @inline(__always)
    private mutating func take(_ level: Int32, _ type: Int32, _ data: UnsafeRawBufferPointer) {
        switch (level, type) {
        case (Int32(IPPROTO_UDP), UDP_GRO) where data.count >= 4:
            segmentSize = Int(data.load(as: Int32.self))
        case (Int32(IPPROTO_IP), IP_PKTINFO) where data.count >= 12:
            // struct in_pktinfo: interface, local address, the header's destination.
            localAddress = IPAddress(v4: UInt32(bigEndian: data.load(fromByteOffset: 4, as: UInt32.self)))
        case (Int32(IPPROTO_IPV6), IPV6_PKTINFO) where data.count >= 20:
            localAddress = IPAddress(v6: UInt128(bigEndian: data.loadUnaligned(as: UInt128.self)))
        case (Int32(IPPROTO_IP), IP_TOS) where data.count >= 1:
            ecn = ECN(rawValue: data.load(as: UInt8.self) & 3) ?? .notCapable
        case (Int32(IPPROTO_IPV6), IPV6_TCLASS) where data.count >= 4:
            ecn = ECN(rawValue: UInt8(truncatingIfNeeded: data.load(as: Int32.self) & 3)) ?? .notCapable
        default:
            break
        }
    }
}

/// What the kernel is told of a datagram beside its bytes, written for `sendmsg`.
struct SentControl {
    /// Room for all that there is to tell.
    static let capacity = 128

    let memory: UnsafeMutableRawPointer
    private(set) var count = 0

    /// Writes into `memory`, which has room for `capacity` bytes.
    init(_ memory: UnsafeMutableRawPointer) { self.memory = memory }

    mutating func segmentSize(_ size: Int) {
        add(Int32(IPPROTO_UDP), UDP_SEGMENT, UInt16(truncatingIfNeeded: size))
    }

    mutating func ecn(_ ecn: ECN, isV6: Bool) {
        if isV6 {
            add(Int32(IPPROTO_IPV6), IPV6_TCLASS, Int32(ecn.rawValue))
        } else {
            add(Int32(IPPROTO_IP), IP_TOS, Int32(ecn.rawValue))
        }
    }

    mutating func source(_ address: IPAddress) {
        if address.isV6 {
            let data = begin(Int32(IPPROTO_IPV6), IPV6_PKTINFO, size: 20)
            data.storeBytes(of: address.number.bigEndian, as: UInt128.self)
            data.storeBytes(of: 0, toByteOffset: 16, as: UInt32.self)
        } else {
            let data = begin(Int32(IPPROTO_IP), IP_PKTINFO, size: 12)
            data.storeBytes(of: 0, as: UInt64.self)
            data.storeBytes(
                of: UInt32(truncatingIfNeeded: address.number).bigEndian, toByteOffset: 4, as: UInt32.self)
            data.storeBytes(of: 0, toByteOffset: 8, as: UInt32.self)
        }
    }

    private mutating func add<Value: BitwiseCopyable>(_ level: Int32, _ type: Int32, _ value: Value) {
        begin(level, type, size: MemoryLayout<Value>.size).storeBytes(of: value, as: Value.self)
    }

    private mutating func begin(_ level: Int32, _ type: Int32, size: Int) -> UnsafeMutableRawPointer {
        let header = memory + count
        header.storeBytes(of: 16 + size, as: Int.self)
        header.storeBytes(of: level, toByteOffset: 8, as: Int32.self)
        header.storeBytes(of: type, toByteOffset: 12, as: Int32.self)
        count += 16 + ((size + 7) & ~7)
        return header + 16
    }
}
