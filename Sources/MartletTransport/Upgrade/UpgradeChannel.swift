internal import MartletCrypto
internal import MartletRuntime
internal import MartletWire

/// An ordered stream of bytes while it is being upgraded: read as straight-line code, by a deadline, within a bound.
final class UpgradeChannel {
    private(set) var stream: ByteStream
    private let limits: UpgradeLimits
    private let deadline: Instant
    private let readable: Signal
    private var timer: LoopTimer?
    private var isLate = false
    private var received = 0
    /// How far the upgrade is.
    private(set) var stage = TransportError.Stage.securityNegotiation
    /// What came in and was not used yet.
    private var input = Bytes()
    /// Once there are keys: what came in, opened, and was not used yet.
    private var opened = Bytes()
    private var noise: NoiseTransport?

    init(_ stream: ByteStream, limits: UpgradeLimits, deadline: Instant) {
        self.stream = stream
        self.limits = limits
        self.deadline = deadline
        let readable = Signal(on: stream.loop)
        self.readable = readable
        listen()
        timer = LoopTimer(on: stream.loop, label: "upgrade") { [weak self] in
            self?.isLate = true
            readable.signal()
        }
        enter(stage)
    }

    private func listen() {
        let readable = readable
        stream.onReadable = { readable.signal() }
    }

    /// Begins `stage`, which has its own time within the whole.
    func enter(_ stage: TransportError.Stage) {
        self.stage = stage
        timer?.arm(at: min(deadline, stream.loop.now + limits.stageTimeout))
    }

    /// Ends the upgrade: gives back the stream, and what came in behind it.
    func finish() -> (input: Bytes, opened: Bytes) {
        timer = nil
        stream.onReadable = nil
        return (input, opened)
    }

    func send(_ bytes: Bytes) {
        stream.write(bytes)
    }

    // MARK: In the clear

    /// Sends `first`, behind what proposes the one protocol that it belongs to, where that is still to be agreed on.
    /// `false` where the other side does not speak it: what it made of `first`, nobody knows, and the stream is of no
    /// more use.
    nonisolated(nonsending) func send(
        _ first: Bytes, behind dialer: consuming MultistreamDialer?
    ) async throws(TransportError) -> Bool {
        guard let dialer else {
            if !first.isEmpty { send(first) }
            return true
        }
        var writer = Writer(capacity: 64 + first.count)
        dialer.begin(into: &writer)
        writer.bytes(first)
        send(writer.finish())
        do throws(TransportError) {
            _ = try await agree(dialer)
        } catch {
            guard error == .negotiation(.noneInCommon) else { throw error }
            return false
        }
        return true
    }

    /// What comes next, as it comes.
    nonisolated(nonsending) func receive() async throws(TransportError) -> Bytes {
        if input.isEmpty { try await fill() }
        defer { input = Bytes() }
        return input
    }

    /// The next message of a Noise handshake.
    nonisolated(nonsending) func receiveFramed() async throws(TransportError) -> Bytes {
        while true {
            if input.count >= 2 {
                let end = 2 + (Int(input[0]) << 8 | Int(input[1]))
                if input.count >= end {
                    defer { input = input.slice(end..<input.count) }
                    return input.slice(2..<end)
                }
            }
            try await fill()
        }
    }

    private nonisolated(nonsending) func fill() async throws(TransportError) {
        while true {
            guard !isLate else { throw .timedOut(stage) }
            guard received < limits.upgradeBytes else { throw .handshake("more than \(limits.upgradeBytes) bytes") }
            var result = ReadResult.wouldBlock
            let room = min(4096, limits.upgradeBytes - received)
            var writer = Writer(capacity: input.count + room)
            writer.bytes(input)
            writer.append(upTo: room) { buffer in
                result = stream.read(into: buffer)
                if case .bytes(let count) = result { return count }
                return 0
            }
            switch result {
            case .bytes(let count):
                received += count
                input = writer.finish()
                return
            case .end: throw .ended(stage)
            case .failed(let reason): throw .network(NetworkError(reason, "upgrade", stream.remoteAddress))
            case .wouldBlock:
                do {
                    try await readable.wait()
                } catch {
                    throw .cancelled
                }
            }
        }
    }

