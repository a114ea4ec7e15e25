import Testing

@testable import MartletRuntime

@Suite("UDP buffers that the kernel grants")
struct GrantedBufferTests {
    @Test(
        "are less than asked for where one of them is",
        arguments: [(100, 50, false), (200, 60, false), (99, 50, true), (100, 49, true), (0, 0, true)])
    func less(receive: Int, send: Int, isLess: Bool) {
        var options = UDPOptions()
        (options.receiveBufferSize, options.sendBufferSize) = (100, 50)
        #expect(BufferSizes(receive: receive, send: send).isLess(than: options) == isLess)
    }

    @Test("are told with what was asked for, and with the file that helps, from the level info on")
    func told() {
        let sink = CollectingLogSink()
        let log = Logger(subsystem: "udp", sink: sink, levels: LogLevels(.info))
        SystemUDPSocket.complain(of: BufferSizes(receive: 212_992, send: 212_992), UDPOptions(), log)
        #expect(sink.records.count == 1)
        let message = sink.records.first?.message ?? ""
        #expect(message.contains("granted smaller UDP buffers") && message.contains("Deploy/sysctl.d/90-martlet.conf"))
        let fields = sink.records.first?.fields.map { "\($0.key)=\($0.value)" } ?? []
        #expect(fields.contains("receiveBuffer=212992") && fields.contains("receiveBufferAsked=4194304"))
    }
}
