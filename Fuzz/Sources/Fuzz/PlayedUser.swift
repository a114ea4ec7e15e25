import MartletRuntime
@testable import MartletTransport
import MartletWire

/// A user of a stream in a play: it does what the program says, and sees to it that a stream keeps its promises.
final class PlayedUser {
    /// The most that one user has queued by writing, so that an input of a few bytes does not ask for gigabytes.
    private static let mostWritten = 8 << 20

    let link: StreamLink
    private var stream: MartletTransport.Stream?
    private let loop: EventLoop
    /// Whether what comes in can be told from what was spoilt: the play says when it no longer can.
    var checksContent = true
    private(set) var written = 0
    private var received = 0
    private var readTask: Task<Void, Never>?
    private var writeTask: Task<Void, Never>?
    private var hasReadEnd = false
    /// How often it was told that the muxer has done with the stream.
    private(set) var ends = 0
    private var heldAtEnd = 0

    /// Whether it is a user of the adversary's end.
    private let isAdversary: Bool

    init(_ stream: MartletTransport.Stream, isAdversary: Bool = false) {
        self.stream = stream
        self.isAdversary = isAdversary
        link = stream.link
        loop = stream.link.loop
    }

    /// Begins to watch, once the owner's books are in order.
    func watch(on connection: Connection, _ ended: @escaping () -> Void = {}) {
        guard let stream else { return }
        connection.whenEnded(stream) { [self] in
            ends += 1
            heldAtEnd = link.held
            ended()
        }
    }

    var isOver: Bool { ends > 0 }

    /// How many bytes have come in that it has not read.
    var unread: Int { link.held - link.output.count }

    /// Whether it has let go of the stream and waits for nothing.
    var isDone: Bool { stream == nil && readTask == nil && writeTask == nil }

    // MARK: What it does, on the loop

    func read(upTo maximum: Int) {
        guard readTask == nil, let stream else { return }
        readTask = loop.spawn { [self] in
            do throws(StreamError) {
                let bytes = try await stream.read(upTo: maximum)
                if let bytes { took(bytes) } else { hasReadEnd = true }
            } catch {
                expect(error != .busy, "a stream whose only reader this is, is not busy")
            }
            readTask = nil
        }
    }

    private func took(_ bytes: Bytes) {
        expect(!hasReadEnd, "nothing is read behind the end")
        expect(!bytes.isEmpty, "a read that returns has read something")
        let holds = bytes.withUnsafeBytes { Pattern.holds($0, of: link.id, inbound: !isAdversary, at: received) }
        expect(holds || !checksContent, "bytes come as they were sent and in their order")
        received += bytes.count
    }

    func write(_ count: Int, thenCloses: Bool = false) {
        guard writeTask == nil, let stream, written + count <= Self.mostWritten else { return }
        let bytes = Pattern.withBytes(of: link.id, inbound: isAdversary, at: written, count) { Bytes(copying: $0) }
        writeTask = loop.spawn { [self] in
            do throws(StreamError) {
                try await stream.write(bytes)
            } catch {
                expect(error != .busy, "a stream whose only writer this is, is not busy")
            }
            if thenCloses { stream.closeWrite() }
            writeTask = nil
        }
        // A stream that does not take it takes nothing more either.
        written += count
    }

    func closeWrite() { stream?.closeWrite() }

    func closeRead(code: UInt64) { stream?.closeRead(code: code) }
    func reset(code: UInt64) { stream?.reset(code: code) }
    func setReadDeadline(_ timeout: Duration?) { stream?.setReadDeadline(after: timeout) }
    func setWriteDeadline(_ timeout: Duration?) { stream?.setWriteDeadline(after: timeout) }

    func cancel() {
        readTask?.cancel()
        writeTask?.cancel()
    }

    /// Lets go of the stream. A task that waits on it keeps it, and so it is cancelled.
    func letGo() {
        cancel()
        stream = nil
    }

    // MARK: What must hold

    func check() {
        expect(ends <= 1, "a stream ends once")
        if ends == 1 {
            expect(writeTask == nil, "nobody waits to write to a stream that has ended")
            expect(readTask == nil, "nobody waits for what comes of a stream that has ended")
            let held = link.held
            expect(held <= heldAtEnd, "nothing comes to a stream that has ended")
            heldAtEnd = held
        }
    }
}
