import Glibc
import MartletRuntime
import MartletWire
import Testing

@Suite("Interfaces")
struct InterfaceTests {
    @Test("the loopback interface is listed with its address and prefix")
    func loopback() async throws {
        try await withEnvironment { environment in
            let interfaces = try environment.interfaces()
            let loopback = try #require(interfaces.first { $0.address == .loopbackV4 })
            #expect(loopback.isLoopback && loopback.isUp && loopback.prefixLength == 8 && loopback.index > 0)
            #expect(interfaces == interfaces.sorted { ($0.index, $0.address) < ($1.index, $1.address) })
        }
    }

    @Test("an address that comes or goes, and an interface that goes away, are noticed")
    func changes() async throws {
        let environment = try await inOwnNamespaces {
            try SystemEnvironment(name: "test", log: CapturedLog().logger)
        }
        try await with(environment) { environment in
            let control = try InterfaceControl()
            let changed = Signal(on: environment.loop)
            #expect(try environment.interfaces() == [])
            var watch: InterfaceWatch? = try environment.watchInterfaces { changed.signal() }

            try control.setUp("lo", true)
            try await changed.wait(until: { try environment.interfaces().contains { $0.address == .loopbackV4 } })
            let loopback = try #require(try environment.interfaces().first { $0.address == .loopbackV4 })
            #expect(loopback.name == "lo" && loopback.isLoopback && loopback.isUp && loopback.prefixLength == 8)

            let added = IPAddress(127, 0, 0, 77)
            try control.setAddress("lo:77", added)
            try await changed.wait(until: { try environment.interfaces().contains { $0.address == added } })
            try control.setUp("lo:77", false)
            try await changed.wait(until: { try !environment.interfaces().contains { $0.address == added } })

            try control.makeBridge("martlet0")
            try control.setAddress("martlet0", IPAddress(10, 9, 8, 7))
            try control.setUp("martlet0", true)
            try await changed.wait(until: { try environment.interfaces().contains { $0.name == "martlet0" } })
            let bridge = try #require(try environment.interfaces().first { $0.name == "martlet0" })
            #expect(bridge.address == IPAddress(10, 9, 8, 7) && bridge.prefixLength == 8 && !bridge.isLoopback)
            try control.setUp("martlet0", false)
            try control.removeBridge("martlet0")
            try await changed.wait(until: { try !environment.interfaces().contains { $0.name == "martlet0" } })

            #expect(watch != nil)
            watch = nil
        }
    }

    @Test("many messages are one change, a change that is undone at once is none, and a watch let go hears nothing")
    func coalescing() async throws {
        let environment = try await inOwnNamespaces {
            try SystemEnvironment(name: "test", log: CapturedLog().logger)
        }
        try await with(environment) { environment in
            let control = try InterfaceControl()
            try control.setUp("lo", true)
            let loop = environment.loop
            var (kept, dropped) = (0, 0)
            let changed = Signal(on: loop)
            let watch = try environment.watchInterfaces {
                kept += 1
                changed.signal()
            }
            var other: InterfaceWatch? = try environment.watchInterfaces { dropped += 1 }
            for last: UInt8 in 10..<60 { try control.setAddress("lo:\(last)", IPAddress(127, 0, 0, last)) }
            try await changed.wait()
            #expect(kept == 1 && dropped <= 1)
            #expect(try environment.interfaces().count >= 51)
            other = nil
            dropped = 0
            #expect(other == nil)

            // Two changes that amount to nothing, and one that does: the callback comes once, for the last.
            try control.setAddress("lo:70", IPAddress(127, 0, 0, 70))
            try control.setUp("lo:70", false)
            try await loop.sleep(for: .milliseconds(120))
            #expect(kept == 1)
            try control.setAddress("lo:71", IPAddress(127, 0, 0, 71))
            try await changed.wait()
            #expect(kept == 2 && dropped == 0)
            withExtendedLifetime(watch) {}
        }
    }
}

extension Signal {
    /// Waits for signals until `isSo`.
    fileprivate nonisolated(nonsending) func wait(until isSo: () throws -> Bool) async throws {
        while try !isSo() { try await wait() }
    }
}

/// Makes loopback work in the network that the thread is in.
func setLoopbackUp() throws { try InterfaceControl().setUp("lo", true) }

/// Changes the interfaces of the network that the thread is in, as netdevice(7) says.
private final class InterfaceControl {
    private let socket: Int32
    private static let setFlags: UInt = 0x8914
    private static let getFlags: UInt = 0x8913
    private static let setAddress: UInt = 0x8916
    private static let makeBridge: UInt = 0x89A0
    private static let removeBridge: UInt = 0x89A1

    init() throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        try #require(socket >= 0)
    }

    deinit { close(socket) }

    func setUp(_ name: String, _ isUp: Bool) throws {
        var request = Self.request(name)
        try #require(ioctl(socket, Self.getFlags, &request) == 0)
        request[16] = isUp ? request[16] | UInt8(IFF_UP) : request[16] & ~UInt8(IFF_UP)
        try #require(ioctl(socket, Self.setFlags, &request) == 0)
    }

    func setAddress(_ name: String, _ address: IPAddress) throws {
        var request = Self.request(name)
        request[16] = UInt8(AF_INET)
        for index in 0..<4 { request[20 + index] = UInt8(truncatingIfNeeded: address.number >> (24 - 8 * index)) }
        try #require(ioctl(socket, Self.setAddress, &request) == 0)
    }

    func makeBridge(_ name: String) throws {
        var request = Self.request(name)
        try #require(ioctl(socket, Self.makeBridge, &request) == 0)
    }

    func removeBridge(_ name: String) throws {
        var request = Self.request(name)
        try #require(ioctl(socket, Self.removeBridge, &request) == 0)
    }

    /// A `struct ifreq` with `name` in it.
    private static func request(_ name: String) -> [UInt8] {
        Array(name.utf8) + [UInt8](repeating: 0, count: 40 - name.utf8.count)
    }
}
