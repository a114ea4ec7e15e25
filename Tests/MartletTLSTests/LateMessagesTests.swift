import MartletTLS
import Testing

@Suite("What TLS says behind a handshake")
struct LateMessagesTests {
    private static let ticket: [UInt8] = [4, 0, 0, 5, 1, 2, 3, 4, 5]

    @Test("tickets are passed over, wherever they are cut")
    func tickets() {
        let bytes = Self.ticket + [4, 0, 0, 0] + Self.ticket
        for size in 1...bytes.count {
            var messages = LateMessages(to: .client)
            for start in stride(from: 0, to: bytes.count, by: size) {
                #expect(pass(bytes[start..<min(start + size, bytes.count)], &messages))
            }
        }
    }

    @Test("anything but a ticket breaks the rules, and so does a ticket to a server", arguments: UInt8(0)...UInt8(255))
    func others(type: UInt8) {
        var toServer = LateMessages(to: .server)
        #expect(!pass([type, 0, 0, 0], &toServer))
        guard type != 4 else { return }
        var toClient = LateMessages(to: .client)
        #expect(!pass([type], &toClient))
        var behindTicket = LateMessages(to: .client)
        #expect(pass(Self.ticket[...], &behindTicket))
        #expect(!pass([type], &behindTicket))
    }

    @Test("tickets without end break the rules")
    func endless() {
        var messages = LateMessages(to: .client)
        let large: [UInt8] = [4, 0, 0x3F, 0xFC] + [UInt8](repeating: 7, count: 0x3FFC)
        for _ in 0..<4 { #expect(pass(large[...], &messages)) }
        #expect(!pass([4], &messages))
    }

    private func pass(_ bytes: ArraySlice<UInt8>, _ messages: inout LateMessages) -> Bool {
        bytes.withUnsafeBytes { messages.pass($0.bytes) }
    }
}
