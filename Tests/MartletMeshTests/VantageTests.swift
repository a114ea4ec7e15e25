import MartletWire
import Testing

@testable import MartletMesh

@Suite("What addresses mean")
struct VantageTests {
    /// This node listens on 8001 of a host that is 192.168.1.5 in its network.
    private let vantage = Vantage(port: 8001, own: [IPAddress(192, 168, 1, 5)])

    private func at(_ text: String) -> SocketAddress { SocketAddress(text)! }

    @Test(
        "an address is read as its teller means it",
        arguments: [
            // A loopback address is the teller's own host.
            ("localhost:8003", "192.168.1.9:4444", "192.168.1.9:8003"),
            ("127.0.0.9:8003", "192.168.1.9:4444", "192.168.1.9:8003"),
            ("0.0.0.0:8003", "192.168.1.9:4444", "192.168.1.9:8003"),
            ("[::1]:8003", "[fd00::9]:4444", "[fd00::9]:8003"),
            ("localhost:8003", "127.0.0.1:4444", "localhost:8003"),
            // This host is the same by whichever of its addresses.
            ("192.168.1.5:8003", "192.168.1.9:4444", "localhost:8003"),
            ("localhost:8003", "192.168.1.5:4444", "localhost:8003"),
            // Everything else is what it says.
            ("192.168.1.77:8003", "127.0.0.1:4444", "192.168.1.77:8003"),
            ("printer.example:8003", "192.168.1.9:4444", "printer.example:8003"),
            // Nobody listens at a group's address, and a link's address means nothing without the link.
            ("224.0.0.1:8003", "192.168.1.9:4444", nil), ("255.255.255.255:1", "192.168.1.9:4444", nil),
            ("[ff02::1]:8003", "192.168.1.9:4444", nil), ("[fe80::1]:8003", "192.168.1.9:4444", nil),
        ] as [(String, String, String?)])
    func reading(text: String, teller: String, meaning: String?) {
        #expect(vantage.read(MeshAddress(text)!, toldBy: at(teller))?.description == meaning)
    }

    @Test(
        "an address is written as its reader can use it",
        arguments: [
            ("localhost:8003", "127.0.0.1:5", "127.0.0.1:8001", "localhost:8003"),
            ("localhost:8003", "192.168.1.5:5", "192.168.1.5:8001", "localhost:8003"),
            ("localhost:8003", "192.168.1.9:5", "192.168.1.5:8001", "192.168.1.5:8003"),
            ("localhost:8003", "[fd00::9]:5", "[fd00::5]:8001", "[fd00::5]:8003"),
            ("192.168.1.77:8003", "192.168.1.9:5", "192.168.1.5:8001", "192.168.1.77:8003"),
            ("[fe80::1%2]:8003", "192.168.1.9:5", "192.168.1.5:8001", nil),
        ] as [(String, String, String, String?)])
    func writing(text: String, reader: String, local: String, written: String?) {
        let address = MeshAddress(text)!
        #expect(vantage.write(address, for: at(reader), seeingThisAt: at(local))?.description == written)
    }

    @Test("this node knows itself by its port at any address of its host")
    func oneself() {
        for text in ["localhost:8001", "192.168.1.5:8001", "[::1]:8001", "127.9.9.9:8001"] {
            #expect(vantage.isSelf(vantage.canonical(MeshAddress(text)!)), "\(text)")
        }
        for text in ["localhost:8002", "192.168.1.6:8001", "printer.example:8001"] {
            #expect(!vantage.isSelf(vantage.canonical(MeshAddress(text)!)), "\(text)")
        }
    }
}
