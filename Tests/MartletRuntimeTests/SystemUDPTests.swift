import MartletWire
import Testing

@testable import MartletRuntime

@Suite("UDP sockets of the system")
struct SystemUDPTests {
    /// A datagram, kept.
    struct Received: Equatable {
        var bytes: Bytes
        var source: SocketAddress
        var localAddress: IPAddress?
        var ecn: ECN

        init(_ datagram: borrowing Datagram) {
            bytes = Bytes(copying: datagram.bytes)
            source = datagram.source
            localAddress = datagram.localAddress
            ecn = datagram.ecn
        }
    }

    static func listen(
        _ environment: SystemEnvironment, _ ip: IPAddress, coalesces: Bool = true, options: UDPOptions = UDPOptions()
    ) throws -> (socket: UDPSocket, mailbox: Mailbox<Received>) {
        let socket = try environment.bindUDP(
            SocketAddress(ip, port: 0), options: options, segments: true, coalesces: coalesces)
        let mailbox = Mailbox<Received>(on: environment.loop)
        socket.onDatagram = { mailbox.put(Received($0)) }
        return (socket, mailbox)
    }

    @Test(
        "a datagram arrives with its sender, the address it came to and its congestion bits",
        arguments: [IPAddress.loopbackV4, .loopbackV6], [ECN.notCapable, .capable0, .capable1, .congested])
    func roundTrip(ip: IPAddress, ecn: ECN) async throws {
        try await withEnvironment { environment in
            let any: IPAddress = ip.isV6 ? .anyV6 : .anyV4
            let (receiver, mailbox) = try Self.listen(environment, any)
            let sender = try environment.bindUDP(SocketAddress(ip, port: 0), options: UDPOptions())
            let to = SocketAddress(ip, port: receiver.localAddress.port)
            for text in ["first", ""] {
                #expect(sender.send(Bytes(utf8: text).span, to: to, ecn: ecn) == .sent)
                let received = try await mailbox.next()
                #expect(received.bytes == Bytes(utf8: text))
                #expect(received.source == sender.localAddress)
                #expect(received.localAddress == ip)
                #expect(received.ecn == ecn)
            }
            sender.close()
            receiver.close()
            #expect(sender.send(Bytes().span, to: to) == .dropped(.closed))
        }
    }

    @Test("a flood has its share of each turn and no more, however long it lasts")
    func flood() async throws {
        let most = try await withEnvironment { environment in
            let receiver = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            let done = Signal(on: environment.loop)
            var left = 50_000
            var inTurn = 0
            var most = 0
            let again = {
                _ = sender.send(Bytes([1]).span, to: receiver.localAddress)
            }
            receiver.onDatagram = { _ in
                left -= 1
                // Each that comes makes another come, so that the socket is never drained and always has news.
                if left > 0 { again() }
                if left == 0 { done.signal() }
            }
            receiver.onBatchEnd = {
                if inTurn == 0 {
                    environment.loop.atTurnEnd {
                        most = max(most, inTurn)
                        inTurn = 0
                    }
                }
                inTurn += 1
            }
            for _ in 0..<200 { again() }
            try await done.wait()
            receiver.close()
            sender.close()
            return most
        }
        // One for what the kernel tells, and one for what was left behind.
        #expect(most <= 2)
    }

    @Test("a socket bound to every address sends from the one it is told")
    func source() async throws {
        try await withEnvironment { environment in
            let (receiver, mailbox) = try Self.listen(environment, .loopbackV4)
            let sender = try environment.bindUDP(SocketAddress(.anyV4, port: 0), options: UDPOptions())
            for last in 2...4 as ClosedRange<UInt8> {
                let ip = IPAddress(127, 0, 0, last)
                #expect(sender.send(Bytes([last]).span, to: receiver.localAddress, from: ip) == .sent)
                let received = try await mailbox.next()
                #expect(received.source == SocketAddress(ip, port: sender.localAddress.port))
            }
        }
    }

