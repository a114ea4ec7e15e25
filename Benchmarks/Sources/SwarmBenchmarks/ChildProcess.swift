import Glibc

/// A program that runs beside a measurement, and what it says. Without Foundation, whose ten megabytes would be counted
/// with the memory that connections take.
final class ChildProcess {
    private let process: pid_t
    private let output: Int32
    private var hasEnded = false

    /// Starts `arguments`, the first of which is looked for in `PATH`.
    init(_ arguments: [String]) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure(description: "no pipe") }
        defer { close(ends[1]) }
        output = ends[0]
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        guard posix_spawnp(&process, arguments[0], &actions, nil, &words, environ) == 0 else {
            throw Failure(description: "\(arguments[0]) does not start")
        }
        self.process = process
    }

    deinit {
        if !hasEnded { end() }
        close(output)
    }

    /// The next line of what it says, without its end; `nil` where there is no more.
    func line() -> String? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while read(output, &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
        return line.isEmpty && byte != UInt8(ascii: "\n") ? nil : String(decoding: line, as: UTF8.self)
    }

    /// Whether it runs.
    var isRunning: Bool {
        if !hasEnded { hasEnded = waitpid(process, nil, WNOHANG) != 0 }
        return !hasEnded
    }

    /// Ends it, and waits for that.
    func end() {
        guard isRunning else { return }
        kill(process, SIGTERM)
        waitpid(process, nil, 0)
        hasEnded = true
    }
}
