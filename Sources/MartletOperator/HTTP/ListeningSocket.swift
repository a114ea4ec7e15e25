internal import Glibc
internal import MartletRuntime
internal import MartletWire

/// Why a server of this room does not serve.
public struct OperatorError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of trouble it is.
    public enum Code: String, Sendable {
        /// A node runs already with these files.
        case alreadyRunning = "already_running"
        /// There is no such address here, or somebody else has it.
        case address
        /// It would be open to others and has no token to know its own people by.
        case unprotected
        /// A file can't be used.
        case file
    }

    /// What kind of trouble it is.
    public var code: Code
    /// A sentence that says what failed and what to do.
    public var message: String
    /// The sentence.
    public var description: String { message }

    /// An error with its parts.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// Listening sockets as an HTTP server takes them.
enum ListeningSocket {
    /// How many clients wait to be taken.
    private static let backlog: Int32 = 1024

    /// A socket in the file `path`, for this user alone. A socket that nobody listens at any more, as a node leaves it
    /// that was killed, makes way; whatever else stands there stays, and the call throws.
    static func unix(_ path: String) throws(OperatorError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard path.utf8.count <= room else {
            throw OperatorError(
                .file, "the path \(path) is too long for a socket, which may have \(room) bytes; choose a shorter one")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, open(SOCK_STREAM), 0)
        guard descriptor >= 0 else { throw OperatorError(.file, "there is no socket: \(wordsOfErrno())") }
        do throws(OperatorError) {
            try makeWay(path, address)
        } catch {
            close(descriptor)
            throw error
        }
        // The mode is given to the socket before it has a name, so that nobody comes in between.
        let isBound =
            fchmod(descriptor, 0o600) == 0
            && withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
                }
            }
        guard isBound, chmod(path, 0o600) == 0, listen(descriptor, backlog) == 0 else {
            let reason = wordsOfErrno()
            close(descriptor)
            throw OperatorError(.file, "the socket \(path) cannot be made: \(reason)")
        }
        return descriptor
    }

    /// Removes the socket at `path` that nobody listens at. Throws if there is anything else.
    private static func makeWay(_ path: String, _ address: sockaddr_un) throws(OperatorError) {
        var found = stat()
        guard lstat(path, &found) == 0 else {
            if errno == ENOENT { return }
            throw OperatorError(.file, "the socket \(path) cannot be made: \(wordsOfErrno())")
        }
        guard found.st_mode & S_IFMT == S_IFSOCK else {
            throw OperatorError(
                .file, "there is a file at \(path) that is no socket, and it stays; remove it or choose another path")
        }
        let probe = socket(AF_UNIX, open(SOCK_STREAM), 0)
        guard probe >= 0 else { throw OperatorError(.file, "there is no socket: \(wordsOfErrno())") }
        defer { close(probe) }
        let isAnswered = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(probe, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        // Only this error says that nobody listens; a full queue, for one, is somebody's.
        guard !isAnswered, errno == ECONNREFUSED else {
            throw OperatorError(
                .alreadyRunning, "another program listens at the socket \(path); stop it or choose another path")
        }
        guard unlink(path) == 0 else {
            throw OperatorError(.file, "the old socket \(path) cannot be removed: \(wordsOfErrno())")
        }
    }

    /// A socket at `address`, and where it came to be.
    static func tcp(_ address: SocketAddress) throws(OperatorError) -> (descriptor: Int32, address: SocketAddress) {
        let descriptor = socket(address.ip.isV4 ? AF_INET : AF_INET6, open(SOCK_STREAM), 0)
        guard descriptor >= 0 else { throw OperatorError(.address, "there is no socket: \(wordsOfErrno())") }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        if address.ip.isV6 { setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, 4) }
        let isBound = withSystemAddress(address) { bind(descriptor, $0, $1) == 0 } && listen(descriptor, backlog) == 0
        guard isBound else {
            let isTaken = errno == EADDRINUSE
            let reason = wordsOfErrno()
            close(descriptor)
            throw OperatorError(
                .address,
                "cannot serve HTTP at \(address): \(reason)" + (isTaken ? "; choose another port" : ""))
        }
        return (descriptor, SocketAddress(address.ip, port: port(of: descriptor), scope: address.scope))
    }

    private static func open(_ type: __socket_type) -> Int32 {
        Int32(type.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    }

    private static func withSystemAddress(
        _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
    ) -> Bool {
        if address.ip.isV4 {
            var system = sockaddr_in()
            system.sin_family = sa_family_t(AF_INET)
            system.sin_port = address.port.bigEndian
            system.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.ip.number).bigEndian
            return withUnsafePointer(to: &system) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        var system = sockaddr_in6()
        system.sin6_family = sa_family_t(AF_INET6)
        system.sin6_port = address.port.bigEndian
        system.sin6_scope_id = address.scope
        withUnsafeMutableBytes(of: &system.sin6_addr) { bytes in
            withUnsafeBytes(of: address.ip.number.bigEndian) { bytes.copyMemory(from: $0) }
        }
        return withUnsafePointer(to: &system) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
    }

    private static func port(of descriptor: Int32) -> UInt16 {
        // The port stands at the same place in both kinds of address.
        var system = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let isKnown = withUnsafeMutablePointer(to: &system) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) == 0 }
        }
        return isKnown ? UInt16(bigEndian: system.sin6_port) : 0
    }
}

/// What the system's call that has just failed says.
func wordsOfErrno() -> String { String(cString: strerror(errno)) }
