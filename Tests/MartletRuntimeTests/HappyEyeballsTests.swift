import MartletRuntime
import MartletWire
import Testing

@Suite("Happy eyeballs (RFC 8305)")
struct HappyEyeballsTests {
    private func milliseconds(_ count: UInt64) -> Instant { Instant(nanoseconds: count * 1_000_000) }

    /// The attempts that are due.
    private func attempts(_ machine: inout HappyEyeballs<String>) -> [String] {
        var all: [String] = []
        while let address = machine.nextAttempt() { all.append(address) }
        return all
    }

    @Test("families take turns, IPv6 first, a quarter of a second apart")
    func interleaving() {
        var machine = HappyEyeballs<String>(at: milliseconds(0))
        #expect(machine.deadline == nil && attempts(&machine).isEmpty)
        machine.handleAnswer(["a6", "b6", "c6"], of: .v6, at: milliseconds(10))
        #expect(attempts(&machine) == ["a6"])
        machine.handleAnswer(["a4", "b4"], of: .v4, at: milliseconds(30))
        #expect(attempts(&machine).isEmpty)
        for (time, expected) in [(260, "a4"), (510, "b6"), (760, "b4"), (1010, "c6")] as [(UInt64, String)] {
            #expect(machine.deadline == milliseconds(time))
            machine.handleTimeout(at: milliseconds(time - 1))
            #expect(attempts(&machine).isEmpty)
            machine.handleTimeout(at: milliseconds(time))
            #expect(attempts(&machine) == [expected])
        }
        #expect(machine.deadline == nil && !machine.isExhausted)
        for _ in 0..<5 {
            #expect(!machine.isExhausted)
            machine.handleFailure(at: milliseconds(1100))
        }
        #expect(machine.isExhausted)
    }

    @Test("IPv4 alone waits 50 ms for IPv6, and not longer than its answer takes")
    func resolutionDelay() {
        var alone = HappyEyeballs<String>(at: milliseconds(0))
        alone.handleAnswer(["a4"], of: .v4, at: milliseconds(5))
        #expect(attempts(&alone).isEmpty && alone.deadline == milliseconds(55))
        alone.handleTimeout(at: milliseconds(55))
        #expect(attempts(&alone) == ["a4"])
        alone.handleAnswer(["a6"], of: .v6, at: milliseconds(80))
        #expect(attempts(&alone).isEmpty && alone.deadline == milliseconds(305))

        var answered = HappyEyeballs<String>(at: milliseconds(0))
        answered.handleAnswer(["a4"], of: .v4, at: milliseconds(5))
        answered.handleAnswer([], of: .v6, at: milliseconds(20))
        #expect(attempts(&answered) == ["a4"])

        var both = HappyEyeballs<String>(at: milliseconds(0))
        both.handleAnswer(["a4"], of: .v4, at: milliseconds(5))
        both.handleAnswer(["a6"], of: .v6, at: milliseconds(20))
        #expect(attempts(&both) == ["a6"])
    }

    @Test("a failure begins the next attempt at once, a success ends it all")
    func outcomes() {
        var machine = HappyEyeballs<String>(at: milliseconds(0))
        machine.handleAnswer(["a6"], of: .v6, at: milliseconds(1))
        #expect(attempts(&machine) == ["a6"])
        machine.handleFailure(at: milliseconds(2))
        #expect(attempts(&machine).isEmpty && !machine.isExhausted, "IPv4 has not answered")
        machine.handleAnswer(["a4", "b4", "c4"], of: .v4, at: milliseconds(3))
        #expect(attempts(&machine) == ["a4"])
        machine.handleFailure(at: milliseconds(4))
        #expect(attempts(&machine) == ["b4"])
        machine.handleSuccess()
        machine.handleTimeout(at: milliseconds(900))
        #expect(attempts(&machine).isEmpty && machine.deadline == nil && !machine.isExhausted)
        #expect(machine.hasSucceeded)
    }

