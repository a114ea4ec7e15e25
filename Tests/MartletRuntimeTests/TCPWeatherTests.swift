import Glibc
import MartletRuntime
import MartletWire
import Testing

@Suite("TCP in bad weather")
struct TCPWeatherTests {
    @Test("a writer whose peer never reads waits, with a bounded queue")
    func neverRead() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            var options = TCPOptions()
            options.highWaterMark = 1 << 20
            options.lowWaterMark = 1 << 18
            let pair = try await Pair(environment, options: options)
            let writer = StreamConversation(pair.client)
            var written = 0
            let writing = loop.spawn {
                while !Task.isCancelled {
                    guard (try? await writer.send(pattern(1 << 16))) != nil else { return }
                    written += 1 << 16
                }
            }
            // Until it no longer gets on.
            var before = -1
            while written != before {
                before = written
                try await loop.sleep(for: .milliseconds(20))
            }
            #expect(pair.client.queued < options.highWaterMark + 1 << 16)
            // A reader that wakes up after all sets it going again.
            let more = loop.spawn {
                let reader = StreamConversation(pair.server)
                while let bytes = try? await reader.receive(upTo: 1 << 18), !bytes.isEmpty {
                    if written > before + 4 << 20 { return }
                }
            }
            await more.value
            #expect(written > before)
            writing.cancel()
            await writing.value
        }
    }

    @Test("a peer that resets in the middle of a write fails the writer, which waits for nothing any more")
    func resetWhileWriting() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let pair = try await Pair(environment)
            let failed = Mailbox<NetworkError.Reason?>(on: loop)
            let writing = loop.spawn {
                let writer = StreamConversation(pair.client)
                do throws(NetworkError) {
                    while true { try await writer.send(pattern(1 << 18)) }
                } catch {
                    failed.put(error.reason)
                }
            }
            let reader = StreamConversation(pair.server)
            var read = 0
            while read < 1 << 20 { read += try await reader.receive()?.count ?? 0 }
            pair.server.reset()
            let reason = try await failed.next()
            #expect(reason == .reset)
            #expect(pair.client.failure == .reset && pair.client.queued == 0)
            await writing.value
            pair.client.close()
        }
    }

    @Test("5,000 connections at once, opened and dropped in every manner, leave nothing behind")
    func manyConnections() async {
        await #expect(processExitsWith: .success) {
            try await withEnvironment { environment in
                let loop = environment.loop
                limitDescriptors(to: 20_000)
                let before = descriptorCount()
                var options = TCPOptions()
                options.backlog = 4096
                let listener = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: options)
                let accepted = Mailbox<ByteStream>(on: loop)
                listener.onConnection = { accepted.put($0) }
                let dialled = Mailbox<ByteStream>(on: loop)
                for _ in 0..<5000 {
                    loop.spawn {
                        guard
                            let stream = try? await environment.connectTCP(
                                listener.localAddress, from: nil, options: options, deadline: loop.now + .seconds(40))
                        else { return }
                        dialled.put(stream)
                    }
                }
                let clients = try await dialled.next(5000)
                let servers = try await accepted.next(5000)
                #expect(descriptorCount() >= before + 10_000)
                for (number, (client, server)) in zip(clients, servers).enumerated() {
                    client.write([1, 2, 3])
                    server.write([4, 5])
                    if number & 1 == 0 { client.close() } else { client.reset() }
                    if number & 2 == 0 { server.close() } else { server.reset() }
                }
                listener.close()
                while descriptorCount() > before { try await loop.sleep(for: .milliseconds(5)) }
                #expect(loop.timers.armed == 1, "the test's own deadline")
            }
        }
    }

    @Test("accepting goes on after descriptors ran out, without spinning, and says so once")
    func descriptorLimit() async {
        await #expect(processExitsWith: .success) {
            let log = CapturedLog()
            try await withEnvironment(log: log) { environment in
                let loop = environment.loop
                let listener = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: TCPOptions())
                limitDescriptors(to: descriptorCount() + 20)
                var clients: [ByteStream] = []
                var dialError: NetworkError.Reason?
                // What the process had open for a moment as it began gives room once more.
                var refusals = 0
                while refusals < 10 {
                    do throws(NetworkError) {
                        clients.append(
                            try await environment.connectTCP(
                                listener.localAddress, from: nil, options: TCPOptions(),
                                deadline: loop.now + .seconds(5)))
                        refusals = 0
                    } catch {
                        dialError = error.reason
                        refusals += 1
                        try await loop.sleep(for: .milliseconds(20))
                    }
                }
                #expect(dialError == .exhausted)
                let accepted = Mailbox<ByteStream>(on: loop)
                listener.onConnection = { accepted.put($0) }
                var usage = rusage()
                getrusage(RUSAGE_SELF.rawValue, &usage)
                let before = usage.ru_utime.tv_sec * 1_000_000 + usage.ru_utime.tv_usec
                try await loop.sleep(for: .milliseconds(350))
                getrusage(RUSAGE_SELF.rawValue, &usage)
                let spent = usage.ru_utime.tv_sec * 1_000_000 + usage.ru_utime.tv_usec - before
                #expect(spent < 200_000, "it spun")
                #expect(accepted.waiting == 0)
                #expect(log.lines(saying: "new TCP connections wait").count == 1)
                limitDescriptors(to: 4096)
                _ = try await accepted.next(clients.count)
            }
        }
    }

    @Test("a connection that comes and goes before it is accepted disturbs nobody")
    func goneBeforeAccept() async throws {
        try await withEnvironment { environment in
            let loop = environment.loop
            let listener = try environment.listenTCP(SocketAddress(.loopbackV4, port: 0), options: TCPOptions())
            for _ in 0..<10 {
                let client = try await environment.connectTCP(
                    listener.localAddress, from: nil, options: TCPOptions(), deadline: loop.now + .seconds(5))
                client.reset()
            }
            let client = try await environment.connectTCP(
                listener.localAddress, from: nil, options: TCPOptions(), deadline: loop.now + .seconds(5))
            let heard = Mailbox<Bytes?>(on: loop)
            listener.onConnection = { stream in
                loop.spawn {
                    if let bytes = try? await StreamConversation(stream).receive() { heard.put(bytes) }
                    stream.close()
                }
            }
            client.write([7])
            let bytes = try await heard.next()
            #expect(bytes == [7])
        }
    }
}
