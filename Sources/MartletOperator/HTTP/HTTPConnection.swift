internal import CHTTP
internal import MartletRuntime
internal import MartletWire

/// A client's connection, and what has become of its latest request.
final class HTTPConnection {
    enum State {
        /// Nothing of a request has come.
        case waiting
        /// Its line has come, and perhaps more.
        case arriving
        /// It is whole, and the answer is being made. The library does not look at the connection then.
        case answering
        /// The answer is on its way.
        case sending
        /// The answer goes on and on.
        case streaming
    }

    let handle: OpaquePointer
    let descriptor: Int32
    /// Where it counts, on a network.
    let place: IPAddress?
    private(set) var state = State.waiting
    /// Since when it is in this state, or when its stream was last taken from.
    private(set) var since: Instant
    /// Whether the head of a request has come whole, ever.
    var hasSpoken = false
    /// Whether a request has begun whose head did not come whole.
    var isHeadOpen = false
    /// Whether it was cut off.
    var isCut = false
    var isSuspended = false
    var request: HTTPRequest?
    var isBodyTooLarge = false
    var answer: HTTPAnswer?
    var stream: HTTPStream?
    /// What makes the answer.
    var task: Task<Void, Never>?

    /// Has the library turn soon.
    private let wake: () -> Void

    init(_ handle: OpaquePointer, place: IPAddress?, at now: Instant, wake: @escaping () -> Void) {
        self.handle = handle
        self.wake = wake
        self.place = place
        descriptor = chttp_socket(handle)
        since = now
    }

    /// It is in `state` now.
    func enter(_ state: State, at now: Instant) {
        self.state = state
        since = now
    }

    /// Something of its stream was taken.
    func moved(at now: Instant) { since = now }

    /// Whether it has taken longer for what it does than `limits` allow; `nil` where it may go on.
    func isOverdue(at now: Instant, _ limits: HTTPLimits) -> HTTPRefusal? {
        let elapsed = now - since
        switch state {
        case .waiting: return elapsed > (hasSpoken ? limits.idleTime : limits.requestTime) ? .silent : nil
        case .arriving: return elapsed > limits.requestTime ? .slow : nil
        case .answering: return nil
        case .sending: return elapsed > limits.answerTime ? .slow : nil
        case .streaming: return (stream?.waiting ?? 0) > 0 && elapsed > limits.answerTime ? .slow : nil
        }
    }

    /// Has the library look at it again.
    func resume() {
        guard isSuspended else { return }
        isSuspended = false
        MHD_resume_connection(handle)
        // The library's descriptor does not tell of this.
        wake()
    }
}
