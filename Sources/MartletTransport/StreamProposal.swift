internal import MartletWire

// Agreeing on the protocol of a stream (multistream-select 1.0).
extension Stream {
    /// Proposes `name` and takes the other side's consent for granted: what is written next goes out together with the
    /// proposal. The answer is looked at before the first byte is read; where it is a no, reading throws
    /// `protocolsNotSupported` and the stream is reset.
    ///
    /// To be called once, before anything else, on a stream that this side opened.
    public func propose(_ name: String) throws(StreamError) {
        let (first, _) = Self.proposal([name])
        link.expectAnswer(to: name, proposedBy: first)
        let (_, wakes) = try link.append(first)
        if wakes { link.wake() }
    }

    /// Proposes `names`, in order of preference, until the other side speaks one, and says which. Costs a round trip for
    /// each. Throws `protocolsNotSupported` where it speaks none; the stream is then of no more use.
    public nonisolated(nonsending) func negotiate(_ names: [String]) async throws(StreamError) -> String {
        var (first, dialer) = Self.proposal(names)
        try await write(first)
        while let line = try await readLine() {
            var answer = Writer()
            let progress: Multistream.Progress
            do throws(MultistreamError) {
                (_, progress) = try dialer.handle(line.span, into: &answer)
            } catch {
                throw error == .noneInCommon ? .protocolsNotSupported(names) : .negotiation(error)
            }
            if answer.count > 0 { try await write(answer.finish()) }
            if case .agreed(let name) = progress { return name }
        }
        throw .truncated
    }

    /// Answers the other side's proposals until there is one that `accepts` takes, and says which. `all` is what one who
    /// asks for a list is told.
    public nonisolated(nonsending) func answerProposals(
        all: [String], accepts: (String) -> Bool
    ) async throws(StreamError) -> String {
        var listener = MultistreamListener()
        while let line = try await readLine() {
            var answer = Writer()
            let progress: Multistream.Progress
            do throws(MultistreamError) {
                (_, progress) = try listener.handle(line.span, into: &answer, all: all, accepts: accepts)
            } catch {
                throw .negotiation(error)
            }
            if answer.count > 0 { try await write(answer.finish()) }
            if case .agreed(let name) = progress { return name }
        }
        throw .truncated
    }

    /// The same for a dialer that has said at once all that it wants, and for what is there already; `nil` where it takes
    /// `answerProposals`. Nothing is waited for.
    public func answerProposalAtOnce(accepts: (String) -> Bool) -> String? {
        guard let (name, wakes) = link.consentAtOnce(accepts) else { return nil }
        if wakes { link.wake() }
        return name
    }

    private static func proposal(_ names: [String]) -> (first: Bytes, MultistreamDialer) {
        let dialer = MultistreamDialer(proposing: names)
        var first = Writer(capacity: 64)
        dialer.begin(into: &first)
        return (first.finish(), dialer)
    }

    /// The next line, behind its length as the machines of multistream-select want it.
    private nonisolated(nonsending) func readLine() async throws(StreamError) -> Bytes? {
        let line: Bytes?
        do throws(StreamError) {
            line = try await readMessage(upTo: Multistream.maximumLineSize)
        } catch {
            switch error {
            case .messageTooLarge(let size): throw .negotiation(.lineTooLong(size))
            case .malformedLength: throw .negotiation(.malformedLine)
            default: throw error
            }
        }
        guard let line else { return nil }
        var framed = Writer(capacity: line.count + 2)
        framed.lengthPrefixed(line.span)
        return framed.finish()
    }
}
