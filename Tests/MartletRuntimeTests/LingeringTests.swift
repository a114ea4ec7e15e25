import MartletWire
import Testing

@testable import MartletRuntime

@Suite("Connections that are closed and still send")
struct LingeringTests {
    private final class Socket {}

    /// Lets a new socket linger for each of `addresses`; returns the places of those that had to go.
    private func victims(
        _ limits: LingerLimits, of addresses: [IPAddress], queued: Int = 100
    ) -> (places: [Int], left: Int) {
        var lingering = LingeringSockets<Socket>(limits)
        let sockets = addresses.map { _ in Socket() }
        var places: [Int] = []
        for (socket, address) in zip(sockets, addresses) {
            for victim in lingering.add(socket, to: address, queued: queued) {
                places.append(sockets.firstIndex { $0 === victim } ?? -1)
            }
        }
        let left = lingering.count
        for socket in sockets { lingering.remove(socket) }
        #expect(lingering.count == 0)
        return (places, left)
    }

    @Test("beyond each bound the oldest goes: of a host, of a network, of all, and by bytes")
    func bounds() {
        let limits = LingerLimits()
        let ofHost = victims(limits, of: (0..<4).map { _ in IPAddress(192, 0, 2, 1) })
        #expect(ofHost.places == [0, 1] && ofHost.left == 2)
        let ofSubnet = victims(limits, of: (0..<4).map { IPAddress(v6: 0x2001_0db8 << 96 | UInt128($0)) })
        #expect(ofSubnet.places == [0, 1] && ofSubnet.left == 2)
        let ofNetwork = victims(limits, of: (0..<10).map { IPAddress(192, 0, 2, $0) })
        #expect(ofNetwork.places == [0, 1] && ofNetwork.left == 8)
        let everywhere = (0..<130).map { IPAddress(192, 0, $0, 1) }
        let ofAll = victims(limits, of: everywhere)
        #expect(ofAll.places == [0, 1] && ofAll.left == 128)
        let byBytes = victims(limits, of: everywhere, queued: 4 << 20)
        #expect(byBytes.places == Array(0..<125) && byBytes.left == 5)
    }

    @Test("a host that makes connections and reads nothing holds two of them once they are closed, and a reader all")
    func readsNothing() async throws {
        try await withEnvironment { environment in
            var pairs: [Pair] = []
            for _ in 0..<6 { pairs.append(try await Pair(environment)) }
            let whole = pattern(7 << 20)
            for pair in pairs {
                pair.server.write(whole)
                pair.server.close()
            }
            for pair in pairs.prefix(4) {
                await #expect(throws: NetworkError.self) { try await SystemTCPTests.readAll(pair.client) }
            }
            #expect(environment.poller.lingering.count == 2)
            for pair in pairs.suffix(2) {
                let received = try await SystemTCPTests.readAll(pair.client)
                #expect(received == whole)
            }
            #expect(environment.poller.lingering.count == 0)
            // What the system takes at once does not linger, however much is closed.
            for _ in 0..<6 {
                let pair = try await Pair(environment)
                pair.server.write(pattern(100))
                pair.server.close()
                pairs.append(pair)
            }
            for pair in pairs.suffix(6) {
                let received = try await SystemTCPTests.readAll(pair.client)
                #expect(received == pattern(100))
            }
            for pair in pairs {
                pair.client.close()
                pair.listener.close()
            }
        }
    }
}
