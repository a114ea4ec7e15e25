import MartletWire

/// Addresses in the compact form of BEP 5 and BEP 32: the host and then the port, 6 or 18 bytes.
extension SocketAddress {
    /// The address that all of `compact` is.
    init(compact bytes: RawSpan) throws(WireError) {
        var reader = Reader(bytes)
        guard bytes.byteCount == 6 || bytes.byteCount == 18 else { throw reader.error(.truncated) }
        let ip = try IPAddress(bytes: reader.span(bytes.byteCount - 2))
        self.init(ip, port: try reader.integer())
    }
}

extension Writer {
    /// Appends `address` in compact form.
    mutating func compact(_ address: SocketAddress) {
        self.address(address.ip)
        integer(address.port)
    }
}

/// A node as others tell of it.
struct CompactNode {
    var id: NodeID
    var address: SocketAddress

    /// How many bytes one has in compact form.
    static func size(_ family: IPAddress.Family) -> Int { NodeID.size + family.size + 2 }

    /// Calls `body` with each node of a list; stops at `maximum` and at what is left over of the last one.
    static func forEach(
        in list: RawSpan, _ family: IPAddress.Family, maximum: Int, _ body: (CompactNode) -> Void
    ) {
        var reader = Reader(list)
        for _ in 0..<min(maximum, list.byteCount / size(family)) {
            guard let id = try? NodeID(bytes: reader.span(NodeID.size)),
                let address = try? SocketAddress(compact: reader.span(family.size + 2))
            else { return }
            body(CompactNode(id: id, address: address))
        }
    }
}

/// The peers in an answer.
enum CompactPeers {
    /// Calls `body` with each address of `values`, an encoded list of strings; what is none is passed over.
    static func forEach(in values: RawSpan, maximum: Int, _ body: (SocketAddress) -> Void) {
        guard var reader = try? BencodeReader(values, keyOrder: .any), (try? reader.beginList()) != nil else { return }
        var left = maximum
        while left > 0, (try? reader.nextElement()) == true {
            guard (try? reader.kind()) == .string, let bytes = try? reader.string() else { continue }
            if let address = try? SocketAddress(compact: bytes) {
                body(address)
                left -= 1
            }
        }
    }
}
