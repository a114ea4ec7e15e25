public import MartletWire

/// The words of multistream-select 1.0, by which two sides agree on a protocol (libp2p's connections specification).
///
/// Each word is a line behind a varint that tells its length. `MultistreamDialer` and `MultistreamListener` are the two
/// sides, each a machine: give it what has come in and not been used, write what it wants written, and drop what it has
/// used. What lies behind the last line belongs to the protocol that was agreed on.
public enum Multistream {
    /// The name of multistream-select itself, which both sides say first.
    public static let header = "/multistream/1.0.0"
    /// That line as it is sent.
    static let headerLine: Bytes = {
        var writer = Writer(capacity: 24)
        writer.line(header)
        return writer.finish()
    }()
    /// What is said to a protocol that one does not speak.
    public static let notAvailable = "na"
    /// What asks for a list of all protocols.
    public static let list = "ls"
    /// The longest line, with its line feed. The specification has no bound.
    public static let maximumLineSize = 1024

    /// How far an agreement has come.
    public enum Progress: Hashable, Sendable {
        /// More has to come in.
        case needsMore
        /// Both speak this protocol.
        case agreed(String)
    }

    /// Whether what has come in can still become the header. Who speaks something else is not waited for: a line of text
    /// would be taken for the beginning of a longer one.
    static func mayBecomeHeader(_ input: RawSpan) -> Bool {
        input.byteCount == 0 || input[0] == UInt8(header.utf8.count + 1)
    }

    /// Whether `name` can be proposed.
    public static func isProposable(_ name: String) -> Bool {
        let size = name.utf8.count
        return size > 0 && size < maximumLineSize && !name.utf8.contains(UInt8(ascii: "\n"))
    }
}

extension Writer {
    /// Appends `text` as a line of multistream-select.
    mutating func line(_ text: String) {
        varint(UInt64(text.utf8.count + 1))
        utf8(text)
        byte(UInt8(ascii: "\n"))
    }
}

extension Reader {
    /// The next line, without its line feed; `nil` where it is not there as a whole, and nothing is read then.
    @_lifetime(copy self)
    mutating func line() throws(MultistreamError) -> RawSpan? {
        let before = self
        let length: UInt64
        do throws(WireError) {
            length = try varint()
        } catch {
            guard error.reason == .truncated else { throw .malformedLine }
            return nil
        }
        guard length <= Multistream.maximumLineSize else { throw .lineTooLong(length) }
        guard length > 0 else { throw .malformedLine }
        guard remaining >= Int(length), let line = try? span(Int(length)) else {
            self = before
            return nil
        }
        guard line[line.byteCount - 1] == UInt8(ascii: "\n") else { throw .malformedLine }
        return line.extracting(0..<line.byteCount - 1)
    }
}

extension RawSpan {
    fileprivate func isText(_ text: String) -> Bool {
        isEqual(to: text.utf8.span.bytes)
    }
}

/// The side that proposes protocols, in its order of preference.
public struct MultistreamDialer: Sendable {
    private let proposals: [String]
    private var next = 0
    private var hasHeader = false

    /// Proposes `protocols`, of which there must be one at least.
    public init(proposing protocols: [String]) {
        precondition(!protocols.isEmpty && protocols.allSatisfy(Multistream.isProposable), "no names of protocols")
        proposals = protocols
    }

    /// Appends what is to be sent first: the header and the first proposal. What belongs to the proposed protocol may
    /// follow at once, if the other side is trusted to speak it.
    public func begin(into output: inout Writer) {
        output.line(Multistream.header)
        output.line(proposals[0])
    }

    /// Handles what came in, appends what is to be sent, and says how much was used.
    public mutating func handle(
        _ input: RawSpan, into output: inout Writer
    ) throws(MultistreamError) -> (used: Int, progress: Multistream.Progress) {
        guard hasHeader || Multistream.mayBecomeHeader(input) else { throw .wrongHeader }
        var reader = Reader(input)
        while let line = try reader.line() {
            guard hasHeader else {
                guard line.isText(Multistream.header) else { throw .wrongHeader }
                hasHeader = true
                continue
            }
            if line.isText(proposals[next]) { return (reader.position, .agreed(proposals[next])) }
            guard line.isText(Multistream.notAvailable) else { throw .unexpectedAnswer }
            next += 1
            guard next < proposals.count else { throw .noneInCommon }
            output.line(proposals[next])
        }
        return (reader.position, .needsMore)
    }
}

/// The side that is asked.
public struct MultistreamListener: Sendable {
    /// How many protocols may be proposed, or lists asked for, before the patience ends.
    public static let maximumProposals = 64

    private var hasHeader = false
    private var proposals = 0

    /// A listener that has heard nothing yet.
    public init() {}

    /// Handles what came in, appends what is to be sent, and says how much was used. `accepts` says which protocols
    /// are spoken, and `all` names them for one who asks.
    public mutating func handle(
        _ input: RawSpan, into output: inout Writer, all: [String] = [], accepts: (String) -> Bool
    ) throws(MultistreamError) -> (used: Int, progress: Multistream.Progress) {
        guard hasHeader || Multistream.mayBecomeHeader(input) else { throw .wrongHeader }
        var reader = Reader(input)
        while let line = try reader.line() {
            guard hasHeader else {
                guard line.isText(Multistream.header) else { throw .wrongHeader }
                hasHeader = true
                output.line(Multistream.header)
                continue
            }
            proposals += 1
            guard proposals <= Self.maximumProposals else { throw .tooManyProposals }
            if line.isText(Multistream.list) {
                output.lengthPrefixed { list in
                    for name in all { list.line(name) }
                    list.byte(UInt8(ascii: "\n"))
                }
                continue
            }
            guard let name = line.withUnsafeBytes({ String(validating: $0, as: UTF8.self) }) else {
                throw .malformedLine
            }
            if accepts(name) {
                output.line(name)
                return (reader.position, .agreed(name))
            }
            output.line(Multistream.notAvailable)
        }
        return (reader.position, .needsMore)
    }
}