    @Test(
        "one send of several segments arrives as that many datagrams, whatever the kernel can do",
        arguments: [true, false], [true, false])
    func segments(segments: Bool, coalesces: Bool) async throws {
        try await withEnvironment { environment in
            let (receiver, mailbox) = try Self.listen(environment, .loopbackV6, coalesces: coalesces)
            var batches = 0
            receiver.onBatchEnd = { batches += 1 }
            let sender = try environment.bindUDP(
                SocketAddress(.loopbackV6, port: 0), options: UDPOptions(), segments: segments, coalesces: true)
            #expect(sender.maximumSegments == (segments ? 64 : 1))
            for (count, size) in [(1, 1200), (2, 1200), (40, 1200), (64, 1000), (3, 7), (70, 600)] {
                let whole = pattern(count * size - size / 2)
                #expect(
                    sender.send(whole.span, to: receiver.localAddress, segmentSize: size, ecn: .capable0) == .sent)
                let received = try await mailbox.next(count)
                for (position, datagram) in received.enumerated() {
                    let start = position * size
                    #expect(datagram.bytes == whole.slice(start..<min(start + size, whole.count)))
                    #expect(datagram.ecn == .capable0 && datagram.localAddress == .loopbackV6)
                }
            }
            #expect(batches > 0 && mailbox.waiting == 0)
        }
    }

    @Test("a kernel that refuses to segment is asked once, and nothing is lost")
    func refusal() async throws {
        let log = CapturedLog()
        try await withEnvironment(log: log) { environment in
            let (receiver, mailbox) = try Self.listen(environment, .loopbackV4)
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            environment.datagramMemory.segmentRefusal = 5
            for _ in 0..<3 {
                #expect(sender.send(pattern(5000).span, to: receiver.localAddress, segmentSize: 1000) == .sent)
                let sizes = try await mailbox.next(5).map(\.bytes.count)
                #expect(sizes == [1000, 1000, 1000, 1000, 1000])
                #expect(sender.maximumSegments == 1)
            }
        }
        #expect(log.lines(saying: "does not segment").count == 1)
        #expect(log.lines(saying: "does not coalesce").isEmpty)
    }

    @Test(
        "datagrams that are posted arrive whole and each by itself, whoever they are for, also where the kernel is old",
        arguments: [Int32(0), 5])
    func posting(refusal: Int32) async throws {
        try await withEnvironment { environment in
            let (one, oneMailbox) = try Self.listen(environment, .loopbackV4)
            let (other, otherMailbox) = try Self.listen(environment, .loopbackV4)
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            environment.datagramMemory.segmentRefusal = refusal
            let sizes = [300, 300, 300, 200, 300, 0, 1, 300, 1200, 1200, 1200]
            for round in 1...20 {
                for size in sizes {
                    sender.post(pattern(size).span, to: one.localAddress)
                    if round % 2 == 0 { sender.post(pattern(size).span, to: other.localAddress) }
                }
            }
            let all = (1...20).flatMap { _ in sizes }
            #expect(try await oneMailbox.next(all.count).map(\.bytes) == all.map { pattern($0) })
            let half = (1...10).flatMap { _ in sizes }
            #expect(try await otherMailbox.next(half.count).map(\.bytes) == half.map { pattern($0) })
            #expect(sender.maximumSegments == (refusal == 0 ? 64 : 1))
            sender.post(pattern(5).span, to: one.localAddress)
            sender.close()
            #expect(try await oneMailbox.next(1).map(\.bytes) == [pattern(5)])
        }
    }

    @Test("posting to one who is not there, or what is too large, keeps nothing from the others")
    func postingInVain() async throws {
        try await withEnvironment { environment in
            let (receiver, mailbox) = try Self.listen(environment, .loopbackV4)
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            let gone = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            gone.close()
            for _ in 0..<100 {
                sender.post(pattern(9).span, to: gone.localAddress)
                sender.post(pattern(65_520).span, to: receiver.localAddress)
                sender.post(pattern(7).span, to: receiver.localAddress)
            }
            #expect(try await mailbox.next(100).allSatisfy { $0.bytes == pattern(7) })
        }
    }

    @Test("a datagram too large for any way is dropped, and segmenting goes on")
    func tooLarge() async throws {
        try await withEnvironment { environment in
            let (receiver, mailbox) = try Self.listen(environment, .loopbackV4)
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            guard case .dropped = sender.send(pattern(65_600).span, to: receiver.localAddress) else {
                Issue.record("sent")
                return
            }
            #expect(sender.send(pattern(2000).span, to: receiver.localAddress, segmentSize: 1000) == .sent)
            _ = try await mailbox.next(2)
            #expect(sender.maximumSegments == 64)
        }
    }

    @Test("news of an unreachable port neither closes a socket nor costs it a datagram")
    func unreachable() async throws {
        try await withEnvironment { environment in
            let (socket, mailbox) = try Self.listen(environment, .loopbackV4)
            let gone = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            gone.close()
            for number in 0..<20 as Range<UInt8> {
                #expect(socket.send([1, 2], to: gone.localAddress) == .sent)
                #expect(socket.send(Bytes([number]).span, to: socket.localAddress) == .sent)
                let received = try await mailbox.next()
                #expect(received.bytes == [number])
            }
        }
    }

    @Test("a burst of thousands arrives in order, in bounded batches")
    func burst() async throws {
        try await withEnvironment { environment in
            let (receiver, mailbox) = try Self.listen(environment, .loopbackV4)
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            for number in 0..<2000 as Range<UInt16> {
                var writer = Writer()
                writer.integer(number)
                // Different sizes, so that the kernel puts none together.
                writer.bytes(pattern(Int(number % 7)))
                #expect(sender.send(writer.span, to: receiver.localAddress) == .sent)
            }
            let numbers = try await mailbox.next(2000).map { UInt16($0.bytes[0]) << 8 | UInt16($0.bytes[1]) }
            #expect(numbers == Array(0..<2000))
        }
    }

    @Test("a socket closed by its own callback is called no more, not even for the same batch")
    func closedInside() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let receiver = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            let closed = Signal(on: loop)
            var calls = 0
            receiver.onBatchEnd = { calls += 1 }
            receiver.onDatagram = { _ in
                calls += 1
                receiver.close()
                closed.signal()
            }
            let sender = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            #expect(sender.send(pattern(9000).span, to: receiver.localAddress, segmentSize: 900) == .sent)
            try await closed.wait()
            try await loop.sleep(for: .milliseconds(2))
            #expect(calls == 1)
        }
    }

    @Test("the buffers that were granted can be read, and an address can be taken only once per family")
    func binding() async throws {
        try await withEnvironment { environment in
            var options = UDPOptions()
            options.receiveBufferSize = 100_000
            options.sendBufferSize = 50_000
            let v6 = try environment.bindUDP(SocketAddress(.anyV6, port: 0), options: options)
            #expect(v6.bufferSizes == BufferSizes(receive: 100_000, send: 50_000))
            let port = v6.localAddress.port
            // The IPv6 socket has not taken IPv4 with it.
            let v4 = try environment.bindUDP(SocketAddress(.anyV4, port: port), options: options)
            #expect(throws: NetworkError(.addressInUse, "bind", v4.localAddress)) {
                try environment.bindUDP(v4.localAddress, options: options)
            }
            let foreign = SocketAddress(IPAddress(192, 0, 2, 1), port: 0)
            #expect(throws: NetworkError(.addressNotAvailable, "bind", foreign)) {
                try environment.bindUDP(foreign, options: options)
            }
            v4.close()
            #expect(v4.bufferSizes == nil)
        }
    }
}

extension UDPSocket {
    fileprivate func send(_ bytes: Bytes, to destination: SocketAddress) -> SendResult {
        send(bytes.span, to: destination)
    }
}
