import Glibc
import MartletWire
import Synchronization
import Testing

/// A small server of names on loopback, UDP only, that answers as the first label of a name tells it.
final class NameServer: @unchecked Sendable {
    // Written before the thread starts, and the rest is under a lock.
    private var thread = pthread_t()
    private let socket: Int32
    let address: SocketAddress
    private let seen = Mutex<[String]>([])

    /// The names that were asked for, each as often as it was.
    var questions: [String] { seen.withLock { $0 } }

    init(port: UInt16 = 0) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        name.sin_port = port.bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = socket
        let isBound = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, size) == 0 && getsockname(socket, $0, &size) == 0
            }
        }
        try #require(isBound)
        address = SocketAddress(.loopbackV4, port: UInt16(bigEndian: name.sin_port))
        pthread_create(
            &thread, nil,
            {
                Unmanaged<NameServer>.fromOpaque($0!).takeUnretainedValue().serve()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Ends the server.
    func stop() {
        shutdown(socket, Int32(SHUT_RDWR))
        pthread_join(thread, nil)
        close(socket)
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 2048)
        var peer = sockaddr_in()
        while true {
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(socket, &buffer, buffer.count, 0, $0, &size)
                }
            }
            // Shutting the socket down reads as nothing.
            guard count > 0 else { return }
            for answer in answers(to: Array(buffer.prefix(count))) {
                withUnsafeMutablePointer(to: &peer) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        _ = sendto(socket, answer, answer.count, 0, $0, size)
                    }
                }
            }
        }
    }

    // MARK: Messages (RFC 1035 §4)

    private func answers(to query: [UInt8]) -> [[UInt8]] {
        guard query.count > 12 else { return [] }
        var labels: [String] = []
        var end = 12
        while end < query.count, query[end] != 0 {
            labels.append(String(decoding: query[(end + 1)...].prefix(Int(query[end])), as: UTF8.self))
            end += 1 + Int(query[end])
        }
        guard end + 5 <= query.count else { return [] }
        seen.withLock { $0.append(labels.joined(separator: ".")) }
        let question = Array(query[12..<(end + 5)])
        let type = query[end + 2]
        let good = Self.message(query, question, Self.records(labels, type))
        // `cut17` is cut off after 17 bytes, `flip17` has its 17th byte wrong.
        let what = labels[0].prefix { !$0.isNumber }
        let number = Int(labels[0].drop { !$0.isNumber }) ?? 0
        switch what {
        case "silent": return []
        case "nx": return [Self.message(query, question, [], code: 3)]
        case "servfail": return [Self.message(query, question, [], code: 2)]
        case "refused": return [Self.message(query, question, [], code: 5)]
        case "empty": return [Self.message(query, question, [])]
        case "wrongid": return [[good[0] ^ 1] + good.dropFirst()]
        case "truncated": return [Self.message(query, question, [], flags: 0x83)]
        case "cut": return [Array(good.prefix(number))]
        case "flip":
            var bad = good
            if number >= 2, number < bad.count { bad[number] ^= 0xFF }
            return [bad]
        case "twice": return [[good[0] ^ 1] + good.dropFirst(), Array(good.prefix(20)), good]
        default: return [good]
        }
    }

    private static func message(
        _ query: [UInt8], _ question: [UInt8], _ records: [[UInt8]], code: UInt8 = 0, flags: UInt8 = 0x81
    ) -> [UInt8] {
        [query[0], query[1], flags, 0x80 | code, 0, 1, 0, UInt8(records.count), 0, 0, 0, 0] + question
            + records.joined()
    }

    /// A record of the name that was asked for.
    private static func record(_ type: UInt8, _ data: [UInt8], name: [UInt8] = [0xC0, 12]) -> [UInt8] {
        name + [0, type, 0, 1, 0, 0, 0, 60, UInt8(data.count >> 8), UInt8(data.count & 0xFF)] + data
    }

    private static func text(_ strings: [UInt8]...) -> [UInt8] { strings.flatMap { [UInt8($0.count)] + $0 } }

    private static func encoded(_ name: String) -> [UInt8] {
        name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    private static func records(_ labels: [String], _ type: UInt8) -> [[UInt8]] {
        let pointerToItself: [UInt8] = [0xC0, UInt8(12 + labels.reduce(1) { $0 + $1.utf8.count + 1 } + 4)]
        switch (type, labels[0]) {
        case (1, "loop"): return [record(1, [192, 0, 2, 1], name: pointerToItself)]
        case (1, "chain"): return (0..<40).map { _ in record(5, [0xC0, 12]) }
        case (1, "short"): return [record(1, [192, 0, 2])]
        case (1, "numbered"), (1, "flip"), (1, "cut"): return [record(1, [192, 0, 2, 9])]
        case (1, "six"): return []
        case (1, _) where labels[0].hasPrefix("many"):
            let number = Int(labels[0].dropFirst(4)) ?? 0
            return [record(1, [10, 0, UInt8(number >> 8), UInt8(number & 0xFF)])]
        case (1, _): return [record(1, [192, 0, 2, 1]), record(1, [192, 0, 2, 2])]
        case (28, "four"): return []
        case (28, _): return [record(28, [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1])]
        case (16, "bytes"): return [record(16, text([0, 255, 10], [92])), record(16, text([]))]
        case (16, _):
            return [
                record(16, text(Array("dnsaddr=/ip4/192.0.2.1".utf8), Array("/tcp/4001".utf8))),
                record(16, text(Array("second".utf8))),
            ]
        case (33, "nowhere"): return [record(33, [0, 0, 0, 0, 0, 0, 0])]
        case (33, "bad"): return [record(33, [0, 1, 0, 2, 0, 80] + encoded("a b.test"))]
        case (33, _):
            return [
                record(33, [0, 1, 0, 2, 0x0F, 0xA1] + encoded("a.test")),
                record(33, [0, 3, 0, 4, 0, 80] + encoded("b.test")),
            ]
        default: return []
        }
    }
}
