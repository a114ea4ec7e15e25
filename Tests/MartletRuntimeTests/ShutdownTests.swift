import MartletRuntime
import MartletWire
import Testing

/// These count what a process has, so each runs in one of its own.
@Suite("Shutdown")
struct ShutdownTests {
    @Test("after shutdown no descriptor, thread or timer is left")
    func leavesNothing() async {
        await #expect(processExitsWith: .success) {
            var before: Int?
            for _ in 0..<4 {
                let environment = try SystemEnvironment(name: "counted", log: CapturedLog().logger)
                let loop = environment.loop
                try await loop.run {
                    #expect(threadCount(named: "counted") == 1)
                    let udp = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
                    udp.onDatagram = { _ in }
                    let pair = try await Pair(environment)
                    pair.server.onReadable = { _ = pair }
                    pair.client.write(pattern(3 << 20))
                    pair.client.close()
                }
                #expect(descriptorCount() > before ?? 0)
                await environment.shutdown()
                // The first round may have woken what Swift itself keeps.
                if let before { #expect(descriptorCount() == before) }
                before = descriptorCount()
                #expect(threadCount(named: "counted") == 0)
                #expect(loop.timers.armed == 0)
                await environment.shutdown()
            }
        }
    }

    @Test("shutdown fails whoever waits: a dial, a reader, a writer; and what comes later is refused")
    func failsWaiters() async throws {
        let environment = try SystemEnvironment(name: "waiters", log: CapturedLog().logger)
        let loop = environment.loop
        let (dial, reader, writer, late) = try await loop.run {
            let full = try await FullListener(environment)
            let dial = Mailbox<NetworkError.Reason?>(on: loop)
            let reader = Mailbox<NetworkError.Reason?>(on: loop)
            let writer = Mailbox<NetworkError.Reason?>(on: loop)
            func report(
                _ mailbox: Mailbox<NetworkError.Reason?>,
                _ body: nonisolated(nonsending) @escaping () async throws -> Void
            ) -> Task<Void, Never> {
                loop.spawn {
                    do {
                        try await body()
                        mailbox.put(nil)
                    } catch {
                        mailbox.put((error as? NetworkError)?.reason)
                    }
                }
            }
            let pair = try await Pair(environment)
            let silent = try await Pair(environment)
            let tasks = [
                report(dial) { _ = try await full.dial() },
                report(reader) { _ = try await StreamConversation(silent.server).receive() },
                report(writer) { try await StreamConversation(pair.client).send(pattern(32 << 20)) },
            ]
            await Task.yield()
            // From a conversation of the loop that ends.
            await environment.shutdown()
            for task in tasks { await task.value }
            var late: NetworkError.Reason?
            do throws(NetworkError) {
                _ = try environment.bindUDP(SocketAddress(.loopbackV4, port: 0), options: UDPOptions())
            } catch {
                late = error.reason
            }
            return (try await dial.next(), try await reader.next(), try await writer.next(), late)
        }
        #expect(dial == .closed)
        #expect(reader == .closed)
        #expect(writer == .closed)
        #expect(late == .closed)
    }

    @Test("an actor on a loop that has ended still answers")
    func answersAfterwards() async throws {
        let environment = try SystemEnvironment(name: "ended", log: CapturedLog().logger)
        await environment.shutdown()
        let loop = environment.loop
        #expect(try await loop.run { loop.isCurrent })
        await withTaskGroup { group in
            for _ in 0..<20 {
                group.addTask { #expect((try? await loop.run { loop.isCurrent }) == true) }
            }
        }
    }
}

extension ShutdownTests {
    private final class Thing: Sendable {}

    @Test("what is sent to a loop that has ended still runs, and neither it nor the environment is kept afterwards")
    func keepsNothing() async throws {
        weak var environment: SystemEnvironment?
        weak var thing: Thing?
        do {
            let ended = try SystemEnvironment(name: "ended", log: CapturedLog().logger)
            environment = ended
            try await ended.loop.run {
                ended.loop.afterThis { _ = ended }
                ended.loop.atTurnEnd { _ = ended }
            }
            await ended.shutdown()
            let late = Thing()
            thing = late
            ended.loop.execute { ended.loop.atTurnEnd { _ = (late, ended) } }
            #expect(try await ended.loop.run { !ended.loop.hasWork })
        }
        #expect(thing == nil)
        #expect(environment == nil)
    }
}

/// A listener that nobody accepts from and whose backlog is full, so that dialling it has no end.
final class FullListener {
    private let environment: SystemEnvironment
    let listener: TCPListener
    private var filling: [ByteStream] = []

    init(_ environment: SystemEnvironment) async throws {
        self.environment = environment
        var options = TCPOptions()
        options.backlog = 0
        listener = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: options)
        filling.append(try await dial())
    }

    func dial(by deadline: Instant = .never) async throws(NetworkError) -> ByteStream {
        try await environment.connectTCP(
            listener.localAddress, from: nil, options: TCPOptions(), deadline: deadline)
    }

    func close() {
        listener.close()
        for stream in filling { stream.close() }
    }
}
