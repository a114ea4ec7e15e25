import BenchmarkHarness
import CYardsticks
import Glibc
import Martlet
import MartletRuntime

/// `MartletRuntime`: what the loop and its sockets cost beside the same work in C. Both ends are on one thread.
var runtimeBenchmarks: [Benchmark] { [tcpEcho, tcpBulk, udpSegments, residentCall, suspension] }

/// So many operations are one iteration, so that handing the work to the loop's thread and back is lost in it.
private let round = 4000

private struct SystemFailure: Error {
    var number: Int32
}

/// A yardstick in C.
private func inC(_ work: @escaping (Int) -> Int32) -> Benchmark.Body {
    { iterations in
        let number = work(iterations * round)
        if number != 0 { throw SystemFailure(number: number) }
    }
}

/// An environment whose loop does a round of work while the calling thread waits.
///
/// It is `@unchecked Sendable` because the semaphore hands everything from one thread to the other and back.
final class Bench: @unchecked Sendable {
    let environment: SystemEnvironment
    private let finished = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init(directory: String = ".") throws {
        final class Silence: LogSink {
            func write(_ record: LogRecord) {}
        }
        environment = try SystemEnvironment(
            directory: directory,
            log: Logger(subsystem: "bench", sink: Silence(), levels: LogLevels(.critical)), watchdogLimit: nil)
        sem_init(finished, 0, 0)
    }

    var loop: EventLoop { environment.loop }

    /// Has the loop call `start`, and waits until `done` is called there.
    func run(_ start: @escaping @Sendable () -> Void) {
        loop.execute(start)
        while sem_wait(finished) != 0 {}
    }

    func done() { sem_post(finished) }

    /// Runs a conversation and waits for its end.
    func converse(_ body: @escaping @Sendable () async -> Void) {
        run { [self] in
            loop.spawn {
                await body()
                self.done()
            }
        }
    }
}

/// Two ends of a TCP connection on one loop, and how they are used by callbacks.
///
/// It is `@unchecked Sendable` because it is touched on the loop, and otherwise only while the loop is idle.
private final class Ends: @unchecked Sendable {
    let bench: Bench
    private(set) var client: ByteStream!
    private(set) var server: ByteStream!
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 64)
    var left = 0
    var unread = 0

    init() throws {
        bench = try Bench()
        let environment = bench.environment
        bench.run { [self] in
            let options = TCPOptions()
            guard let listener = try? environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: options)
            else { preconditionFailure("no listener") }
            listener.onConnection = { [self] stream in
                server = stream
                listener.close()
                if client != nil { bench.done() }
            }
            bench.loop.spawn { [self] in
                client = try? await environment.connectTCP(
                    listener.localAddress, from: nil, options: options, deadline: .never)
                if server != nil { bench.done() }
            }
        }
    }

    func drain(_ stream: ByteStream, _ take: (Int) -> Void) {
        while case .bytes(let count) = stream.read(into: buffer) { take(count) }
    }
}

/// A round trip of 64 bytes.
private var tcpEcho: Benchmark {
    Benchmark("tcp-echo-64B", operations: round, yardstick: .body("C, epoll", inC { yardstick_tcp_echo($0) })) {
        let ends = try Ends()
        let message = Bytes([UInt8](repeating: 7, count: 64))
        ends.bench.run {
            ends.server.onReadable = { ends.drain(ends.server) { ends.server.write(Bytes(copying: slice(ends, $0))) } }
            ends.client.onReadable = {
                ends.drain(ends.client) { _ in
                    ends.left -= 1
                    if ends.left == 0 { ends.bench.done() } else { ends.client.write(message) }
                }
            }
            ends.bench.done()
        }
        return { iterations in
            ends.left = iterations * round
            ends.bench.run { ends.client.write(message) }
        }
    }
}

private func slice(_ ends: Ends, _ count: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: ends.buffer.baseAddress, count: count)
}

