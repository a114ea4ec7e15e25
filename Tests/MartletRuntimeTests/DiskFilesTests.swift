import Glibc
import MartletRuntime
import MartletWire
import Testing

@Suite("Files on disk")
struct DiskFilesTests {
    /// Runs `body` with a store in a directory of its own.
    private func withStore(
        _ body: nonisolated(nonsending) @Sendable @escaping (DiskFiles, String) async throws -> Void
    ) async throws {
        let directory = try TemporaryDirectory()
        try await withEnvironment { environment in
            let files = DiskFiles(directory: directory.path + "/store", on: environment.loop)
            defer { files.shutdown() }
            try await body(files, directory.path + "/store")
        }
    }

    private static func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test("a file that was replaced is read back, also in directories that there were not before")
    func replaceAndRead() async throws {
        try await withStore { files, path in
            for name in ["key", "peers/known/one"] {
                try await files.replace(name, with: Bytes(utf8: "first, and longer"), isPrivate: false)
                try await files.replace(name, with: Bytes(utf8: "second"), isPrivate: true)
                #expect(try await files.read(name, maximum: 6) == Bytes(utf8: "second"))
                #expect(Self.mode("\(path)/\(name)") == 0o600)
            }
            try await files.replace("empty", with: Bytes(), isPrivate: false)
            #expect(try await files.read("empty", maximum: 0) == Bytes())
            #expect(Self.mode(path) == 0o700)
            #expect(Self.mode("\(path)/peers") == 0o700)
            let mask = umask(0o022)
            umask(mask)
            #expect(Self.mode("\(path)/empty") == 0o644 & ~mask)
        }
    }

    @Test("what is not there is nil to read, nothing to list and no error to remove")
    func missing() async throws {
        try await withStore { files, _ in
            #expect(try await files.read("a", maximum: 10) == nil)
            #expect(try await files.read("a/b/c", maximum: 10) == nil)
            #expect(try await files.list("a") == [])
            #expect(try await files.list("") == [])
            try await files.remove("a")
            try await files.remove("a/b")
        }
    }

    @Test("a file that was moved has its new name alone, and says where it stands on this machine")
    func move() async throws {
        try await withStore { files, path in
            try await files.replace("a", with: Bytes(utf8: "old"), isPrivate: true)
            try await files.replace("b/c", with: Bytes(utf8: "in the way"), isPrivate: true)
            try await files.move("a", to: "b/c")
            #expect(try await files.read("a", maximum: 9) == nil)
            #expect(try await files.read("b/c", maximum: 9)?.utf8 == "old")
            try await files.move("a", to: "b/c")
            try await files.move("no/such/folder", to: "b/c")
            #expect(try await files.read("b/c", maximum: 9)?.utf8 == "old")
            let place = try await files.place(of: "b/c")
            #expect(place == "\(path)/b/c")
            #expect(access(try #require(place), R_OK) == 0)
            #expect(try await files.place(of: "new/folder/x") == "\(path)/new/folder/x")
            #expect(access("\(path)/new/folder", X_OK) == 0)
            await #expect(throws: FileError.badPath) { try await files.move("a", to: "../a") }
            await #expect(throws: FileError.badPath) { try await files.move("../a", to: "a") }
            await #expect(throws: FileError.badPath) { _ = try await files.place(of: "../a") }
        }
    }

    @Test("a file over the caller's maximum is not read")
    func tooLarge() async throws {
        try await withStore { files, _ in
            let bytes = Bytes((0..<100_000).map { UInt8(truncatingIfNeeded: $0) })
            try await files.replace("a", with: bytes, isPrivate: false)
            #expect(try await files.read("a", maximum: 100_000) == bytes)
            #expect(try await files.read("a", maximum: .max) == bytes)
            await #expect(throws: FileError.tooLarge) { try await files.read("a", maximum: 99_999) }
        }
    }

    @Test("what is appended by many conversations stands in the order in which it was asked for")
    func append() async throws {
        try await withEnvironment { environment in
            let directory = try TemporaryDirectory()
            let files = DiskFiles(directory: directory.path, on: environment.loop)
            defer { files.shutdown() }
            let tasks = (0..<50).map { number in
                environment.loop.spawn { try? await files.append(Bytes(utf8: "\(number)\n"), to: "log/a") }
            }
            for task in tasks { await task.value }
            let text = (0..<50).map { "\($0)\n" }.joined()
            #expect(try await files.read("log/a", maximum: 1000)?.utf8 == text)
        }
    }

    @Test("names are listed in ascending order, without what a crash left behind")
    func list() async throws {
        try await withStore { files, path in
            for name in ["b", "a", "ä", "B", "sub/x"] { try await files.append(Bytes(utf8: "1"), to: name) }
            close(open("\(path)/.replacing", O_CREAT | O_WRONLY, 0o600))
            #expect(try await files.list("") == ["B", "a", "b", "sub", "ä"])
            #expect(try await files.list("sub") == ["x"])
            try await files.replace("b", with: Bytes(utf8: "2"), isPrivate: false)
            #expect(try await files.read("b", maximum: 9)?.utf8 == "2")
            try await files.remove("B")
            #expect(try await files.list("") == ["a", "b", "sub", "ä"])
            #expect(access("\(path)/.replacing", F_OK) != 0)
        }
    }

