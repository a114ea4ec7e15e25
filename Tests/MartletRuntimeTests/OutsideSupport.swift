import Glibc
import MartletRuntime
import Synchronization
import Testing

/// A gate that work on other threads waits at.
final class Gate: @unchecked Sendable {
    // Only semaphore calls touch it, and those are made for several threads.
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    /// Waits until somebody lets this one through.
    func wait() { while sem_wait(semaphore) != 0 {} }

    /// Lets `count` through.
    func open(_ count: Int = 1) { for _ in 0..<count { sem_post(semaphore) } }
}

/// A directory that goes away with its contents.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var name = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&name) != nil)
        path = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        if let stream = opendir(path) {
            var names: [String] = []
            while let entry = readdir(stream) {
                names.append(
                    withUnsafeBytes(of: &entry.pointee.d_name) {
                        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                    })
            }
            closedir(stream)
            for name in names where name != "." && name != ".." {
                if unlink("\(path)/\(name)") != 0 { remove("\(path)/\(name)") }
            }
        }
        rmdir(path)
    }
}

private final class ThreadStart {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

/// Runs `body` on a fresh thread that has a network and mounts of its own, and waits for it. Threads that are started
/// there stay there. It takes root's rights.
func inOwnNamespaces<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    return try await withCheckedThrowingContinuation { continuation in
        let start = ThreadStart {
            continuation.resume(
                with: Swift.Result {
                    typealias Unshare = @convention(c) (Int32) -> Int32
                    let unshare = unsafeBitCast(dlsym(nil, "unshare"), to: Unshare.self)
                    // CLONE_FS, CLONE_NEWNS and CLONE_NEWNET of sched.h.
                    try #require(unshare(0x200 | 0x20000 | 0x4000_0000) == 0, "namespaces take root's rights")
                    return try body()
                })
        }
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            {
                Unmanaged<ThreadStart>.fromOpaque($0!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        pthread_detach(thread)
    }
}

/// Mounts the file `source` over `target`, for this thread and those that it starts.
func mountOver(_ target: String, _ source: String) throws {
    typealias Mount =
        @convention(c) (
            UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafePointer<CChar>?, UInt, UnsafeRawPointer?
        ) -> Int32
    let mount = unsafeBitCast(dlsym(nil, "mount"), to: Mount.self)
    // MS_REC and MS_PRIVATE, then MS_BIND, of sys/mount.h.
    try #require(mount(nil, "/", nil, 0x4000 | 1 << 18, nil) == 0)
    try #require(mount(source, target, nil, 0x1000, nil) == 0)
}

/// Runs `body` on the loop of `environment`, which is shut down afterwards.
func with<Result: Sendable>(
    _ environment: SystemEnvironment,
    _ body: nonisolated(nonsending) @Sendable @escaping (SystemEnvironment) async throws -> Result
) async throws -> Result {
    let loop = environment.loop
    do {
        let result = try await loop.run {
            try await loop.withDeadline(loop.now + .seconds(30)) { try await body(environment) }
        }
        await environment.shutdown()
        return result
    } catch {
        await environment.shutdown()
        throw error
    }
}
