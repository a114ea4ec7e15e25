import Foundation
import TestSupport
import Testing

@Suite("martlet dht")
struct DHTUsageTests {
    private func run(_ words: [String]) async throws -> (code: Int32, text: String) {
        let program = try TestProgram(TestProgram.path(of: "martlet"), ["dht"] + words)
        let code = try await program.end()
        try await program.waitForEndOfOutput()
        return (code, program.text)
    }

    @Test(
        "what is used wrongly ends with 2 and says how",
        arguments: [
            (["find"], "TOPIC is missing"),
            (["find", "x", "--bootstrap", "nowhere"], "'nowhere' is no HOST:PORT"),
            (["find", "x", "--time-limit", "soon"], "soon"),
            (["announce", "x", "--port", "0"], "0 is no port"),
            (["announce", "x", "--port", "65536"], "65536"),
            (["get", "abc"], "'abc' is neither 40 nor 64 digits"),
            (["put", "x", "--seq", "1"], "--salt and --seq go with --secret-key"),
            (["put", "x", "--secret-key", "/nonexistent/key"], "cannot be read"),
            (["put", String(repeating: "x", count: 1000)], "the value is too long"),
            (["sample", "--towards", "abc"], "'abc' is not 40 digits"),
            (["vote"], "vote"),
        ])
    func usage(words: [String], reason: String) async throws {
        let outcome = try await run(words)
        #expect(outcome.code == 2)
        #expect(outcome.text.contains(reason), "\(outcome.text)")
    }

    @Test(
        "where nobody answers, each ends with 3 when its time is up, and says whom it asked",
        arguments: [
            ["find", "x"], ["announce", "x", "--port", "1"], ["get", String(repeating: "0", count: 40)], ["put", "x"],
            ["nodes"], ["sample"],
        ])
    func noNetwork(words: [String]) async throws {
        let began = ContinuousClock.now
        // Port 9 of this machine: nobody is there.
        let outcome = try await run(words + ["--bootstrap", "127.0.0.1:9", "--time-limit", "500ms"])
        #expect(outcome.code == 3)
        #expect(outcome.text.contains("nobody answered") && outcome.text.contains("127.0.0.1:9"))
        #expect(ContinuousClock.now - began < .seconds(15))
    }
}
