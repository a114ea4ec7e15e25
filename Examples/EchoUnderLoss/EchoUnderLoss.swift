import Martlet
import MartletRuntime
import MartletSimulator

/// An echo protocol over UDP, tried out in a world that loses a fifth of all packets.
@main
struct EchoUnderLoss {
    static func main() throws { try tryOut() }

    /// Apart from `main`, whose closures would belong to the main actor, which is no part of a world.
    static func tryOut() throws {
        // Everything random follows from the seed: the same number, the same run. A failure tells its seed.
        let world = World(seed: 1)
        let server = world.host("server", IPAddress(192, 0, 2, 1))
        let home = world.network("home", behind: .nat(.symmetric), IPAddress(198, 51, 100, 1))
        let client = world.host("client", IPAddress(10, 0, 0, 2), in: home)
        client.line = LinkConditions(latency: .milliseconds(40), jitter: .milliseconds(10), loss: 0.2)
        world.addCheckers()

        // This is ordinary code over an `Environment`. With a `SystemEnvironment` it would run on a real machine.
        server.start { environment in try await echo(environment) }
        var answers = 0
        client.start { environment in answers = try await ask(environment, SocketAddress(server.address, port: 7)) }

        // The clock jumps from event to event, so minutes pass in milliseconds.
        try world.run(within: .seconds(600)) { answers == 100 }
        print("100 answers after \(world.now) s, with \(world.statistics.dropped[.loss]) packets lost")
    }

    /// Sends every datagram back.
    static func echo(_ environment: some Environment) async throws {
        let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 7), options: UDPOptions())
        socket.onDatagram = { datagram in
            _ = socket.send(datagram.bytes, to: datagram.source)
        }
        try await environment.loop.sleep(until: .never)
    }

    /// Asks a hundred questions, each again and again until its answer comes, and says how many were answered.
    static func ask(_ environment: some Environment, _ server: SocketAddress) async throws -> Int {
        let socket = try environment.bindUDP(SocketAddress(.anyV4, port: 0), options: UDPOptions())
        let answered = Signal(on: environment.loop)
        var question: UInt8 = 0
        socket.onDatagram = { datagram in
            // A late answer to an earlier question is no answer to this one.
            if datagram.bytes.byteCount == 1, datagram.bytes[0] == question { answered.signal() }
        }
        for number in 1...100 as ClosedRange<UInt8> {
            question = number
            let resend = LoopTimer(on: environment.loop) { answered.signal() }
            repeat {
                _ = socket.send(Bytes([number]).span, to: server)
                resend.arm(after: .milliseconds(200))
                try await answered.wait()
            } while resend.deadline == nil
        }
        return 100
    }
}
