internal import CQUIC
internal import MartletWire

/// Two addresses in the form that ngtcp2 takes and gives them in, at a stable place.
final class QUICPath {
    let storage: UnsafeMutablePointer<ngtcp2_path_storage>

    init() {
        storage = .allocate(capacity: 1)
        storage.initialize(to: ngtcp2_path_storage())
        ngtcp2_path_storage_zero(storage)
    }

    deinit {
        storage.deallocate()
    }

    /// The path, whose addresses stand in `storage`.
    var path: UnsafeMutablePointer<ngtcp2_path> {
        UnsafeMutableRawPointer(storage).assumingMemoryBound(to: ngtcp2_path.self)
    }

    /// Sets both addresses. They must be of one family.
    func set(local: SocketAddress, remote: SocketAddress) {
        set(&storage.pointee.path.local, local)
        set(&storage.pointee.path.remote, remote)
    }

    var local: SocketAddress { SocketAddress(storage.pointee.path.local) }
    var remote: SocketAddress { SocketAddress(storage.pointee.path.remote) }

    private func set(_ target: inout ngtcp2_addr, _ address: SocketAddress) {
        let number = address.ip.number
        cq_address_set(
            &target, address.ip.isV6 ? 1 : 0, UInt64(truncatingIfNeeded: number >> 64),
            UInt64(truncatingIfNeeded: number), address.port, address.scope)
    }
}

extension SocketAddress {
    /// An address that ngtcp2 gives.
    init(_ address: ngtcp2_addr) {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var port: UInt16 = 0
        var scope: UInt32 = 0
        let isV6 = withUnsafePointer(to: address) { cq_address_get($0, &high, &low, &port, &scope) } != 0
        let ip =
            isV6 ? IPAddress(v6: UInt128(high) << 64 | UInt128(low)) : IPAddress(v4: UInt32(truncatingIfNeeded: low))
        self.init(ip, port: port, scope: scope)
    }
}
