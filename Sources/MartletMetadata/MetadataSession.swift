internal import MartletIdentity
internal import MartletRuntime
internal import MartletSwarm
internal import MartletTransport
internal import MartletWire

/// What ends a conversation about metadata.
public enum MetadataSessionError: Error, Hashable, Sendable {
    /// The other side refused, and said why.
    case refused(MetadataRefusal)
    /// It sent what makes no sense here.
    case protocolViolation
    /// It did not answer in time.
    case timedOut
    /// The stream is over.
    case ended
}

/// One stream of `/martlet/metadata/1.0.0`, from either end: requests of both sides, several under way at once.
///
/// It lives on the loop. What the other side asks is answered by `onRequest`, one request after the other: the next is
/// read when the answer before it has been handed to the stream. So a peer that asks and does not read holds what its
/// stream holds and one answer. What waits is drawn from the peer's memory.
final class MetadataSession {
    let stream: MartletTransport.Stream
    let loop: EventLoop
    let isOpener: Bool
    let begunAt: Instant
    /// The topics that both ends have proven to each other.
    var shared: Set<TopicKey> = []
    /// Answers a request. `nil` ends the stream.
    var onRequest: ((MetadataMessage.Body) -> MetadataMessage.Body?)?
    /// The numbers of records that the other side has sent in vain, by the places of their peers.
    private(set) var declined: [UInt64: UInt64] = [:]
    /// How many comparisons in a row have led to nothing new.
    private var fruitless = 0
    /// The other side is not compared with before.
    private(set) var comparesAgain = Instant.start
    private var waiting: [UInt64: (Result<MetadataMessage.Body, MetadataSessionError>) -> Void] = [:]
    private var nextID: UInt64 = 1
    private var outbox: [Outgoing] = []
    /// How many bytes `outbox` has.
    private(set) var waitingBytes = 0
    private let hasOutput: Signal
    /// Whether an answer waits in `outbox`.
    private var isAnswering = false
    private let hasAnswered: Signal
    private var writeTimer: LoopTimer!
    private let memory: ResourceScope
    private var requests = RateMeter()
    private(set) var isOver = false
    /// Whether the other side has said hello, with whatever outcome.
    var hasHeardHello = false
    /// Ends it where no hello comes.
    var helloTimer: LoopTimer?

    private let limits: MetadataConfiguration

    private struct Outgoing {
        var bytes: Bytes
        var isAnswer: Bool
    }

    init(
        _ stream: MartletTransport.Stream, isOpener: Bool, limits: MetadataConfiguration, memory: ResourceScope,
        on loop: EventLoop
    ) {
        self.stream = stream
        self.limits = limits
        self.memory = memory
        self.isOpener = isOpener
        self.loop = loop
        begunAt = loop.now
        hasOutput = Signal(on: loop)
        hasAnswered = Signal(on: loop)
        writeTimer = LoopTimer(on: loop, label: "metadata write") { [weak self] in self?.end() }
    }

    var peer: PeerID { stream.remotePeer }

