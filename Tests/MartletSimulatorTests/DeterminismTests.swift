import Foundation
import Testing

@Suite("Determinism")
struct DeterminismTests {
    /// What the program BusyWorld prints for `seeds`.
    static func digests(_ seeds: [UInt64], deterministicHashing: Bool, seed: UInt64? = nil) throws -> [String] {
        let process = Process()
        // The test bundle and the program are built into the same folder.
        let bundle = try #require(CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? Bundle.main.executablePath)
        process.executableURL = URL(fileURLWithPath: bundle).deletingLastPathComponent().appending(path: "BusyWorld")
        process.arguments = seeds.map { String($0) }
        var environment = ProcessInfo.processInfo.environment
        environment["MARTLET_SEED"] = seed.map { String($0) }
        environment["SWIFT_DETERMINISTIC_HASHING"] = deterministicHashing ? "1" : nil
        process.environment = environment
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return text.split(separator: "\n").map(String.init)
    }

    @Test("50 busy hosts leave the same trace from the same seed, in one process and in another with other hash seeds")
    func sameSeed() throws {
        let one = try Self.digests([1, 1, 2], deterministicHashing: false)
        let other = try Self.digests([2, 1], deterministicHashing: true)
        try #require(one.count == 3 && other.count == 2)
        #expect(one[0] == one[1])
        #expect(one[0] == other[1])
        #expect(one[2] == other[0])
        #expect(one[0] != one[2])
        #expect(one.allSatisfy { $0.count == 16 }, "a digest has 16 digits: \(one)")
    }
}
