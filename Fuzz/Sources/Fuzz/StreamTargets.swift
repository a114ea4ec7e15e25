import Martlet
@_spi(Fuzzing) import MartletSwarm
@_spi(Fuzzing) import MartletTransport

/// What comes on the streams and connections of libp2p.
let streamTargets: [FuzzTarget] = [
    FuzzTarget("Multistream") { input in
        guard let choice = input.first else { return }
        let talk = input.slice(1..<input.count)
        // Cut anywhere it is the same conversation.
        if choice & 1 == 0 {
            let whole = outcome(of: MultistreamListener(), talk, pieces: talk.count)
            let cut = outcome(of: MultistreamListener(), talk, pieces: Int(choice >> 1) + 1)
            expect(whole == cut, "a listener does not mind where it is cut")
        } else {
            let dialer = MultistreamDialer(proposing: ["/a", "/echo/1.0.0"])
            let whole = outcome(of: dialer, talk, pieces: talk.count)
            let cut = outcome(of: dialer, talk, pieces: Int(choice >> 1) + 1)
            expect(whole == cut, "a dialer does not mind where it is cut")
        }
    },

    FuzzTarget("Yamux") { input in try UpgradeExercise.playYamux(input) },

    FuzzTarget("NoisePayload") { input in try UpgradeExercise.readNoisePayload(input) },

    FuzzTarget("Identify") { input in try IdentifyExercise.run(input, from: identity) },
]

private let identity: PrivateKey = {
    let seed = Bytes([UInt8](repeating: 1, count: 32))
    guard let key = try? PrivateKey(ed25519Seed: seed.span) else { preconditionFailure("32 bytes are a seed") }
    return key
}()

/// One side of multistream-select, as both are used.
private protocol Multistreaming {
    mutating func take(_ input: RawSpan, into output: inout Writer) throws(MultistreamError) -> (Int, String?)
}

extension MultistreamListener: Multistreaming {
    fileprivate mutating func take(
        _ input: RawSpan, into output: inout Writer
    ) throws(MultistreamError) -> (Int, String?) {
        let (used, progress) = try handle(input, into: &output, all: ["/echo/1.0.0"]) { $0.hasPrefix("/echo") }
        if case .agreed(let name) = progress { return (used, name) }
        return (used, nil)
    }
}

extension MultistreamDialer: Multistreaming {
    fileprivate mutating func take(
        _ input: RawSpan, into output: inout Writer
    ) throws(MultistreamError) -> (Int, String?) {
        let (used, progress) = try handle(input, into: &output)
        if case .agreed(let name) = progress { return (used, name) }
        return (used, nil)
    }
}

/// What came of a conversation: what was answered, what was agreed on or went wrong, and what was left behind it.
private struct Outcome: Equatable {
    var answers = Bytes()
    var agreed: String?
    var error: MultistreamError?
    var rest: Int?
}

/// Gives `talk` to one side, so many bytes more at a time.
private func outcome(of side: some Multistreaming, _ talk: Bytes, pieces: Int) -> Outcome {
    var side = side
    var outcome = Outcome()
    var answers = Writer()
    var start = 0
    var end = 0
    while end < talk.count {
        end = min(end + max(pieces, 1), talk.count)
        let input = talk.slice(start..<end)
        do throws(MultistreamError) {
            let (used, agreed) = try side.take(input.span, into: &answers)
            expect(used <= input.count, "no more is used than there is")
            start += used
            if let agreed {
                outcome.agreed = agreed
                outcome.rest = start
                break
            }
        } catch {
            outcome.error = error
            break
        }
    }
    outcome.answers = answers.finish()
    expect(outcome.answers.count <= 64 * (talk.count + 64), "an answer is bounded")
    return outcome
}
