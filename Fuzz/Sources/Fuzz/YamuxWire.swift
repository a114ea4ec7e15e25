@testable import MartletCrypto
@testable import MartletTransport
import MartletWire

/// The adversary's end of a Yamux connection: it makes frames, and reads those that come, which must be frames that it
/// allows.
struct YamuxWire {
    private static let window = 256 << 10

    /// What the connection seals and opens with, if it does.
    let noise: NoiseTransport?
    private let own: NoiseTransport?
    /// Streams that the other side opens have numbers of this parity.
    private let connectionIsClient: Bool
    /// Whether all that was sent was whole frames, so that what was granted and sent is known.
    private(set) var isWhole = true
    private var nextID: UInt32
    /// The numbers of streams that one of the two has opened, the last one last.
    private var ids: [UInt32] = []
    private var sentOffsets: [UInt32: Int] = [:]
    private var pings: [UInt32] = []
    private var lastPing: UInt32 = 0
    private var pingCount: UInt32 = 0

    /// What came and is no whole record, or no whole frame.
    private var sealedRest: [UInt8] = []
    private var rest: [UInt8] = []
    private var incoming: [UInt32: Incoming] = [:]
    /// Of each number, what was granted and what was sent, over all streams that had it.
    private var granted: [UInt32: Int] = [:]
    private var received: [UInt32: Int] = [:]

    /// What has come of a stream.
    private struct Incoming {
        var offset = 0
        var hasEnded = false
        var isBroken = false
    }

    init(isSealed: Bool, connectionIsClient: Bool) {
        self.connectionIsClient = connectionIsClient
        nextID = connectionIsClient ? 2 : 1
        guard isSealed else {
            (noise, own) = (nil, nil)
            return
        }
        func transport(_ sending: UInt8, _ receiving: UInt8) -> NoiseTransport {
            func cipher(_ key: UInt8) -> NoiseCipher {
                [UInt8](repeating: key, count: 32).withUnsafeBytes { NoiseCipher(.chaCha20Poly1305, key: $0) }
            }
            return NoiseTransport(
                sending: cipher(sending), receiving: cipher(receiving),
                handshakeHash: HashAlgorithm.sha256.digest(of: Bytes()), remoteStatic: nil)
        }
        noise = transport(1, 2)
        own = transport(2, 1)
    }

    // MARK: Sending

    /// Seals `plain`, in several records if it is long, and hands each to `body`.
    func seal(_ plain: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard let own else { return body(plain) }
        var start = 0
        while start < plain.count {
            let size = min(plain.count - start, 65_000)
            var record = [UInt8](repeating: 0, count: 2 + size + NoiseCipher.tagSize)
            let sealed = size + NoiseCipher.tagSize
            (record[0], record[1]) = (UInt8(sealed >> 8), UInt8(sealed & 255))
            record.withUnsafeMutableBytes { buffer in
                buffer[2...].copyBytes(from: plain[start..<start + size])
                try? own.sending.seal(UnsafeMutableRawBufferPointer(rebasing: buffer[2...]))
            }
            // A record comes in pieces, too.
            let cut = min(record.count, 1 + size % 7)
            record.withUnsafeBytes { buffer in
                body(UnsafeRawBufferPointer(rebasing: buffer[..<cut]))
                body(UnsafeRawBufferPointer(rebasing: buffer[cut...]))
            }
            start += size
        }
    }

