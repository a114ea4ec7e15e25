import MartletWire

/// A line of the mesh's protocol between two connected peers.
public enum MeshLine: Hashable, Sendable {
    /// Asks for a `pong`.
    case ping
    /// Answers a `ping`.
    case pong
    /// Asks for the peers that the other knows.
    case requestPeers
    /// The peers that one knows, as far as they can be read and are no more than `MeshLine.mostAddresses`.
    case peers([MeshAddress])
    /// The peer is connected already.
    case duplicate
    /// No more peers are taken.
    case full
    /// Everything else is said by a person.
    case chat(String)

    /// How many addresses of one list are read, and written.
    public static let mostAddresses = 256

    private static let peersWord = "PEERS:"

    /// The line that `text` is, without its end. Blanks around a word of the protocol do not count.
    init(_ text: String) {
        let word = text.trimmed
        switch word {
        case "PING": self = .ping
        case "PONG": self = .pong
        case "REQUEST_PEERS": self = .requestPeers
        case "DUPLICATE": self = .duplicate
        case "MAX_PEERS": self = .full
        case _ where word.utf8.starts(with: Self.peersWord.utf8): self = .peers(Self.addresses(in: word))
        default: self = .chat(text)
        }
    }

    /// As it stands on the wire, without its end.
    public var text: String {
        switch self {
        case .ping: "PING"
        case .pong: "PONG"
        case .requestPeers: "REQUEST_PEERS"
        case .peers(let addresses):
            Self.peersWord + addresses.prefix(Self.mostAddresses).map(\.description).joined(separator: ",")
        case .duplicate: "DUPLICATE"
        case .full: "MAX_PEERS"
        case .chat(let text): text
        }
    }

    /// The same with its end.
    var bytes: Bytes { Bytes(utf8: text + "\n") }

    private static func addresses(in word: Substring) -> [MeshAddress] {
        var addresses: [MeshAddress] = []
        // Split by hand, for a list may be ten thousand entries long and only its beginning is wanted.
        var rest = word.utf8.dropFirst(peersWord.utf8.count)
        for _ in 0..<mostAddresses where !rest.isEmpty {
            let entry = rest.prefix { $0 != UInt8(ascii: ",") }
            if let address = MeshAddress(Substring(entry).trimmed) { addresses.append(address) }
            rest = rest[entry.endIndex...].dropFirst()
        }
        return addresses
    }
}

extension MeshLine {
    /// Why a text cannot be said to the mesh.
    public enum Unsayable: Error, Hashable, Sendable {
        /// There is nothing in it.
        case empty
        /// It has more than one line.
        case severalLines
        /// Its line would be longer than any peer has to read.
        case tooLong
        /// The protocol has a meaning of its own for it.
        case protocolWord(String)
    }

    /// The line that says `text`, or why there is none.
    public static func saying(_ text: String) throws(Unsayable) -> MeshLine {
        if text.trimmed.isEmpty { throw .empty }
        if text.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D }) { throw .severalLines }
        if text.utf8.count >= LineBuffer.longestLine { throw .tooLong }
        let line = MeshLine(text)
        guard case .chat = line else {
            if case .peers = line { throw .protocolWord(peersWord) }
            throw .protocolWord(line.text)
        }
        return line
    }
}

extension MeshLine.Unsayable: CustomStringConvertible {
    /// The reason as a sentence.
    public var description: String {
        switch self {
        case .empty: "there is nothing to say"
        case .severalLines: "a message is one line"
        case .tooLong: "a message has fewer than \(LineBuffer.longestLine) bytes"
        case .protocolWord(let word):
            "\(word) is a word of the mesh's protocol: peers would act on it and show nothing"
        }
    }
}

/// How a peer introduces itself: `ID:NAME`, the first line each way.
struct Greeting: Hashable, Sendable {
    /// How long the line may be.
    static let longest = 1024

    /// What the peer is called by others' programs: `peer-8001`.
    var id: String
    /// What the peer is called by people. It may have colons, and anything else that fits in a line.
    var name: String

    init(id: String, name: String) {
        self.id = id
        self.name = name
    }

    /// The greeting that `text` is, or `nil`.
    init?(_ text: String) {
        guard text.utf8.count <= Self.longest, let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else {
            return nil
        }
        let id = text[..<colon].trimmed
        guard !id.isEmpty, !id.utf8.contains(UInt8(ascii: " ")), id != "PEERS" else { return nil }
        let name = text[text.utf8.index(after: colon)...].trimmed
        self.init(id: String(id), name: String(name.isEmpty ? id : name))
    }

    /// The greeting of the node that listens on `port`.
    init(port: UInt16, name: String?) {
        id = "peer-\(port)"
        self.name = name ?? id
    }

    var bytes: Bytes { Bytes(utf8: "\(id):\(name)\n") }

    /// The port on which the peer listens, by its id.
    var port: UInt16? {
        guard id.utf8.starts(with: "peer-".utf8), let port = UInt16(id.dropFirst(5)), port != 0 else { return nil }
        return port
    }
}

extension Substring {
    /// Without the blanks around it.
    fileprivate var trimmed: Substring {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }
        let start = utf8.firstIndex { !isBlank($0) } ?? endIndex
        let end = utf8[start...].lastIndex { !isBlank($0) }.map { utf8.index(after: $0) } ?? start
        return self[start..<end]
    }
}

extension String {
    fileprivate var trimmed: Substring { self[...].trimmed }
}