    // MARK: With keys

    /// From here on everything is sealed.
    func secure(by noise: NoiseTransport) {
        self.noise = noise
    }

    /// From here on everything goes over `stream`, which has taken over the one there was.
    func secure(by stream: TLSByteStream) {
        self.stream = stream
        listen()
    }

    private nonisolated(nonsending) func fillOpened(by noise: NoiseTransport) async throws(TransportError) {
        let record = try await receiveFramed()
        var writer = Writer(capacity: opened.count + record.count)
        writer.bytes(opened)
        do throws(NoiseError) {
            try writer.append(upTo: record.count) { buffer throws(NoiseError) in
                record.withUnsafeBytes { buffer.copyMemory(from: $0) }
                return try noise.receiving.open(buffer)
            }
        } catch {
            throw .handshake("\(error)")
        }
        opened = writer.finish()
    }

    // MARK: Agreeing on a protocol

    /// Goes on, as a dialer that has begun, until a protocol is agreed on.
    nonisolated(nonsending) func agree(_ dialer: consuming MultistreamDialer) async throws(TransportError) -> String {
        while true {
            var answer = Writer()
            let used: Int
            let progress: Multistream.Progress
            do throws(MultistreamError) {
                (used, progress) = try dialer.handle(pending.span, into: &answer)
            } catch {
                throw .negotiation(error)
            }
            try respond(answer.finish(), used: used)
            if case .agreed(let name) = progress { return name }
            try await fillPending()
        }
    }

    /// Proposes `protocols` until one is agreed on; `nil` where the other side speaks none of them.
    nonisolated(nonsending) func propose(_ protocols: [String]) async throws(TransportError) -> String? {
        let dialer = MultistreamDialer(proposing: protocols)
        var first = Writer()
        dialer.begin(into: &first)
        try sendSealed(first.finish())
        do throws(TransportError) {
            return try await agree(dialer)
        } catch {
            guard error == .negotiation(.noneInCommon) else { throw error }
            return nil
        }
    }

    /// Listens until one of `protocols` is agreed on.
    nonisolated(nonsending) func agree(on protocols: [String]) async throws(TransportError) -> String {
        var listener = MultistreamListener()
        while true {
            var answer = Writer()
            let used: Int
            let progress: Multistream.Progress
            do throws(MultistreamError) {
                (used, progress) = try listener.handle(pending.span, into: &answer, all: protocols) {
                    protocols.contains($0)
                }
            } catch {
                // What was answered before: a dialer that said too much at once learns what is not spoken here.
                try sendSealed(answer.finish())
                throw .negotiation(error)
            }
            try respond(answer.finish(), used: used)
            if case .agreed(let name) = progress { return name }
            try await fillPending()
        }
    }

    private var pending: Bytes { noise == nil ? input : opened }

    private nonisolated(nonsending) func fillPending() async throws(TransportError) {
        if let noise { try await fillOpened(by: noise) } else { try await fill() }
    }

    private func respond(_ answer: Bytes, used: Int) throws(TransportError) {
        if noise == nil {
            input = input.slice(used..<input.count)
        } else {
            opened = opened.slice(used..<opened.count)
        }
        if !answer.isEmpty { try sendSealed(answer) }
    }

    /// Sends `bytes`, sealed where there are keys.
    func sendSealed(_ bytes: Bytes) throws(TransportError) {
        guard let noise else { return send(bytes) }
        do throws(NoiseError) {
            send(try noise.sending.record(bytes))
        } catch {
            throw .handshake("\(error)")
        }
    }
}

extension NoiseCipher {
    /// `bytes` as a record of libp2p's noise: its length, then the message.
    func record(_ bytes: Bytes) throws(NoiseError) -> Bytes {
        let size = bytes.count + Self.tagSize
        var writer = Writer(capacity: 2 + size)
        writer.integer(UInt16(size))
        try writer.append(count: size) { buffer throws(NoiseError) in
            bytes.withUnsafeBytes { buffer.copyMemory(from: $0) }
            try seal(buffer)
        }
        return writer.finish()
    }
}
