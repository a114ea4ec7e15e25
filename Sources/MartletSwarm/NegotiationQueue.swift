internal import MartletIdentity
internal import MartletRuntime
internal import MartletTransport

/// Breaks off streams whose protocol is not agreed on in time. All have the same time, so one timer does for all.
final class NegotiationQueue {
    final class Ticket {
        fileprivate var stream: Stream?
        fileprivate let deadline: Instant

        fileprivate init(_ stream: Stream, _ deadline: Instant) {
            self.stream = stream
            self.deadline = deadline
        }
    }

    private let loop: EventLoop
    private let timeout: Duration
    private var tickets: [Ticket] = []
    private var done = 0
    private var timer: LoopTimer?
    /// Called for each stream that was too late.
    var onLate: (PeerID) -> Void = { _ in }

    init(on loop: EventLoop, timeout: Duration) {
        self.loop = loop
        self.timeout = timeout
        timer = LoopTimer(on: loop, label: "negotiation") { [weak self] in self?.expire() }
    }

    /// Gives `stream` the time that all have.
    func begin(_ stream: Stream) -> Ticket {
        let ticket = Ticket(stream, loop.now + timeout)
        tickets.append(ticket)
        if timer?.deadline == nil { timer?.arm(at: ticket.deadline) }
        return ticket
    }

    /// The stream of `ticket` is past its negotiation, one way or the other.
    func end(_ ticket: Ticket) {
        guard ticket.stream != nil else { return }
        ticket.stream = nil
        done += 1
        if done > 32, done * 2 > tickets.count { removeDone() }
    }

    func cancel() {
        timer = nil
        tickets = []
    }

    private func removeDone() {
        tickets.removeAll { $0.stream == nil }
        done = 0
        if tickets.isEmpty { timer?.cancel() }
    }

    private func expire() {
        let late = tickets.prefix { $0.deadline <= loop.now }
        for ticket in late {
            guard let stream = ticket.stream else { continue }
            ticket.stream = nil
            done += 1
            stream.reset()
            onLate(stream.remotePeer)
        }
        removeDone()
        if let next = tickets.first { timer?.arm(at: next.deadline) }
    }
}
