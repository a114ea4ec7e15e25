/// Watches a descriptor that belongs to somebody else, such as a library's own epoll, on this machine's loop.
///
/// `ready` is called on the loop as long as there is something to read from it. It watches until `cancel`, or until
/// the environment shuts down: then `ended` is called, once, and nothing more. It belongs to its loop.
package final class DescriptorWatch: PollTarget {
    let activity: StaticString
    private let poller: Poller
    private let whenReady: () -> Void
    private var whenEnded: (() -> Void)?
    private var registration: Poller.Registration?

    /// Begins to watch `descriptor`, which stays the caller's and is closed only after `cancel`. `activity` names it
    /// where it holds the loop too long.
    package init(
        _ descriptor: Int32, on environment: SystemEnvironment, activity: StaticString,
        ready: @escaping () -> Void, ended: @escaping () -> Void
    ) throws(NetworkError) {
        self.activity = activity
        poller = environment.poller
        whenReady = ready
        whenEnded = ended
        registration = try poller.register(descriptor, .readable, self)
    }

    /// Watches no longer. It may be called again.
    package func cancel() {
        guard let registration else { return }
        self.registration = nil
        whenEnded = nil
        poller.unregister(registration)
    }

    func ready(_ readiness: Poller.Readiness) { whenReady() }

    func shutDown() {
        let ended = whenEnded
        cancel()
        ended?()
    }
}
