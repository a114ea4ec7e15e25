import MartletRuntime
public import MartletWire

/// The mesh's machine for the fuzzer, which stands in a package of its own and sees only what is public.
@_spi(Fuzzing)
public enum MeshExercise {
    private struct Counter: RandomNumberGenerator {
        var value: UInt64 = 0

        mutating func next() -> UInt64 {
            value &+= 0x9E37_79B9_7F4A_7C15
            return value
        }
    }

    /// Feeds `input` to a machine as what two strangers send and one dialled peer answers: the first byte of a piece
    /// says from whom it comes and how long it is. Traps where a bound does not hold.
    public static func run(_ input: Bytes) {
        var now = Instant.start + .seconds(1)
        var mesh = Mesh(
            port: 8001, own: [IPAddress(192, 168, 1, 5)], configuration: MeshConfiguration(), random: Counter(), at: now
        )
        mesh.start(at: [.ip(SocketAddress(IPAddress(192, 168, 1, 9), port: 8001))], now: now)
        var numbers: [Int] = []
        let local = SocketAddress(IPAddress(192, 168, 1, 5), port: 8001)
        for host in [IPAddress(192, 168, 1, 7), IPAddress(203, 0, 113, 7)] {
            let remote = SocketAddress(host, port: 40_000)
            if let number = mesh.handleAccepted(from: remote, local: local, at: now) { numbers.append(number) }
        }
        drain(&mesh, &numbers, at: now)
        var rest = 0
        while rest < input.count {
            let head = input[rest]
            let end = min(input.count, rest + 1 + Int(head >> 2))
            let number = Int(head & 3) < numbers.count ? numbers[Int(head & 3)] : 0
            mesh.handleBytes(number, input.slice(rest + 1..<end).span, at: now)
            rest = end
            now += .milliseconds(100)
            if mesh.deadline <= now { mesh.handleTimeout(at: now) }
            drain(&mesh, &numbers, at: now)
        }
        precondition(mesh.book.count <= 256 + 3, "an address book that grows")
        precondition(mesh.connections.count <= 200, "connections that nobody made")
    }

    private static func drain(_ mesh: inout Mesh<Counter>, _ numbers: inout [Int], at now: Instant) {
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
                    local: SocketAddress(IPAddress(192, 168, 1, 5), port: 50_000), at: now)
            case .send(_, let bytes): precondition(bytes.last == 0x0A, "a line without its end")
            case .report(.message(_, let text)):
                precondition(
                    !text.contains("\n") && text.utf8.count <= 3 * LineBuffer.longestLine, "a message of lines")
                precondition(!MeshText.escaped(text).unicodeScalars.contains(where: MeshText.isUnsafe), "unsafe text")
            default: break
            }
        }
    }
}
