import Martlet
// The machine is internal: Scripts/fuzz builds everything for testing.
@testable import MartletMesh

/// The mesh's machine, and what two strangers and one dialled peer say to it.
struct MeshExercise {
    private struct Counter: RandomNumberGenerator {
        var value: UInt64 = 0

        mutating func next() -> UInt64 {
            value &+= 0x9E37_79B9_7F4A_7C15
            return value
        }
    }

    private static let here = IPAddress(192, 168, 1, 5)

    private var now = Instant.start + .seconds(1)
    private var mesh: Mesh<Counter>
    /// The connections of those who speak.
    private var numbers: [Int] = []

    init() {
        mesh = Mesh(
            port: 8001, own: [Self.here], configuration: MeshConfiguration(), random: Counter(), at: now)
        mesh.start(at: [.ip(SocketAddress(IPAddress(192, 168, 1, 9), port: 8001))], now: now)
        for host in [IPAddress(192, 168, 1, 7), IPAddress(203, 0, 113, 7)] {
            let number = mesh.handleAccepted(
                from: SocketAddress(host, port: 40_000), local: SocketAddress(Self.here, port: 8001), at: now)
            if let number { numbers.append(number) }
        }
        drain()
    }

    /// Hands in `input`: the first byte of a piece says who sends it and how long it is.
    mutating func take(_ input: Bytes) {
        var rest = 0
        while rest < input.count {
            let head = input[rest]
            let end = min(input.count, rest + 1 + Int(head >> 2))
            let number = Int(head & 3) < numbers.count ? numbers[Int(head & 3)] : 0
            mesh.handleBytes(number, input.slice(rest + 1..<end).span, at: now)
            rest = end
            now += .milliseconds(100)
            if mesh.deadline <= now { mesh.handleTimeout(at: now) }
            drain()
        }
        expect(mesh.book.count <= 256 + 3, "the address book is bounded")
        expect(mesh.connections.count <= 200, "nobody makes connections by speaking")
    }

    private mutating func drain() {
        while let action = mesh.nextAction() {
            switch action {
            case .dial(let number, let address):
                guard let ip = address.ip, numbers.count < 4 else {
                    mesh.handleEnd(number, .network(.refused), at: now)
                    continue
                }
                numbers.append(number)
                mesh.handleDialled(
                    number, remote: SocketAddress(ip, port: address.port),
                    local: SocketAddress(Self.here, port: 50_000), at: now)
            case .send(_, let bytes): expect(bytes.last == 0x0A, "what is sent is lines")
            case .report(.message(_, let text)):
                expect(
                    !text.contains("\n") && text.utf8.count <= 3 * LineBuffer.longestLine, "a message is one line")
                expect(
                    TerminalText.escaped(text).unicodeScalars.allSatisfy(TerminalText.isSafe), "what is escaped is safe"
                )
            default: break
            }
        }
    }
}
