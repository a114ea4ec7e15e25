import Foundation
import Martlet
import MartletMainline

/// `martlet dht put`.
struct DHTPut: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            "put", abstract: "store a value in the DHT for about two hours (BEP 44)",
            discussion: """
                Without a key the value is stored under its own hash. With the file of a secret Ed25519 key (its 32 bytes, \
                or 64 digits of base16), it is stored under the key and can be replaced later. The number of the version \
                is one more than the one that is found, where none is given.
                """,
            examples: [
                "martlet dht put 'hello, world'",
                "martlet dht put 'second edition' --secret-key author.key --salt news",
            ],
            exitCodes: [
                (.success, "stored"), (.failure, "no node stored it"), (.noNetwork, "no network: nobody answered"),
            ])
    }
    @Argument(help: "the value, a text of at most about 990 bytes") var value: String
    @Option(help: "the file of the author's secret key", valueName: "FILE") var secretKey: String?
    @Option(help: "what tells the author's values apart, at most 64 bytes") var salt: String = ""
    @Option(help: "the number of this version") var seq: Int64?
    @OptionGroup var options: DHTOptions

    private struct Stored: Encodable {
        var key: String
        var target: String
        var nodes: Int
        var seq: Int64?
    }

    func validate() throws {
        _ = try options.bootstrapNodes()
        if secretKey == nil, seq != nil || !salt.isEmpty { throw UsageError("--salt and --seq go with --secret-key") }
        if salt.utf8.count > MainlineItem.longestSalt { throw UsageError("the salt is longer than 64 bytes") }
        if let seq, seq < 0 { throw UsageError("a version's number is not negative") }
        do throws(KRPCError) {
            _ = try MainlineItem(immutable: encoded)
        } catch {
            throw UsageError("the value is too long")
        }
    }

    private var encoded: Bytes { Bencode.string(Bytes(utf8: value)).encoded() }

    /// The key in the file. Throws `UsageError` where there is none.
    private func readKey(_ path: String) throws -> PrivateKey {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw UsageError("the file '\(path)' cannot be read")
        }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        let seed = data.count == 32 ? Bytes(data) : bytes(base16: text) ?? Bytes()
        guard seed.count == 32, let key = try? PrivateKey(ed25519Seed: seed.span) else {
            throw UsageError("the file '\(path)' holds no secret Ed25519 key")
        }
        return key
    }

    func run() async throws {
        let key = try secretKey.map { try readKey($0) }
        let (encoded, salt, seq) = (encoded, Bytes(utf8: salt), seq)
        try await DHTSession.run(options) { session in
            var item = try MainlineItem(immutable: encoded)
            if let key {
                var sequence = seq
                if sequence == nil {
                    let target = MainlineItem.target(key: key.publicKey.data.span, salt: salt)
                    let search = session.dht.item(target, salt: salt)
                    try await session.follow(search) { try await search.end() }
                    sequence = (search.item?.author?.sequence ?? 0) + 1
                }
                item = try MainlineItem(mutable: encoded, sequence: sequence ?? 1, salt: salt, signedBy: key)
            }
            let search = session.dht.put(item)
            try await session.follow(search) { try await search.end() }
            let stored = search.reports.reduce(0) { $0 + $1.stored }
            let name = item.author.map { base16($0.key) } ?? "\(item.target)"
            try session.show(
                Stored(key: name, target: "\(item.target)", nodes: stored, seq: item.author?.sequence), name)
            session.note("stored by \(stored) nodes")
            return stored > 0 ? .success : .failure
        }
    }
}

/// The bytes that digits of base16 write, or `nil`.
func bytes(base16 text: String) -> Bytes? {
    let digits = Array(text.utf8)
    guard digits.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
        let pair = String(decoding: digits[index...index + 1], as: UTF8.self)
        guard !pair.hasPrefix("+"), !pair.hasPrefix("-"), let byte = UInt8(pair, radix: 16) else { return nil }
        bytes.append(byte)
    }
    return Bytes(bytes)
}

/// Bytes in base16.
func base16(_ bytes: Bytes) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
