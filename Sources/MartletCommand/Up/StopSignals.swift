import Foundation
import Synchronization

/// Where the handler of signals writes, which may touch nothing else; -1 where nobody listens.
private let listener = Atomic<Int32>(-1)

/// The wish of a person or of the system that the command end: Ctrl-C, SIGTERM or SIGHUP. A second wish means at once.
enum StopSignals {
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    /// One element for each signal from now on. The second one ends the process by itself, with the code that a shell
    /// gives to one that was interrupted.
    static func watch() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return stream }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        listener.store(ends[1], ordering: .relaxed)
        for number in signals {
            // What the program's starter had it ignore stays ignored: `nohup` does so with SIGHUP, and a shell without
            // job control with SIGINT for what it runs in the background.
            var before = sigaction()
            if sigaction(number, nil, &before) == 0, isIgnored(before) { continue }
            signal(number) { _ in
                var byte: UInt8 = 1
                write(listener.load(ordering: .relaxed), &byte, 1)
            }
        }
        let source = ends[0]
        Thread.detachNewThread {
            // Whoever started this program may have left them blocked in every thread.
            var wanted = sigset_t()
            sigemptyset(&wanted)
            for number in signals { sigaddset(&wanted, number) }
            pthread_sigmask(SIG_UNBLOCK, &wanted, nil)
            var byte: UInt8 = 0
            var count = 0
            while true {
                let result = read(source, &byte, 1)
                if result < 0, errno == EINTR { continue }
                guard result == 1 else { return continuation.finish() }
                count += 1
                if count > 1 { _exit(130) }
                continuation.yield()
            }
        }
        return stream
    }

    private static func isIgnored(_ action: sigaction) -> Bool {
        // SIG_IGN is the address 1, which is no function that could be compared.
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }
}
