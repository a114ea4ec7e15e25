public import MartletWire

/// A name that servers of names can be asked for (RFC 1035 §2.3.4), and what is known of it without asking.
///
/// Its labels are made of ASCII letters, digits, hyphens and underscores. Other alphabets are written in their ASCII
/// form (`xn--…`) by whoever shows and reads them: nothing is translated here.
struct DomainName: Sendable {
    /// The name as it was given.
    let text: String

    /// Checks `text`, which may end with the root's dot.
    init(_ text: String) throws(NameError) {
        let bare = text.hasSuffix(".") ? text.dropLast() : text[...]
        guard !bare.isEmpty, bare.utf8.count <= 253 else { throw .malformed }
        for label in bare.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...63).contains(label.count), label.allSatisfy(Self.isAllowed) else { throw .malformed }
        }
        self.text = text
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }

    /// Whether it is a name of this host itself, for which no server is asked (RFC 6761 §6.3).
    var isLocalhost: Bool {
        let lowercased = text.lowercased()
        let bare = lowercased.hasSuffix(".") ? lowercased.dropLast() : lowercased[...]
        return bare == "localhost" || bare.hasSuffix(".localhost")
    }

    /// What `text` stands for without any server: an address written as such, and this host.
    static func known(_ text: String, _ type: RecordType) throws(NameError) -> [NameRecord]? {
        if let address = IPAddress(text) {
            guard type == (address.isV4 ? .a : .aaaa) else { throw .noRecords }
            return [.address(address)]
        }
        guard try DomainName(text).isLocalhost else { return nil }
        switch type {
        case .a: return [.address(.loopbackV4)]
        case .aaaa: return [.address(.loopbackV6)]
        case .txt, .srv: throw .noRecords
        }
    }
}

/// How names are looked up.
public struct NameOptions: Hashable, Sendable {
    /// The servers to ask; those that the system is configured with where there are none here.
    public var servers: [SocketAddress] = []
    /// How long the first try waits for a server; each further one waits twice as long.
    public var firstTimeout: Duration = .milliseconds(1500)
    /// How often each server is tried before it begins anew; the deadline ends it.
    public var tries = 3
    /// How many questions are out at once.
    public var maximumInFlight = 128
    /// How many more may wait for their turn.
    public var maximumWaiting = 4096

    /// The defaults, or other servers.
    public init(servers: [SocketAddress] = []) {
        self.servers = servers
    }
}