/// 64 KiB written at one end and read at the other.
private var tcpBulk: Benchmark {
    Benchmark("tcp-bulk-64KiB", operations: round, yardstick: .body("C, epoll", inC { yardstick_tcp_bulk($0) })) {
        let ends = try Ends()
        let piece = Bytes([UInt8](repeating: 7, count: 64 << 10))
        @Sendable func fill() {
            while ends.left > 0 {
                ends.left -= 1
                if !ends.client.write(piece) { return }
            }
        }
        ends.bench.run {
            ends.client.onWritable = fill
            ends.server.onReadable = {
                ends.drain(ends.server) { ends.unread -= $0 }
                if ends.unread == 0 { ends.bench.done() }
            }
            ends.bench.done()
        }
        return { iterations in
            ends.left = iterations * round
            ends.unread = iterations * round * piece.count
            ends.bench.run(fill)
        }
    }
}

/// A datagram of 1200 bytes, 40 to a send, put together again by the kernel on their way in.
private var udpSegments: Benchmark {
    Benchmark("udp-1200B-segmented", operations: round, yardstick: .body("C, sendto", inC { yardstick_udp($0) })) {
        let bench = try Bench()
        let traffic = Traffic(bench)
        bench.run { traffic.open() }
        return { iterations in
            traffic.unsent = iterations * round
            traffic.unreceived = iterations * round
            bench.run { traffic.send() }
        }
    }
}

/// A sender that sends the next two batches when two have come.
///
/// It is `@unchecked Sendable` because it is touched on the loop, and otherwise only while the loop is idle.
private final class Traffic: @unchecked Sendable {
    private static let size = 1200
    private static let batch = 40
    private let bench: Bench
    private let payload = Bytes([UInt8](repeating: 9, count: size * batch))
    private var sender: UDPSocket!
    private var receiver: UDPSocket!
    private var inFlight = 0
    var unsent = 0
    var unreceived = 0

    init(_ bench: Bench) { self.bench = bench }

    func open() {
        let any = SocketAddress(.loopbackV4, port: 0)
        sender = try? bench.environment.bindUDP(any, options: UDPOptions())
        receiver = try? bench.environment.bindUDP(any, options: UDPOptions())
        receiver.onDatagram = { [self] datagram in
            precondition(datagram.bytes.byteCount == Self.size, "a datagram of another size")
            inFlight -= 1
            unreceived -= 1
        }
        receiver.onBatchEnd = { [self] in
            if unreceived == 0 { bench.done() } else if inFlight == 0 { send() }
        }
        bench.done()
    }

    func send() {
        for _ in 0..<2 where unsent > 0 {
            let count = min(unsent, Self.batch)
            guard
                sender.send(
                    payload.slice(0..<count * Self.size).span, to: receiver.localAddress, segmentSize: Self.size)
                    == .sent
            else { preconditionFailure("not sent") }
            unsent -= count
            inFlight += count
        }
    }
}

/// An actor that lives on a loop.
private actor Resident {
    private nonisolated let loop: EventLoop
    private var calls = 0

    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    init(on loop: EventLoop) { self.loop = loop }

    func call() { calls += 1 }
}

/// An actor of the loop called from a conversation there.
private var residentCall: Benchmark {
    Benchmark("actor-call-same-loop", operations: round) {
        let bench = try Bench()
        let resident = Resident(on: bench.loop)
        return { iterations in
            bench.converse { for _ in 0..<iterations * round { await resident.call() } }
        }
    }
}

/// The loop of `suspension`'s yardstick.
private let bareBench = Result { try Bench() }

/// A conversation that waits for a signal which a callback gives and which can be cancelled, beside one that suspends
/// with nothing but Swift's continuation.
private var suspension: Benchmark {
    let bare = Benchmark.Yardstick.body("continuation") { iterations in
        let bench = try bareBench.get()
        bench.converse {
            for _ in 0..<iterations * round {
                await withUnsafeContinuation { (waiter: UnsafeContinuation<Void, Never>) in
                    bench.loop.afterThis { waiter.resume() }
                }
            }
        }
    }
    return Benchmark("suspend-and-resume", operations: round, yardstick: bare) {
        let bench = try Bench()
        return { iterations in
            bench.converse {
                let signal = Signal(on: bench.loop)
                let give = { signal.signal() }
                for _ in 0..<iterations * round {
                    bench.loop.afterThis(give)
                    try? await signal.wait()
                }
            }
        }
    }
}
