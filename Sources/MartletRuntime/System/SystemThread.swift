internal import CLinux
internal import Glibc

/// A thread of the system that runs one closure and is waited for.
///
/// It is `@unchecked Sendable` because the handle is set before anyone else sees the object and never changes.
final class SystemThread: @unchecked Sendable {
    private var handle = pthread_t()

    /// Starts a thread that runs `body`. Its name is cut to the 15 bytes that Linux keeps. Fails with the system's
    /// error number where there can be no more threads.
    init(name: String, body: @escaping @Sendable () -> Void) throws(ThreadError) {
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let result = pthread_create(
            &handle, nil,
            { argument in
                // The thread is given nothing else, by the call below.
                let start = Unmanaged<Start>.fromOpaque(argument.unsafelyUnwrapped).takeRetainedValue()
                _ = cl_pthread_setname(pthread_self(), String(decoding: start.name.utf8.prefix(15), as: UTF8.self))
                start.body()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw ThreadError(number: result)
        }
    }

    /// Waits until the thread has ended. Once, and not from itself.
    func join() {
        pthread_join(handle, nil)
    }

    private final class Start {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}

/// There can be no more threads.
struct ThreadError: Error {
    /// The system's error number.
    var number: Int32
}
