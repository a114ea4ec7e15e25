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
/// It lives on the loop. What the other side asks is answered by `onRequest`, within a budget.
final class MetadataSession {
    let stream: MartletTransport.Stream
    let loop: EventLoop
    let isOpener: Bool
    let begunAt: Instant
    /// The topics that both ends have proven to each other.
    var shared: Set<TopicKey> = []
    /// Answers a request. `nil` ends the stream.
    var onRequest: ((MetadataMessage.Body) -> MetadataMessage.Body?)?
    private var waiting: [UInt64: (Result<MetadataMessage.Body, MetadataSessionError>) -> Void] = [:]
    private var nextID: UInt64 = 1
    private var outbox: [Bytes] = []
    private let hasOutput: Signal
    private var requests = RateMeter()
    private(set) var isOver = false
    /// Whether the other side has said hello, with whatever outcome.
    var hasHeardHello = false
    /// Ends it where no hello comes.
    var helloTimer: LoopTimer?

    /// How often the other side may ask.
    private let requestRate: Rate
    /// How many messages may wait to be sent. Who reads so slowly is dropped.
    static let maximumOutbox = 1024

    init(_ stream: MartletTransport.Stream, isOpener: Bool, requests rate: Rate, on loop: EventLoop) {
        self.stream = stream
        requestRate = rate
        self.isOpener = isOpener
        self.loop = loop
        begunAt = loop.now
        hasOutput = Signal(on: loop)
    }

    var peer: PeerID { stream.remotePeer }

    /// Reads and writes until the stream ends.
    nonisolated(nonsending) func run() async {
        let writer = loop.spawn { await self.write() }
        do throws(StreamError) {
            while let bytes = try await stream.readMessage(upTo: MetadataMessage.maximumSize), !isOver {
                guard let message = try? MetadataMessage(bytes), take(message) else { break }
            }
        } catch {
            // The other side has gone away, which is an end like any other.
        }
        end()
        writer.cancel()
    }

    private nonisolated(nonsending) func write() async {
        while !isOver {
            while !outbox.isEmpty {
                let next = outbox.removeFirst()
                do throws(StreamError) { try await stream.writeMessage(next) } catch { return end() }
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
        guard requests.take(requestRate, at: loop.now) else {
            send(MetadataMessage(id: message.id, .refused(.tooMuch)))
            return true
        }
        guard let answer = onRequest?(message.body) else { return false }
        send(MetadataMessage(id: message.id, answer))
        return true
    }

    private func send(_ message: MetadataMessage) {
        guard !isOver else { return }
        guard outbox.count < Self.maximumOutbox else { return end() }
        outbox.append(message.encoded)
        hasOutput.signal()
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
        send(MetadataMessage(id: id, body))
        do { try await answered.wait() } catch { throw .ended }
        return try result.get()
    }

    /// Asks `body` and does not care for the answer.
    func tell(_ body: MetadataMessage.Body) {
        send(MetadataMessage(id: nextID, body))
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
        hasOutput.signal()
    }
}
