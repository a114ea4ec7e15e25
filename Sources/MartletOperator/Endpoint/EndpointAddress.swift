internal import Foundation
internal import MartletCrypto
public import MartletWire

/// Where an operator's endpoint serves, and by what it knows its own people.
public struct EndpointAddress: Sendable {
    /// The port of `--http 127.0.0.1` alone.
    public static let usualPort: UInt16 = 9464

    /// Where it listens; port 0 is any.
    public var address: SocketAddress
    /// What clients must know.
    public var token: AccessToken?

    /// An endpoint at `text`: `HOST:PORT`, `HOST`, `:PORT` or `PORT`, with an IP address or `localhost` for the host,
    /// which is 127.0.0.1 where there is none. One that others can reach must have a token.
    public init(_ text: String, token: AccessToken? = nil) throws(OperatorError) {
        guard let address = Self.address(text) else {
            throw OperatorError(
                .address, "'\(text)' is nothing to serve HTTP at; write it like 127.0.0.1:\(Self.usualPort)")
        }
        guard address.ip.unmapped.isLoopback || token != nil else {
            throw OperatorError(
                .unprotected,
                "HTTP at \(address) would be open to others; give a file with a token (operator.token_file), or serve"
                    + " at 127.0.0.1:\(address.port)")
        }
        self.address = address
        self.token = token
    }

    private static func address(_ text: String) -> SocketAddress? {
        let text = text.replacing("localhost", with: "127.0.0.1", maxReplacements: text.hasPrefix("localhost") ? 1 : 0)
        if let port = UInt16(text.hasPrefix(":") ? text.dropFirst() : text[...]) {
            return SocketAddress(.loopbackV4, port: port)
        }
        let host = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        if let ip = IPAddress(host) { return SocketAddress(ip, port: usualPort) }
        return SocketAddress(text)
    }
}

/// What an operator's endpoint knows its own people by: `Authorization: Bearer TOKEN`.
public struct AccessToken: Sendable {
    /// The least and the most bytes of a token.
    public static let lengths = 16...1024

    private let secret: Secret

    /// The token `text`. Throws where it is too short to be one, too long, or has other characters than printable
    /// ASCII.
    public init(_ text: String) throws(OperatorError) {
        guard Self.lengths.contains(text.utf8.count) else {
            throw OperatorError(
                .file,
                "a token has \(Self.lengths.lowerBound) to \(Self.lengths.upperBound) characters, and this one"
                    + " has \(text.utf8.count); make one with: openssl rand -hex 32")
        }
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw OperatorError(.file, "a token has only letters, digits and signs of ASCII, and no blanks")
        }
        secret = Secret(copying: text.utf8.span.bytes)
    }

    /// The token in the file at `path`, which nobody else may read. White space around it does not count.
    public init(file path: String) throws(OperatorError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw OperatorError(.file, "the token's file \(path) cannot be read: \(wordsOfErrno())")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw OperatorError(.file, "the token's file \(path) is no file")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw OperatorError(.file, "the token's file \(path) can be read by others; run: chmod 600 '\(path)'")
        }
        guard status.st_size <= 4096 else { throw OperatorError(.file, "the token's file \(path) is too large") }
        let text = String(decoding: wholeFile(descriptor), as: UTF8.self)
        do throws(OperatorError) {
            try self.init(text.trimmingCharacters(in: .whitespacesAndNewlines))
        } catch {
            throw OperatorError(.file, "the token's file \(path) has none: \(error.message)")
        }
    }

    /// Whether the field `Authorization` has it. The time that takes depends on the length alone.
    func isIn(_ field: String?) -> Bool {
        guard let field else { return false }
        let words = field.split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer" else { return false }
        let given = Secret(copying: String(words[1].drop { $0 == " " }).utf8.span.bytes)
        return given == secret
    }
}
