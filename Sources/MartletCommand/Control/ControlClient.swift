import Foundation
import MartletOperator

/// Talks to a running node by its control socket: one request on one connection, in HTTP/1.0, so that an answer ends
/// with its connection.
struct ControlClient {
    /// How long an answer may take to begin; connecting to a peer takes longest.
    private static let patience = 60
    /// The longest answer that is read whole.
    private static let longest = 64 << 20

    let path: String

    /// What was answered.
    struct Answer {
        var status: Int
        var body: Data

        /// The body as a `Shape`.
        func value<Shape: Decodable>(_ shape: Shape.Type) throws -> Shape {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(shape, from: body)
        }
    }

    /// Asks and waits for the whole answer.
    func ask(_ method: String = "GET", _ target: String, body: Data = Data()) throws -> Answer {
        let connection = try Connection(path)
        try connection.send(request(method, target, body))
        var bytes = Data()
        while let more = try connection.receive() {
            bytes += more
            guard bytes.count <= Self.longest else { throw ControlTrouble.strange("its answer does not end") }
        }
        let (status, rest) = try Self.head(of: bytes)
        return Answer(status: status, body: rest)
    }

    /// Asks and gives `each` the answer's lines as they come, until it returns `false` or there are no more.
    func lines(_ target: String, _ each: (Data) throws -> Bool) throws {
        let connection = try Connection(path)
        try connection.send(request("GET", target, Data()))
        var bytes = Data()
        var isInBody = false
        while let more = try connection.receive(forever: isInBody) {
            bytes += more
            if !isInBody {
                guard bytes.firstRange(of: Data("\r\n\r\n".utf8)) != nil else { continue }
                let (status, rest) = try Self.head(of: bytes)
                guard status == 200 else { throw ControlTrouble.strange("it answers \(status)") }
                (bytes, isInBody) = (rest, true)
            }
            while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Data(bytes[bytes.startIndex..<end])
                bytes = Data(bytes[(end + 1)...])
                guard try each(line) else { return }
            }
        }
    }

    private func request(_ method: String, _ target: String, _ body: Data) -> Data {
        Data("\(method) \(target) HTTP/1.0\r\nHost: localhost\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body
    }

    private static func head(of bytes: Data) throws -> (status: Int, rest: Data) {
        guard let end = bytes.firstRange(of: Data("\r\n\r\n".utf8)),
            let word = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: " ").dropFirst()
                .first,
            let status = Int(word)
        else { throw ControlTrouble.strange("it says something else than HTTP") }
        return (status, Data(bytes[end.upperBound...]))
    }

    /// A connection to the socket, which is closed when it is released.
    private final class Connection {
        private let descriptor: Int32

        init(_ path: String) throws {
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { throw ControlTrouble.system(wordsOfError()) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else { throw ControlTrouble.nobody }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let isConnected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
                }
            }
            guard isConnected else {
                switch errno {
                case ENOENT, ECONNREFUSED, ENOTDIR: throw ControlTrouble.nobody
                default: throw ControlTrouble.system(wordsOfError())
                }
            }
        }

        deinit { close(descriptor) }

        func send(_ bytes: Data) throws {
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(
                        descriptor, $0.baseAddress.unsafelyUnwrapped + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { throw ControlTrouble.strange("it hung up") }
                sent += count
            }
        }

        /// What comes next, or `nil` at the end.
        func receive(forever: Bool = false) throws -> Data? {
            // Not by an option of the socket, which takes a structure that Swift has from two modules.
            var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            while case let ready = poll(&wanted, 1, forever ? -1 : Int32(ControlClient.patience * 1000)), ready <= 0 {
                guard ready < 0, errno == EINTR else { throw ControlTrouble.strange("it does not answer") }
            }
            var buffer = [UInt8](repeating: 0, count: 64 << 10)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count > 0 { return Data(buffer[..<count]) }
                if count == 0 { return nil }
                if errno == EINTR { continue }
                throw ControlTrouble.strange(wordsOfError())
            }
        }
    }
}

/// Why a node could not be talked to.
enum ControlTrouble: Error {
    /// No node runs there.
    case nobody
    /// The system does not let this user.
    case system(String)
    /// A node, or something else, is there and does not behave like one.
    case strange(String)
    /// The node says no.
    case refused(ControlFailure)
}

/// What the system's call that has just failed says.
private func wordsOfError() -> String { String(cString: strerror(errno)) }
