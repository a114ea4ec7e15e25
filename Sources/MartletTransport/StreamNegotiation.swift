internal import MartletRuntime
internal import MartletWire

// Agreeing on a protocol by the first bytes of each direction (multistream-select), without waiting.
extension StreamLink {
    /// The other side's header and its answer to `name`, which `proposal` proposes, are to be read before anything else.
    func expectAnswer(to name: String, proposedBy proposal: Bytes) {
        state.withLock { state in
            state.negotiation = .header(name)
            state.consent = proposal
        }
    }

    /// Reads what the other side says about the proposed protocol, for a reader that waits for `count` bytes behind it.
    /// Where the other side does not speak it, the stream is reset.
    nonisolated(nonsending) func finishNegotiation(before count: Int) async throws(StreamError) {
        state.withLock { $0.neededAfterConsent = count }
        do throws(StreamError) {
            while true {
                let (step, wakes) = try state.withLock { state throws(StreamError) in try state.negotiate() }
                if wakes { wake() }
                switch step {
                case .message: return
                case .needs(let count): try await waitForInput(atLeast: count)
                case .end: throw .truncated
                case .negotiationFirst: continue
                }
            }
        } catch {
            switch error {
            case .cancelled, .timedOut, .busy: break
            default: reset(code: 0)
            }
            throw error
        }
    }
}

extension StreamLink {
    /// Consents to what the other side proposes, where all of that is there, stands together and `accepts` takes it. Gives
    /// the protocol, and whether to `wake`.
    func consentAtOnce(_ accepts: (String) -> Bool) -> (name: String, wakes: Bool)? {
        state.withLock { $0.consentAtOnce(accepts) }
    }
}

extension StreamState {
    fileprivate mutating func consentAtOnce(_ accepts: (String) -> Bool) -> (name: String, wakes: Bool)? {
        let header = Multistream.headerLine
        guard case .done = negotiation, reader == nil, case .open = output, let first = incoming.first,
            first.count > header.count, first.slice(0..<header.count) == header
        else { return nil }
        // A longer name than one byte counts has the time to be agreed on otherwise.
        let size = Int(first[header.count])
        let end = header.count + 1 + size
        guard size > 1, size < 0x80, first.count >= end, first[end - 1] == UInt8(ascii: "\n") else { return nil }
        let text = first.slice(header.count + 1..<end - 1)
        guard let name = text.withUnsafeBytes({ String(validating: $0, as: UTF8.self) }), name != Multistream.list,
            accepts(name)
        else { return nil }
        // The consent is what was proposed, byte for byte.
        outgoing.append(incoming.take(exactly: end), mayPin: false)
        let wakes = free(end)
        guard !isAnnounced else { return (name, wakes) }
        isAnnounced = true
        return (name, wake(for: .output) || wakes)
    }

    /// Takes the other side's consent where all of it is there, so that a reader need not be woken for it: it goes on
    /// waiting for what comes behind. Whether the loop has to be woken for the credit.
    mutating func takeConsent() -> Bool {
        guard case .header = negotiation, incoming.begins(with: consent) else { return false }
        _ = incoming.take(exactly: consent.count)
        negotiation = .done
        if reader != nil { needed = neededAfterConsent }
        defer { consent = Bytes() }
        return free(consent.count)
    }

    /// One line of the answer. `message` where it was the last.
    fileprivate mutating func negotiate() throws(StreamError) -> (StreamLink.Message, wakes: Bool) {
        guard reader == nil else { throw .busy }
        if case .done = negotiation { return (.message(Bytes()), false) }
        let taken: (StreamLink.Message, wakes: Bool)
        do throws(StreamError) {
            taken = try takeMessage(upTo: Multistream.maximumLineSize)
        } catch {
            switch error {
            case .messageTooLarge(let size): throw .negotiation(.lineTooLong(size))
            case .malformedLength: throw .negotiation(.malformedLine)
            default: throw error
            }
        }
        guard case .message(let line) = taken.0 else { return taken }
        guard line.last == UInt8(ascii: "\n") else { throw .negotiation(.malformedLine) }
        let text = line.slice(0..<line.count - 1)
        switch negotiation {
        case .done: break
        case .header(let name):
            guard text == Bytes(utf8: Multistream.header) else { throw .negotiation(.wrongHeader) }
            negotiation = .answer(name)
        case .answer(let name):
            guard text == Bytes(utf8: name) else {
                guard text == Bytes(utf8: Multistream.notAvailable) else { throw .negotiation(.unexpectedAnswer) }
                throw .protocolsNotSupported([name])
            }
            negotiation = .done
        }
        if case .done = negotiation { return (.message(line), taken.wakes) }
        return (.negotiationFirst, taken.wakes)
    }
}