    @Test(
        "no path leads out of the store",
        arguments: [
            "", "/", "/etc/passwd", "..", "../a", "a/..", "a/../b", "a//b", "a/", ".", "./a", "a\0b", ".replacing",
            "a/.replacing", String(repeating: "a", count: 256), String(repeating: "a/", count: 20) + "a",
        ])
    func badPath(path: String) async throws {
        try await withStore { files, _ in
            await #expect(throws: FileError.badPath) { try await files.read(path, maximum: 10) }
            await #expect(throws: FileError.badPath) {
                try await files.replace(path, with: Bytes(), isPrivate: false)
            }
            await #expect(throws: FileError.badPath) { try await files.append(Bytes(), to: path) }
            await #expect(throws: FileError.badPath) { try await files.remove(path) }
            if path.isEmpty { return }
            await #expect(throws: FileError.badPath) { try await files.list(path) }
        }
    }

    @Test("a reader of the old file keeps it while the new one takes its place")
    func atomic() async throws {
        try await withStore { files, path in
            try await files.replace("a", with: Bytes(utf8: "old"), isPrivate: false)
            let old = open("\(path)/a", O_RDONLY)
            defer { close(old) }
            try await files.replace("a", with: Bytes(utf8: "new one"), isPrivate: false)
            var buffer = [UInt8](repeating: 0, count: 16)
            #expect(Glibc.read(old, &buffer, 16) == 3)
            #expect(Bytes(buffer.prefix(3)).utf8 == "old")
        }
    }

    @Test("a device that is full is said to be")
    func fullDevice() async throws {
        try await withStore { files, path in
            try await files.append(Bytes(utf8: "1"), to: "a")
            try #require(symlink("/dev/full", "\(path)/full") == 0)
            await #expect(throws: FileError.full) { try await files.append(Bytes(utf8: "1"), to: "full") }
        }
    }

    @Test("a write that does not fit leaves the old file, whole")
    func fullFile() async {
        // The limit on a file's length stands in for a small disk, which only root could make; it is a process's own.
        await #expect(processExitsWith: .success) {
            let length = 1 << 20
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: rlim_t(length), rlim_max: rlim_t(length))
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            let directory = try TemporaryDirectory()
            try await withEnvironment { environment in
                let files = DiskFiles(directory: directory.path, on: environment.loop)
                defer { files.shutdown() }
                try await files.replace("a", with: Bytes(utf8: "old"), isPrivate: false)
                let large = Bytes(count: length + 1) { $0.initializeMemory(as: UInt8.self, repeating: 7) }
                await #expect(throws: FileError.full) { try await files.replace("a", with: large, isPrivate: false) }
                #expect(try await files.read("a", maximum: 10)?.utf8 == "old")
                #expect(access("\(directory.path)/.replacing", F_OK) != 0)
                try await files.append(large.slice(0..<(length - 10)), to: "log")
                await #expect(throws: FileError.full) {
                    try await files.append(Bytes(utf8: "does not fit in"), to: "log")
                }
                let log = try await files.read("log", maximum: length)
                #expect(log?.count == length - 10)
            }
        }
    }

    @Test("what this process may not do is said to be, and what is no file is not read")
    func notPermitted() async throws {
        try await withEnvironment { environment in
            // Nobody can make files there, not even root.
            let files = DiskFiles(directory: "/sys/kernel", on: environment.loop)
            defer { files.shutdown() }
            await #expect(throws: FileError.notPermitted) {
                try await files.replace("martlet", with: Bytes(), isPrivate: false)
            }
            await #expect(throws: FileError.self) { try await files.read("mm", maximum: 10) }
        }
    }

    @Test("a directory has one store at a time")
    func locked() async throws {
        try await withStore { files, path in
            try await files.append(Bytes(utf8: "1"), to: "a")
            try await withEnvironment { environment in
                let second = DiskFiles(directory: path, on: environment.loop)
                defer { second.shutdown() }
                await #expect(throws: FileError.self) { try await second.read("a", maximum: 1) }
            }
            files.shutdown()
            await #expect(throws: FileError.cancelled) { try await files.read("a", maximum: 1) }
            let text = try await withEnvironment { environment in
                let second = DiskFiles(directory: path, on: environment.loop)
                defer { second.shutdown() }
                return try await second.read("a", maximum: 1)?.utf8
            }
            #expect(text == "1")
        }
    }

    @Test("an environment finishes what was written before it shuts down")
    func shutdown() async throws {
        let directory = try TemporaryDirectory()
        let environment = try SystemEnvironment(directory: directory.path, log: CapturedLog().logger)
        let loop = environment.loop
        let tasks = try await loop.run {
            (0..<20).map { number in
                loop.spawn { try? await environment.files.append(Bytes(utf8: "x"), to: "a") }
            }
        }
        // Each was asked for before this comes back from the loop.
        try await loop.run {}
        await environment.shutdown()
        for task in tasks { await task.value }
        #expect(environment.backgroundThreads == 0)
        var status = stat()
        #expect(stat(directory.path + "/a", &status) == 0 && status.st_size == 20)
    }
}
