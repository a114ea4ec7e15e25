public import MartletWire

extension Multiaddr {
    /// One protocol of an address with its value.
    public struct Component: Hashable, Sendable {
        /// Which protocol.
        public let `protocol`: AddressProtocol
        /// Its value in binary form, without the number of its bytes; empty where it has none.
        public let value: Bytes

        init(unchecked name: AddressProtocol, _ value: Bytes = Bytes()) {
            self.protocol = name
            self.value = value
        }

        /// A protocol with its value in binary form.
        public init(_ name: AddressProtocol, _ value: Bytes = Bytes()) throws(WireError) {
            if let size = name.value.size, size != value.count {
                throw WireError(value.count < size ? .truncated : .trailingBytes, at: min(value.count, size))
            }
            try name.value.check(value.span)
            self.init(unchecked: name, value)
        }

        /// A protocol with the value that the whole of `text` writes; a Unix socket's path begins with its slash.
        public init(_ name: AddressProtocol, parsing text: String) throws(WireError) {
            var writer = Writer()
            try name.value.parse(text.utf8.span.bytes, into: &writer)
            let written = writer.finish()
            guard name.value.size == nil else {
                try self.init(name, written)
                return
            }
            var reader = Reader(written.span)
            _ = try reader.varint()
            self.init(unchecked: name, written.slice(reader.position..<written.count))
        }

        /// An address of either family.
        public static func ip(_ address: IPAddress) -> Component {
            var writer = Writer(capacity: 16)
            writer.address(address)
            return Component(unchecked: address.isV4 ? .ip4 : .ip6, writer.finish())
        }

        /// TCP at a port.
        public static func tcp(_ port: UInt16) -> Component {
            Component(unchecked: .tcp, [UInt8(port >> 8), UInt8(port & 0xFF)])
        }

        /// UDP at a port.
        public static func udp(_ port: UInt16) -> Component {
            Component(unchecked: .udp, [UInt8(port >> 8), UInt8(port & 0xFF)])
        }

        /// A peer.
        public static func p2p(_ peer: PeerID) -> Component {
            Component(unchecked: .p2p, peer.bytes)
        }

        /// QUIC.
        public static let quicV1 = Component(unchecked: .quicV1)
        /// TLS.
        public static let tls = Component(unchecked: .tls)
        /// Noise.
        public static let noise = Component(unchecked: .noise)
        /// WebSocket.
        public static let ws = Component(unchecked: .ws)
        /// WebTransport.
        public static let webtransport = Component(unchecked: .webtransport)
        /// WebRTC without signalling.
        public static let webrtcDirect = Component(unchecked: .webrtcDirect)
        /// WebRTC, signalled through a relay.
        public static let webrtc = Component(unchecked: .webrtc)
        /// Through the relay before it.
        public static let p2pCircuit = Component(unchecked: .p2pCircuit)
    }

    /// The protocols of an address, outermost first. Going through them allocates nothing.
    public struct Components: Sequence, IteratorProtocol {
        private let bytes: Bytes
        private var position = 0

        init(_ bytes: Bytes) {
            self.bytes = bytes
        }

        /// The next protocol with its value.
        public mutating func next() -> Component? {
            let bytes = bytes
            var walk = AddressWalk(bytes.span, from: position)
            // The bytes were checked, so the only other answer is the end.
            guard let step = try? walk.next() else { return nil }
            position = walk.end
            return Component(unchecked: step, bytes.slice(walk.value))
        }
    }

    /// The protocols and their values, outermost first.
    public var components: Components { Components(bytes) }

    /// An address of these protocols, outermost first. There must be one at least, a path only at the end, and no more
    /// bytes than `maximumSize`.
    public init(_ components: Component...) {
        let bytes = Multiaddr.joined(Bytes(), components)
        do throws(MultiaddrError) {
            try self.init(bytes)
        } catch {
            preconditionFailure("not an address: \(error)")
        }
    }

    /// TCP at an address; an interface's number becomes a zone.
    public static func tcp(_ address: SocketAddress) -> Multiaddr {
        Multiaddr(at: address, .tcp(address.port))
    }

    /// UDP at an address; an interface's number becomes a zone.
    public static func udp(_ address: SocketAddress) -> Multiaddr {
        Multiaddr(at: address, .udp(address.port))
    }

    private init(at address: SocketAddress, _ port: Component) {
        if address.ip.isV6, address.scope != 0 {
            let zone = Component(unchecked: .ip6zone, Bytes(utf8: String(address.scope)))
            self.init(zone, .ip(address.ip), port)
        } else {
            self.init(.ip(address.ip), port)
        }
    }

    /// The address with these protocols inside it. Throws where that is too long, or behind a path.
    public func appending(_ components: Component...) throws(MultiaddrError) -> Multiaddr {
        try Multiaddr(Multiaddr.joined(bytes, components))
    }

    /// The address with `inner` inside it. Throws where that is too long, or behind a path.
    public func encapsulating(_ inner: Multiaddr) throws(MultiaddrError) -> Multiaddr {
        var writer = Writer(capacity: bytes.count + inner.bytes.count)
        writer.bytes(bytes)
        writer.bytes(inner.bytes)
        return try Multiaddr(writer.finish())
    }

    /// What stands before the last occurrence of `inner`: all of the address where it doesn't occur, `nil` where
    /// it begins with it.
    public func decapsulating(_ inner: Multiaddr) -> Multiaddr? {
        prefix(
            before: last { start, _ in
                start + inner.bytes.count <= bytes.count
                    && bytes.span.extracting(start..<start + inner.bytes.count).isEqual(to: inner.bytes.span)
            })
    }

    /// What stands before the last `name`: all of the address where it doesn't occur, `nil` where it begins with it.
    public func decapsulating(_ name: AddressProtocol) -> Multiaddr? {
        prefix(before: last { $1 == name })
    }

    /// Whether the protocol occurs.
    public func contains(_ name: AddressProtocol) -> Bool {
        last { $1 == name } != nil
    }

    /// Where the last protocol begins that meets the condition.
    private func last(where matches: (_ start: Int, _ name: AddressProtocol) -> Bool) -> Int? {
        var walk = AddressWalk(bytes.span)
        var found: Int?
        while let step = try? walk.next() {
            if matches(walk.start, step) { found = walk.start }
        }
        return found
    }

    private func prefix(before start: Int?) -> Multiaddr? {
        guard let start else { return self }
        return start == 0 ? nil : Multiaddr(unchecked: bytes.slice(0..<start))
    }

    private static func joined(_ bytes: Bytes, _ components: [Component]) -> Bytes {
        var writer = Writer(capacity: components.reduce(bytes.count) { $0 + $1.value.count + 4 })
        writer.bytes(bytes)
        for component in components {
            writer.varint(UInt64(component.protocol.rawValue))
            if component.protocol.value.size == nil { writer.varint(UInt64(component.value.count)) }
            writer.bytes(component.value)
        }
        return writer.finish()
    }
}

extension Multiaddr.Component: CustomStringConvertible {
    /// The component as it stands in an address: `/tcp/80`.
    public var description: String { Multiaddr(self).description }
}
