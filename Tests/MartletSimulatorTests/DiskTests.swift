import MartletRuntime
import MartletSimulator
import MartletWire
import Testing

@Suite("Disks")
struct DiskTests {
    /// Runs `body` on a host with a disk of its own, to its end.
    private func onDisk(
        seed: UInt64 = 1, _ prepare: (SimulatedDisk) -> Void = { _ in },
        _ body: nonisolated(nonsending) @escaping (any FileStore, EventLoop) async throws -> Void
    ) throws -> SimulatedDisk {
        let world = World(seed: seed)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        prepare(host.disk)
        var isDone = false
        host.start { environment in
            try await body(environment.files, environment.loop)
            isDone = true
        }
        try world.run(within: .seconds(1000)) { isDone }
        return host.disk
    }

    private nonisolated(nonsending) func failure(
        _ body: nonisolated(nonsending) () async throws -> Void
    ) async -> FileError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? FileError
        }
    }

    @Test("files are written, read, added to, listed and removed")
    func files() throws {
        let disk = try onDisk { files, _ in
            #expect(try await files.read("a/b", maximum: 10) == nil)
            try await files.replace("a/b", with: Bytes([1, 2]), isPrivate: true)
            try await files.append(Bytes([3]), to: "a/b")
            try await files.append(Bytes([4]), to: "a/c/d")
            #expect(try await files.read("a/b", maximum: 3) == Bytes([1, 2, 3]))
            #expect(try await files.list("a") == ["b", "c"])
            #expect(try await files.list("") == ["a"])
            #expect(try await files.list("z") == [])
            #expect(await self.failure { _ = try await files.read("a/b", maximum: 2) } == .tooLarge)
            try await files.remove("a/c/d")
            try await files.remove("a/c/d")
        }
        #expect(disk.files == ["a/b": Bytes([1, 2, 3])])
    }

    @Test("a file that was moved has its new name alone, and stands nowhere on this machine")
    func move() throws {
        let disk = try onDisk { files, _ in
            try await files.replace("a", with: Bytes([1]), isPrivate: true)
            try await files.replace("b", with: Bytes([2]), isPrivate: true)
            try await files.move("a", to: "b")
            try await files.move("a", to: "b")
            #expect(try await files.place(of: "b") == nil)
            #expect(await self.failure { try await files.move("b", to: "../b") } == .badPath)
        }
        #expect(disk.files == ["b": Bytes([1])])
    }

    @Test(
        "a path that leads out of the store, or nowhere, is refused",
        arguments: ["", "/a", "a/", "a//b", "../a", "a/./b"])
    func paths(_ path: String) throws {
        _ = try onDisk { files, _ in
            #expect(await self.failure { _ = try await files.read(path, maximum: 1) } == .badPath)
            #expect(await self.failure { try await files.replace(path, with: Bytes(), isPrivate: false) } == .badPath)
            #expect(await self.failure { try await files.append(Bytes(), to: path) } == .badPath)
            #expect(await self.failure { try await files.remove(path) } == .badPath)
        }
    }

    @Test("a full disk refuses what does not fit, and keeps what it has")
    func full() throws {
        let disk = try onDisk({ $0.capacity = 10 }) { files, _ in
            try await files.replace("a", with: pattern(8), isPrivate: false)
            #expect(await self.failure { try await files.append(pattern(3), to: "a") } == .full)
            #expect(await self.failure { try await files.replace("b", with: pattern(3), isPrivate: false) } == .full)
            try await files.replace("a", with: pattern(10), isPrivate: false)
        }
        #expect(disk.files == ["a": pattern(10)])
        #expect(disk.used == 10)
    }

    @Test("a failing disk fails as it is told, and serves again afterwards")
    func failing() throws {
        let error = FileError.system(5, "input/output error")
        let world = World(seed: 1)
        let host = world.host("one", IPAddress(192, 0, 2, 1))
        host.disk.set("a", to: Bytes([1]))
        (host.disk.writeFailure, host.disk.readFailure) = (error, .notPermitted)
        var outcomes: [FileError?] = []
        host.start { environment in
            let files = environment.files
            for _ in 0..<2 {
                outcomes.append(await self.failure { try await files.append(Bytes([2]), to: "a") })
                outcomes.append(await self.failure { try await files.remove("b") })
                outcomes.append(await self.failure { _ = try await files.read("a", maximum: 9) })
                outcomes.append(await self.failure { _ = try await files.list("") })
                try await environment.loop.sleep(for: .seconds(1))
            }
        }
        try world.run(for: .milliseconds(500))
        (host.disk.writeFailure, host.disk.readFailure) = (nil, nil)
        try world.run(for: .seconds(2))
        #expect(outcomes == [error, error, .notPermitted, .notPermitted, nil, nil, nil, nil])
        #expect(host.disk.files == ["a": Bytes([1, 2])])
    }

    @Test("operations happen in the order in which they were asked for, one after the other, each taking a while")
    func order() throws {
        var order: [Int] = []
        var times: [Instant] = []
        _ = try onDisk({ $0.latency = .milliseconds(100) }) { files, loop in
            for number in 0..<20 {
                loop.spawn {
                    try? await files.append(Bytes([UInt8(number)]), to: "log")
                    order.append(number)
                    times.append(loop.now)
                }
            }
            try await loop.sleep(for: .seconds(3))
            #expect(try await files.read("log", maximum: 100) == Bytes((0..<20).map { UInt8($0) }))
        }
        #expect(order == Array(0..<20))
        #expect(Set(times).count == 20)
    }

    @Test("what a host is killed in the middle of has happened wholly or not at all, or for an append in part")
    func torn() throws {
        var lengths: Set<Int> = []
        for seed in 1...30 as ClosedRange<UInt64> {
            let world = World(seed: seed)
            let host = world.host("one", IPAddress(192, 0, 2, 1))
            host.disk.latency = .seconds(10)
            host.disk.set("whole", to: pattern(5))
            host.start { environment in
                environment.loop.spawn { try? await environment.files.append(pattern(10), to: "part") }
                try? await environment.files.replace("whole", with: pattern(10), isPrivate: false)
            }
            try world.run(for: .milliseconds(100))
            host.kill()
            try world.run(for: .seconds(100))
            let part = host.disk.files["part"] ?? Bytes()
            lengths.insert(part.count)
            #expect(part == pattern(10).slice(0..<part.count))
            #expect([pattern(5), pattern(10)].contains(host.disk.files["whole"]))
        }
        #expect(lengths.count > 3, "appends are torn at different places: \(lengths)")
    }
}