    @Test("no address at all is an end as well")
    func nothing() {
        var machine = HappyEyeballs<String>(at: milliseconds(0))
        machine.handleAnswer([], of: .v4, at: milliseconds(1))
        #expect(!machine.isExhausted && machine.deadline == nil)
        machine.handleAnswer([], of: .v6, at: milliseconds(2))
        #expect(machine.isExhausted)
    }

    @Test("a name leads to whichever of its addresses answers, and errors tell why none did")
    func named() async throws {
        try await withEnvironment { system in
            let loop = system.loop
            let deadline = loop.now + .seconds(10)
            let full = try await FullListener(system)
            let port = full.listener.localAddress.port
            let world = ScriptedNames(
                system,
                [
                    "both.test": [.loopbackV6, .loopbackV4], "gone.test": [.loopbackV6],
                    // The first hangs, the second answers.
                    "slow.test": [.loopbackV4, IPAddress(127, 0, 0, 2)],
                ])
            let second = try system.listenTCP(
                SocketAddress(IPAddress(127, 0, 0, 2), port: port), options: TCPOptions())
            let open = try system.listenTCP(SocketAddress(.loopbackV4, port: 0), options: TCPOptions())
            for name in ["both.test", "127.0.0.1"] {
                let stream = try await world.connectTCP(
                    name: name, port: open.localAddress.port, deadline: deadline)
                #expect(stream.remoteAddress == open.localAddress)
                stream.close()
            }
            let stream = try await world.connectTCP(name: "slow.test", port: port, deadline: deadline)
            #expect(stream.remoteAddress == second.localAddress)
            stream.close()
            let nobody = SocketAddress(.loopbackV6, port: open.localAddress.port)
            await #expect(throws: DialError.unreachable([NetworkError(.refused, "connect", nobody)])) {
                _ = try await world.connectTCP(name: "gone.test", port: nobody.port, deadline: deadline)
            }
            await #expect(throws: DialError.name(.notFound)) {
                _ = try await world.connectTCP(name: "unknown.test", port: 1, deadline: deadline)
            }
            full.close()
        }
    }
}

/// An environment of this machine whose names are given.
private final class ScriptedNames: Environment {
    private let system: SystemEnvironment
    private let addresses: [String: [IPAddress]]

    init(_ system: SystemEnvironment, _ addresses: [String: [IPAddress]]) {
        self.system = system
        self.addresses = addresses
    }

    var loop: EventLoop { system.loop }
    var bootTime: Instant { loop.now }
    var wallTime: WallTime { system.wallTime }
    var random: RandomSource { system.random }
    var log: Logger { system.log }
    var files: any FileStore { preconditionFailure("not scripted") }

    func bindUDP(_ address: SocketAddress, options: UDPOptions) throws(NetworkError) -> UDPSocket {
        try system.bindUDP(address, options: options)
    }

    func listenTCP(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> TCPListener {
        try system.listenTCP(address, options: options)
    }

    func connectTCP(
        _ address: SocketAddress, from local: SocketAddress?, options: TCPOptions, deadline: Instant
    ) async throws(NetworkError) -> ByteStream {
        try await system.connectTCP(address, from: local, options: options, deadline: deadline)
    }

    func lookUp(_ name: String, _ type: RecordType, deadline: Instant) async throws(NameError) -> [NameRecord] {
        guard let known = addresses[name] else { throw .notFound }
        let wanted = known.filter { $0.isV6 == (type == .aaaa) }
        guard !wanted.isEmpty else { throw .noRecords }
        return wanted.map { .address($0) }
    }

    func interfaces() throws(NetworkError) -> [NetworkInterface] { [] }

    func watchInterfaces(_ change: @escaping () -> Void) throws(NetworkError) -> InterfaceWatch { InterfaceWatch() }

    func background<Result: Sendable>(
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result { try work() }
}
