internal import CLinux
internal import Glibc

/// A thread that runs what it is given while the giver waits: for work that must stay on one thread of its own.
///
/// It is `@unchecked Sendable` because `work` is only touched under the mutex, and by one side at a time.
package final class DedicatedThread: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var thread = pthread_t()
    private var work: (() -> Void)?
    private var isEnding = false

    /// Starts the thread.
    package init(name: String) {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
        let result = pthread_create(
            &thread, nil,
            {
                Unmanaged<DedicatedThread>.fromOpaque($0!)._withUnsafeGuaranteedRef { $0.serve() }; return nil
            },
            Unmanaged.passUnretained(self).toOpaque())
        precondition(result == 0, "no thread could be started")
        cl_pthread_setname(thread, String(name.prefix(15)))
    }

    deinit {
        pthread_mutex_lock(mutex)
        isEnding = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
        pthread_join(thread, nil)
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` on the thread and waits for it to return.
    package func run(_ body: () -> Void) {
        withoutActuallyEscaping(body) { body in
            pthread_mutex_lock(mutex)
            while work != nil { pthread_cond_wait(changed, mutex) }
            work = body
            pthread_cond_broadcast(changed)
            while work != nil { pthread_cond_wait(changed, mutex) }
            pthread_mutex_unlock(mutex)
        }
    }

    private func serve() {
        pthread_mutex_lock(mutex)
        while !isEnding {
            if let work {
                pthread_mutex_unlock(mutex)
                work()
                pthread_mutex_lock(mutex)
                self.work = nil
                pthread_cond_broadcast(changed)
            } else {
                pthread_cond_wait(changed, mutex)
            }
        }
        pthread_mutex_unlock(mutex)
    }
}

/// The value of an environment variable of this process, or `nil`.
package func environmentVariable(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
}
