import MartletRuntime
import MartletWire
import Testing

/// This counts what a process has, so it runs in one of its own.
@Suite("Shutdown of names, files and threads")
struct OutsideShutdownTests {
    @Test("after shutdown nothing is left of names, a watch of interfaces, files and background work")
    func leavesNothing() async {
        await #expect(processExitsWith: .success) {
            let server = try NameServer()
            let directory = try TemporaryDirectory()
            var before: Int?
            for _ in 0..<4 {
                let environment = try SystemEnvironment(
                    name: "counted", directory: directory.path, log: CapturedLog().logger,
                    names: NameOptions(servers: [server.address]))
                let loop = environment.loop
                let watch = try await loop.run {
                    let deadline = loop.now + .seconds(10)
                    let answer = try await environment.lookUp("a.test", .a, deadline: deadline)
                    #expect(answer.count == 2)
                    loop.spawn { _ = try? await environment.lookUp("silent.test", .a, deadline: deadline) }
                    try await environment.files.append(Bytes(utf8: "1"), to: "a")
                    try await environment.background {}
                    return Kept(try environment.watchInterfaces {})
                }
                #expect(threadCount(named: "martlet-disk") == 1)
                #expect(threadCount(named: "martlet-worker") == 1)
                #expect(environment.backgroundThreads == 2)
                await environment.shutdown()
                if let before { #expect(descriptorCount() == before) }
                before = descriptorCount()
                #expect(threadCount(named: "counted") == 0)
                #expect(threadCount(named: "martlet-disk") == 0)
                #expect(threadCount(named: "martlet-worker") == 0)
                #expect(loop.timers.armed == 0)
                withExtendedLifetime(watch) {}
            }
            server.stop()
        }
    }

    /// Holds a watch until after the shutdown, and is not touched by two threads at once.
    private final class Kept: @unchecked Sendable {
        // The loop has ended when this is let go.
        let watch: InterfaceWatch
        init(_ watch: InterfaceWatch) { self.watch = watch }
    }
}
