import Glibc
import MartletRuntime
import MartletWire
import Testing

@Suite("Names")
struct NameTests {
    /// Runs `body` with an environment whose names come from a server on loopback.
    private func withServer(
        firstTimeout: Duration = .milliseconds(200), change: (inout NameOptions) -> Void = { _ in },
        _ body: nonisolated(nonsending) @Sendable @escaping (SystemEnvironment, NameServer) async throws -> Void
    ) async throws {
        let server = try NameServer()
        defer { server.stop() }
        var options = NameOptions(servers: [server.address])
        options.firstTimeout = firstTimeout
        change(&options)
        let environment = try SystemEnvironment(name: "test", log: CapturedLog().logger, names: options)
        try await with(environment) { try await body($0, server) }
    }

    @Test("addresses, text and services are found")
    func records() async throws {
        try await withServer { environment, _ in
            let deadline = environment.loop.now + .seconds(5)
            let four = try await environment.lookUp("a.test", .a, deadline: deadline)
            #expect(Set(four) == [.address(IPAddress(192, 0, 2, 1)), .address(IPAddress(192, 0, 2, 2))])
            let six = try await environment.lookUp("a.test.", .aaaa, deadline: deadline)
            #expect(six == [.address(try IPAddress(parsing: "2001:db8::1"))])
            let text = try await environment.lookUp("_dnsaddr.a.test", .txt, deadline: deadline)
            #expect(text == [.text(Bytes(utf8: "dnsaddr=/ip4/192.0.2.1/tcp/4001")), .text(Bytes(utf8: "second"))])
            let bytes = try await environment.lookUp("bytes.test", .txt, deadline: deadline)
            #expect(bytes == [.text(Bytes([0, 255, 10, 92])), .text(Bytes())])
            let services = try await environment.lookUp("_x._tcp.test", .srv, deadline: deadline)
            #expect(
                services == [
                    .service(target: "a.test", port: 4001, priority: 1, weight: 2),
                    .service(target: "b.test", port: 80, priority: 3, weight: 4),
                ])
        }
    }

    @Test("a name that there is not differs from one that has no such records, and from a server that fails")
    func failures() async throws {
        try await withServer { environment, _ in
            let deadline = environment.loop.now + .seconds(5)
            for type in [RecordType.a, .aaaa, .txt, .srv] {
                await #expect(throws: NameError.notFound) {
                    try await environment.lookUp("nx.test", type, deadline: deadline)
                }
                await #expect(throws: NameError.noRecords) {
                    try await environment.lookUp("empty.test", type, deadline: deadline)
                }
            }
            await #expect(throws: NameError.noRecords) {
                try await environment.lookUp("four.test", .aaaa, deadline: deadline)
            }
            await #expect(throws: NameError.noRecords) {
                try await environment.lookUp("nowhere.test", .srv, deadline: deadline)
            }
            await #expect(throws: NameError.noRecords) {
                try await environment.lookUp("bad.test", .srv, deadline: deadline)
            }
            for name in ["servfail.test", "refused.test"] {
                let error = await #expect(throws: NameError.self) {
                    try await environment.lookUp(name, .txt, deadline: deadline)
                }
                if case .unavailable = error {} else { Issue.record("\(name): \(String(describing: error))") }
            }
        }
    }

    @Test(
        "what is no name is not asked for",
        arguments: [
            "", ".", "a..b", ".a", "a b", "a/b", "bücher.example", "a\0", "a\n", "*.a",
            String(repeating: "a", count: 64) + ".test", String(repeating: "abcdefg.", count: 32),
        ])
    func malformed(name: String) async throws {
        try await withServer { environment, server in
            for type in [RecordType.a, .aaaa, .txt, .srv] {
                await #expect(throws: NameError.malformed) {
                    try await environment.lookUp(name, type, deadline: environment.loop.now + .seconds(5))
                }
            }
            #expect(server.questions == [])
        }
    }

    @Test("addresses and this host's own names are answered without a server")
    func known() async throws {
        try await withServer { environment, server in
            let deadline = environment.loop.now + .seconds(5)
            for name in ["localhost", "LocalHost.", "a.b.localhost"] {
                #expect(try await environment.lookUp(name, .a, deadline: deadline) == [.address(.loopbackV4)])
                #expect(try await environment.lookUp(name, .aaaa, deadline: deadline) == [.address(.loopbackV6)])
                await #expect(throws: NameError.noRecords) {
                    try await environment.lookUp(name, .txt, deadline: deadline)
                }
            }
            let four = try await environment.lookUp("192.0.2.7", .a, deadline: deadline)
            #expect(four == [.address(IPAddress(192, 0, 2, 7))])
            #expect(try await environment.lookUp("::1", .aaaa, deadline: deadline) == [.address(.loopbackV6)])
            await #expect(throws: NameError.noRecords) {
                try await environment.lookUp("::1", .a, deadline: deadline)
            }
            #expect(server.questions == [])
        }
    }

    @Test("a server that never answers is given up at the deadline, however often it was tried before")
    func silentServer() async throws {
        // Three tries of 10, 20 and 40 ms are over long before the deadline.
        try await withServer(firstTimeout: .milliseconds(10)) { environment, server in
            for type in [RecordType.a, .txt] {
                let deadline = environment.loop.now + .milliseconds(300)
                await #expect(throws: NameError.timedOut) {
                    try await environment.lookUp("silent.test", type, deadline: deadline)
                }
                #expect(environment.loop.now >= deadline)
                #expect(environment.loop.now < deadline + .seconds(1))
            }
            #expect(server.questions.count > 3)
            let deadline = environment.loop.now + .seconds(5)
            let answer = try await environment.lookUp("a.test", .a, deadline: deadline)
            #expect(answer.count == 2)
        }
    }

    @Test("nobody at the server's address is no server")
    func noServer() async throws {
        let server = try NameServer()
        server.stop()
        let options = NameOptions(servers: [server.address])
        let environment = try SystemEnvironment(name: "test", log: CapturedLog().logger, names: options)
        try await with(environment) { environment in
            let error = await #expect(throws: NameError.self) {
                try await environment.lookUp("a.test", .a, deadline: environment.loop.now + .seconds(5))
            }
            if case .unavailable = error {} else { Issue.record("\(String(describing: error))") }
        }
    }

    @Test("a cancelled look-up ends at once, and the others go on")
    func cancellation() async throws {
        try await withServer { environment, _ in
            let loop = environment.loop
            var outcome: NameError?
            let task = loop.spawn {
                do throws(NameError) {
                    _ = try await environment.lookUp("silent.test", .a, deadline: loop.now + .seconds(20))
                } catch {
                    outcome = error
                }
            }
            let begun = loop.now
            _ = try await environment.lookUp("a.test", .a, deadline: loop.now + .seconds(5))
            task.cancel()
            await task.value
            #expect(outcome == .cancelled)
            #expect(loop.now < begun + .seconds(5))
            let answer = try await environment.lookUp("a.test", .a, deadline: loop.now + .seconds(5))
            #expect(answer.count == 2)
        }
    }

    @Test("questions in flight and questions that wait are bounded, and given-up ones make room")
    func bounds() async throws {
        try await withServer(change: {
            $0.maximumInFlight = 4
            $0.maximumWaiting = 8
        }) { environment, server in
            let loop = environment.loop
            var (late, refused) = (0, 0)
            let deadline = loop.now + .milliseconds(300)
            let tasks = (0..<20).map { number in
                loop.spawn {
                    do throws(NameError) {
                        _ = try await environment.lookUp("silent.x\(number).test", .a, deadline: deadline)
                    } catch .timedOut {
                        late += 1
                    } catch .unavailable {
                        refused += 1
                    } catch {
                        Issue.record(error)
                    }
                }
            }
            for task in tasks { await task.value }
            #expect(late == 12 && refused == 8)
            #expect(Set(server.questions).count <= 4)
            let again = try await environment.lookUp("a.test", .a, deadline: loop.now + .seconds(5))
            #expect(again.count == 2)
        }
    }

    @Test("a thousand look-ups at once each get their own answer")
    func many() async throws {
        try await withServer { environment, _ in
            let loop = environment.loop
            var wrong: [Int] = []
            let tasks = (0..<1000).map { number in
                loop.spawn {
                    let address = IPAddress(10, 0, UInt8(number >> 8), UInt8(number & 0xFF))
                    let answer = try? await environment.lookUp(
                        "many\(number).test", .a, deadline: loop.now + .seconds(20))
                    if answer != [.address(address)] { wrong.append(number) }
                }
            }
            for task in tasks { await task.value }
            #expect(wrong == [])
        }
    }

    @Test("hostile answers are errors, and the true answer behind them is still taken")
    func hostile() async throws {
        try await withServer(firstTimeout: .milliseconds(50)) { environment, _ in
            let loop = environment.loop
            for name in ["wrongid", "truncated", "loop", "chain", "short"] {
                await #expect(throws: NameError.self) {
                    try await environment.lookUp("\(name).test", .a, deadline: loop.now + .milliseconds(400))
                }
            }
            let answer = try await environment.lookUp("twice.test", .a, deadline: loop.now + .seconds(5))
            #expect(answer.count == 2)
        }
    }

    @Test("an answer that is cut off anywhere, or wrong in any byte, harms nothing")
    func everyByte() async throws {
        try await withServer(firstTimeout: .milliseconds(50)) { environment, _ in
            let loop = environment.loop
            // The whole answer for `cut10.test` has 12 + 16 + 16 bytes, and the name is the longest here.
            for type in [RecordType.a, .aaaa, .txt, .srv] {
                var cut: [NameError?] = []
                let deadline = loop.now + .milliseconds(400)
                let tasks =
                    (0..<43).map { number in
                        loop.spawn {
                            do throws(NameError) {
                                _ = try await environment.lookUp("cut\(number).test", type, deadline: deadline)
                                cut.append(nil)
                            } catch {
                                cut.append(error)
                            }
                        }
                    }
                    + (2..<120).map { number in
                        loop.spawn {
                            _ = try? await environment.lookUp("flip\(number).test", type, deadline: deadline)
                        }
                    }
                for task in tasks { await task.value }
                #expect(cut.count == 43 && !cut.contains(nil))
            }
            let answer = try await environment.lookUp("a.test", .a, deadline: loop.now + .seconds(5))
            #expect(answer.count == 2)
        }
    }

    @Test("the system's servers, search list and hosts file are used")
    func systemConfiguration() async throws {
        let directory = try TemporaryDirectory()
        try write("nameserver 127.0.0.1\nsearch lan.test\n", to: directory.path + "/resolv.conf")
        try write("192.0.2.55 printer printer.lan\n2001:db8::55 printer\n", to: directory.path + "/hosts")
        let (environment, server) = try await inOwnNamespaces {
            try mountOver("/etc/resolv.conf", directory.path + "/resolv.conf")
            try mountOver("/etc/hosts", directory.path + "/hosts")
            try setLoopbackUp()
            let server = try NameServer(port: 53)
            return (try SystemEnvironment(name: "test", log: CapturedLog().logger), server)
        }
        defer { server.stop() }
        try await with(environment) { environment in
            let deadline = environment.loop.now + .seconds(5)
            let printer = try await environment.lookUp("printer", .a, deadline: deadline)
            #expect(printer == [.address(IPAddress(192, 0, 2, 55))])
            let six = try await environment.lookUp("printer", .aaaa, deadline: deadline)
            #expect(six == [.address(try IPAddress(parsing: "2001:db8::55"))])
            #expect(server.questions == [])
            _ = try await environment.lookUp("numbered", .a, deadline: deadline)
            #expect(server.questions == ["numbered.lan.test"])
        }
    }

    @Test("shutting down answers who waits, and later look-ups")
    func shutdown() async throws {
        let server = try NameServer()
        defer { server.stop() }
        let options = NameOptions(servers: [server.address])
        let environment = try SystemEnvironment(name: "test", log: CapturedLog().logger, names: options)
        let loop = environment.loop
        let tasks = try await loop.run {
            ["silent.test", "silent2.test"].map { name in
                loop.spawn {
                    await #expect(throws: NameError.cancelled) {
                        try await environment.lookUp(name, .a, deadline: .never)
                    }
                }
            }
        }
        try await loop.run {}
        await environment.shutdown()
        for task in tasks { await task.value }
    }
}

private func write(_ text: String, to path: String) throws {
    let file = open(path, O_WRONLY | O_CREAT, 0o644)
    try #require(file >= 0)
    try #require(Glibc.write(file, text, text.utf8.count) == text.utf8.count)
    close(file)
}