    /// Reads and writes until the stream ends.
    nonisolated(nonsending) func run() async {
        let writer = loop.spawn { await self.write() }
        do throws(StreamError) {
            while let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize), !isOver {
                guard let message = try? MetadataMessage(bytes), take(message) else { break }
                while isAnswering, !isOver {
                    do { try await hasAnswered.wait() } catch { return end() }
                }
            }
        } catch {
            // The other side has gone away, which is an end like any other.
        }
        end()
        writer.cancel()
    }

    private nonisolated(nonsending) func write() async {
        while !isOver {
            while !isOver, !outbox.isEmpty {
                let next = outbox.removeFirst()
                // From here on it is the stream's, which draws memory for it.
                count(-next.bytes.count)
                writeTimer.arm(after: limits.writing)
                do throws(StreamError) { try await stream.writeMessage(next.bytes) } catch { return end() }
                writeTimer.cancel()
                guard next.isAnswer else { continue }
                isAnswering = false
                hasAnswered.signal()
            }
            do { try await hasOutput.wait() } catch { return }
        }
    }

    /// Takes one message. Whether the conversation goes on.
    private func take(_ message: MetadataMessage) -> Bool {
        if message.isAnswer {
            // An answer that nobody waits for any more came too late.
            if let waiter = waiting.removeValue(forKey: message.id) {
                if case .refused(let refusal) = message.body {
                    waiter(.failure(.refused(refusal)))
                } else {
                    waiter(.success(message.body))
                }
            }
            return true
        }
        let answer: MetadataMessage.Body?
        if !requests.take(limits.requests, at: loop.now) || memory.isTight {
            answer = .refused(.tooMuch)
        } else {
            answer = onRequest?(message.body)
        }
        guard let answer, !isOver else { return false }
        isAnswering = true
        enqueue(MetadataMessage(id: message.id, answer).encoded, isAnswer: true)
        return true
    }

    /// Queues a request of this side, if there is room.
    private func send(_ message: MetadataMessage) -> Bool {
        let bytes = message.encoded
        guard !isOver, waitingBytes + bytes.count <= limits.outbox, !memory.isTight else { return false }
        enqueue(bytes, isAnswer: false)
        return true
    }

    private func enqueue(_ bytes: Bytes, isAnswer: Bool) {
        outbox.append(Outgoing(bytes: bytes, isAnswer: isAnswer))
        count(bytes.count)
        hasOutput.signal()
    }

    private func count(_ bytes: Int) {
        waitingBytes += bytes
        memory.draw(bytes)
    }

    /// Asks `body`, and waits for the answer until `deadline`. `taking` is given the answer before whatever comes behind
    /// it is looked at.
    nonisolated(nonsending) func ask(
        _ body: MetadataMessage.Body, by deadline: Instant, taking: @escaping (MetadataMessage.Body) -> Void = { _ in }
    ) async throws(MetadataSessionError) -> MetadataMessage.Body {
        guard !isOver else { throw .ended }
        let id = nextID
        nextID += 1
        let answered = Signal(on: loop)
        var result: Result<MetadataMessage.Body, MetadataSessionError> = .failure(.timedOut)
        let timer = LoopTimer(on: loop, label: "metadata answer") { answered.signal() }
        timer.arm(at: deadline)
        defer { timer.cancel() }
        waiting[id] = { outcome in
            if case .success(let answer) = outcome { taking(answer) }
            result = outcome
            answered.signal()
        }
        defer { waiting[id] = nil }
        // A neighbour for which so much waits already would not answer in time.
        guard send(MetadataMessage(id: id, body)) else { throw .timedOut }
        do { try await answered.wait() } catch { throw .ended }
        return try result.get()
    }

    /// A comparison has brought `learnt` records that are news; `nil` if it was not needed, as both know the same.
    func compared(learnt: Int?) {
        guard learnt == 0 else {
            (fruitless, comparesAgain) = (0, .start)
            return
        }
        let pause = min(limits.longestComparing, limits.comparing * (1 << min(fruitless, 16)))
        fruitless += 1
        // A little early, since the looks at it are not all as far from each other.
        comparesAgain = loop.now + pause * 9 / 10
    }

    /// Remembers that the other side has sent what `claim` says in vain.
    func decline(_ claim: MetadataClaim) {
        let place = MetadataSummary.place(of: claim.peer)
        guard declined.count < limits.declined || declined[place] != nil else { return }
        declined[place] = max(declined[place] ?? 0, claim.sequence)
    }

    /// There is room for what was declined.
    func forgetDeclined() {
        declined = [:]
    }

    /// Asks `body` and does not care for the answer. What there is no room for is not sent.
    func tell(_ body: MetadataMessage.Body) {
        _ = send(MetadataMessage(id: nextID, body))
        nextID += 1
    }

    /// Ends the stream. Those who wait for an answer are told.
    func end() {
        guard !isOver else { return }
        isOver = true
        stream.reset()
        let waiting = waiting
        self.waiting = [:]
        for waiter in waiting.values { waiter(.failure(.ended)) }
        onRequest = nil
        outbox = []
        count(-waitingBytes)
        writeTimer.cancel()
        hasOutput.signal()
        hasAnswered.signal()
    }
}
