import Foundation
import MartletIdentity
import MartletRuntime
import MartletStore
import Synchronization
import TestSupport
import Testing

@Suite("The peer database in trouble")
struct CrashTests {
    /// A helper that is told to end when this value goes.
    private final class Helper {
        let process = Process()
        private let output = Pipe()
        private var text = Data()

        init(_ arguments: [String]) throws {
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = arguments
            process.standardOutput = output
            process.standardInput = FileHandle.nullDevice
            try process.run()
            // Its end is then the end of what it writes.
            try output.fileHandleForWriting.close()
        }

        /// Reads until there are `count` lines, or to the end where it is `nil`.
        func lines(_ count: Int? = nil) -> [String] {
            var lines: [String] { String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init) }
            func isEnough() -> Bool { count.map { wanted in text.count { $0 == 10 } >= wanted } ?? false }
            while !isEnough() {
                let more = output.fileHandleForReading.availableData
                if more.isEmpty { break }
                text += more
            }
            return lines
        }

        func kill() {
            Foundation.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }

        deinit { if process.isRunning { kill() } }
    }

    @Test("whatever was written is there after kill -9 at any moment, and no batch by half, a hundred times")
    func killed() async throws {
        let folder = try Folder()
        var random = SeededGenerator(seed: 42)
        var acknowledged: UInt64 = 0
        var found: Set<UInt64> = []
        for round in 0..<100 {
            let (lines, pause) = (Int.random(in: 0...4, using: &random), UInt32.random(in: 0..<20_000, using: &random))
            let said = try await onOwnThread {
                let helper = try Helper([TestProgram.path(of: "StoreWriter"), "batches", folder.path])
                _ = helper.lines(lines)
                // Not to wait for anything: to be early or late.
                usleep(pause)
                helper.kill()
                return helper.lines()
            }
            let numbers = said.compactMap { UInt64($0) }
            #expect(numbers.count == said.count, "round \(round): \(said)")
            acknowledged = max(acknowledged, numbers.max() ?? 0)
            let least = acknowledged
            let newest = try await withEnvironment(folder) { environment in
                let events = Events()
                let store = try await PeerStore.open(environment) { events.add($0) }
                #expect(events.all.isEmpty, "round \(round)")
                let sequences = Set(try await store.peers().map { $0.sequence ?? 0 })
                #expect(sequences.count <= 1, "round \(round): a batch by half, \(sequences)")
                let newest = sequences.first ?? 0
                #expect(newest >= least, "round \(round)")
                #expect([0, 20].contains(try await store.counts().peers))
                try await store.close()
                return newest
            }
            found.insert(newest)
        }
        #expect(acknowledged > 100 && found.count > 50)
    }

    /// Runs a scenario of the helper on a disk of its own, of so many bytes, and returns what it says.
    private func onSmallDisk(_ scenario: String) async throws -> [String] {
        let folder = try Folder()
        // Root needs no other user's rights, and cannot always have them.
        let asRoot = getuid() == 0 ? [] : ["--map-root-user"]
        let (lines, status) = try await onOwnThread {
            let helper = try Helper(
                ["unshare", "--mount"] + asRoot + [
                    "sh", "-c", "mount -t tmpfs -o size=4m martlet \"$2\" && exec \"$0\" \"$1\" \"$2\"",
                    TestProgram.path(of: "StoreWriter"), scenario, folder.path,
                ])
            let lines = helper.lines()
            helper.process.waitUntilExit()
            return (lines, helper.process.terminationStatus)
        }
        #expect(status == 0, "\(lines)")
        // The disk is gone with the process that had it.
        #expect(folder.names.isEmpty)
        return lines
    }

    @Test("a store whose disk becomes full goes on in memory, says so, and writes it all when there is room again")
    func full() async throws {
        #expect(
            try await onSmallDisk("full") == [
                "flushed", "filled", "failing(the disk is full)", "not flushed: the disk is full", "known 2050",
                "not flushed: the disk is full", "known 2100", "recovered(lost: 0)", "flushed", "known 2100",
                "kept 2100",
            ])
    }

    @Test("a full disk does not become full memory: of a large file no copy is made, and what is recorded waits")
    func fullAndLarge() async throws {
        #expect(
            try await onSmallDisk("full-large") == [
                "flushed", "filled", "failing(the disk is full)", "not flushed: the disk is full", "known 50",
                "recovered(lost: 0)", "flushed", "known 2050", "kept 2050",
            ])
    }

    @Test("a flush that begins while an earlier try fails gets a try of its own")
    func fullMeanwhile() async throws {
        #expect(
            try await onSmallDisk("full-meanwhile") == [
                "flushed", "filled", "failing(the disk is full)", "not flushed: the disk is full",
                "recovered(lost: 0)", "flushed", "known 2050", "kept 2050",
            ])
    }

    @Test("changes wait while there is no memory, and none is lost")
    func noMemory() async throws {
        #expect(
            try await onSmallDisk("no-memory") == [
                "flushed", "failing(there is no memory left)", "not flushed: there is no memory left",
                "recovered(lost: 0)", "flushed", "known 250", "kept 250",
            ])
    }

    @Test("a store that is opened on a full disk goes on in memory, and counts what found no room there either")
    func fullFirst() async throws {
        #expect(
            try await onSmallDisk("full-first") == [
                "filled", "failing(the disk is full)", "not flushed: the disk is full", "known 1000, lost 500",
                "recovered(lost: 500)", "flushed", "kept 1000",
            ])
    }
}