    private func encoded(_ header: YamuxHeader) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: YamuxHeader.size)
        bytes.withUnsafeMutableBytes { header.write(to: $0.baseAddress!) }
        return bytes
    }

    private mutating func encoded(data count: Int, of id: UInt32, _ flags: YamuxHeader.Flags) -> [UInt8] {
        let offset = sentOffsets[id, default: 0]
        sentOffsets[id] = offset + count
        return encoded(YamuxHeader(.data, flags, stream: id, length: UInt32(count)))
            + Pattern.withBytes(of: UInt64(id), inbound: true, at: offset, count) { Array($0) }
    }

    /// Bytes as they stand in the program.
    mutating func raw(_ count: Int, _ reader: inout Reader) throws -> [UInt8] {
        isWhole = false
        return Array(Bytes(copying: try reader.span(min(count, reader.remaining))))
    }

    /// A frame of which each part is chosen.
    mutating func frame(_ reader: inout Reader) throws -> [UInt8] {
        let (kind, flags) = (try reader.byte(), try reader.byte())
        let id = UInt32(try reader.byte())
        let length = Int(try reader.integer(UInt32.self) & (kind & 128 == 0 ? 0xFFFF : 0xFFFF_FFFF))
        guard let kind = YamuxHeader.Kind(rawValue: kind & 3) else { return [] }
        let header = YamuxHeader(
            kind, YamuxHeader.Flags(rawValue: UInt16(flags)), stream: id, length: UInt32(length))
        if header.flags.contains(.syn) { begin(id) }
        guard kind == .data else {
            if kind == .windowUpdate { granted[id, default: 0] += length }
            if kind == .ping, !header.flags.contains(.ack) { pings.append(header.length) }
            return encoded(header)
        }
        guard length <= 512 << 10 else {
            isWhole = false
            return encoded(header)
        }
        return encoded(data: length, of: id, header.flags)
    }

    private mutating func begin(_ id: UInt32) {
        sentOffsets[id] = 0
        granted[id, default: 0] += Self.window
        ids.append(id)
    }

    private func id(_ number: Int) -> UInt32 {
        ids.isEmpty ? (connectionIsClient ? 1 : 2) : ids[ids.count - 1 - number % ids.count]
    }

    /// Opens a stream under a new number or, if `detail` says so, one that was used before.
    mutating func opening(_ detail: Int, _ reader: inout Reader) throws -> [UInt8] {
        var id = nextID
        if detail & 8 != 0 { id = self.id(detail) } else { nextID += 2 }
        begin(id)
        let flags: YamuxHeader.Flags = detail & 2 != 0 ? [.syn, .fin] : .syn
        guard detail & 1 != 0 else { return encoded(YamuxHeader(.windowUpdate, flags, stream: id)) }
        return encoded(data: try YamuxConnectionPlay.size(&reader), of: id, flags)
    }

    mutating func data(_ detail: Int, _ reader: inout Reader) throws -> [UInt8] {
        let count = min(try YamuxConnectionPlay.size(&reader), 256 << 10)
        return encoded(data: count, of: id(detail & 7), detail & 8 != 0 ? .fin : [])
    }

    mutating func windowUpdate(_ detail: Int, _ reader: inout Reader) throws -> [UInt8] {
        let id = id(detail)
        let count = try YamuxConnectionPlay.size(&reader)
        granted[id, default: 0] += count
        return encoded(YamuxHeader(.windowUpdate, detail & 8 != 0 ? .ack : [], stream: id, length: UInt32(count)))
    }

    func breaking(_ detail: Int) -> [UInt8] {
        encoded(YamuxHeader(.windowUpdate, .rst, stream: id(detail), length: UInt32(detail)))
    }

    func farewell(_ code: Int) -> [UInt8] {
        encoded(YamuxHeader(.goAway, length: code < 8 ? 0 : UInt32(code)))
    }

    /// Some pings at once.
    mutating func ping(_ detail: Int) -> [UInt8] {
        var frames: [UInt8] = []
        for _ in 0..<(detail == 0 ? 1 : detail * 2) {
            pingCount += 1
            pings.append(pingCount)
            frames += encoded(YamuxHeader(.ping, .syn, length: pingCount))
        }
        return frames
    }

    func answer(isTrue: Bool) -> [UInt8] {
        encoded(YamuxHeader(.ping, .ack, length: isTrue ? lastPing : lastPing &+ 1))
    }

    // MARK: Receiving

    /// Takes what the connection has written, cut anywhere.
    mutating func took(_ bytes: [UInt8]) {
        guard let own else {
            rest += bytes
            return takeFrames()
        }
        sealedRest += bytes
        var start = 0
        while sealedRest.count - start >= 2 {
            let size = Int(sealedRest[start]) << 8 | Int(sealedRest[start + 1])
            guard sealedRest.count - start >= 2 + size else { break }
            var record = Array(sealedRest[start + 2..<start + 2 + size])
            let count = record.withUnsafeMutableBytes { try? own.receiving.open($0) }
            expect(count != nil, "a record opens")
            rest += record.prefix(count ?? 0)
            start += 2 + size
        }
        sealedRest.removeFirst(start)
        takeFrames()
    }

    private mutating func takeFrames() {
        var start = 0
        while rest.count - start >= YamuxHeader.size {
            let header = rest.withUnsafeBytes { try? YamuxHeader(reading: $0.baseAddress! + start) }
            guard let header else { return expect(false, "a frame has a header") }
            let count = header.kind == .data ? Int(header.length) : 0
            guard rest.count - start >= YamuxHeader.size + count else { break }
            rest.withUnsafeBytes { bytes in
                let body = start + YamuxHeader.size
                took(header, UnsafeRawBufferPointer(rebasing: bytes[body..<body + count]))
            }
            start += YamuxHeader.size + count
        }
        rest.removeFirst(start)
    }

    private mutating func took(_ header: YamuxHeader, _ body: UnsafeRawBufferPointer) {
        switch header.kind {
        case .goAway: break
        case .ping:
            guard header.flags.contains(.ack) else { return lastPing = header.length }
            let expected = pings.first
            if expected != nil { pings.removeFirst() }
            expect(!isWhole || header.length == expected, "pings are answered in their order, each once")
        case .data, .windowUpdate:
            tookStream(header, body)
        }
    }

    private mutating func tookStream(_ header: YamuxHeader, _ body: UnsafeRawBufferPointer) {
        let id = header.stream
        if header.flags.contains(.syn) {
            expect(incoming[id] == nil, "a number is used for one stream")
            ids.append(id)
            granted[id, default: 0] += Self.window
        }
        if header.flags.contains(.syn) || header.flags.contains(.ack) { incoming[id] = Incoming() }
        if header.flags.contains(.rst) {
            // A stream that was refused has never begun.
            incoming[id]?.isBroken = true
            return
        }
        guard var stream = incoming[id] else { return expect(false, "a stream begins with its first frame") }
        expect(!stream.isBroken, "nothing comes of a stream that is broken")
        if header.kind == .windowUpdate {
            expect(header.length <= YamuxConnectionPlay.limits.yamux.streamWindow, "a window has a bound")
            return
        }
        expect(!stream.hasEnded, "no data comes behind the end")
        received[id, default: 0] += body.count
        expect(!isWhole || received[id, default: 0] <= granted[id, default: 0], "no more comes than was granted")
        expect(
            Pattern.holds(body, of: UInt64(id), inbound: false, at: stream.offset),
            "what a user writes comes unspoilt and in its order")
        stream.offset += body.count
        if header.flags.contains(.fin) { stream.hasEnded = true }
        incoming[id] = stream
    }
}
