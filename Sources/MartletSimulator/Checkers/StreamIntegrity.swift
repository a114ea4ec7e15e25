public import MartletWire

/// Checks that what is read from a TCP stream is what was written to it, byte for byte and in order, and that an end
/// comes only after all of it.
public final class StreamIntegrity: WorldWatcher {
    /// What was written to a stream and has not been read yet.
    private struct Unread {
        var pieces: [Bytes] = []
        /// How much of the first piece has been read.
        var used = 0
        var read = 0
        var isEmpty: Bool { pieces.isEmpty }
    }

    private var streams: [UInt64: Unread] = [:]
    private var wrong: String?
    /// How many bytes were read and found right.
    public private(set) var checked = 0

    /// A checker for streams that begin from now on.
    public init() {}

    /// "streams arrive whole".
    public var name: String { "streams arrive whole" }

    /// Remembers what will have to be read.
    public func wrote(_ bytes: Bytes, to stream: UInt64, by host: Host) {
        streams[stream, default: Unread()].pieces.append(bytes)
    }

    /// Compares what was read.
    public func read(_ bytes: UnsafeRawBufferPointer, from stream: UInt64, by host: Host) {
        var unread = streams[stream] ?? Unread()
        var position = 0
        var finished = 0
        while position < bytes.count {
            guard finished < unread.pieces.count else {
                return accuse("\(host.name) has read \(bytes.count - position) bytes that nobody wrote")
            }
            let piece = unread.pieces[finished]
            let count = min(bytes.count - position, piece.count - unread.used)
            let part = UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
            let isSame = piece.slice(unread.used..<unread.used + count).withUnsafeBytes { $0.elementsEqual(part) }
            guard isSame else {
                return accuse("\(host.name) has read other bytes than were written, from byte \(unread.read) on")
            }
            position += count
            unread.used += count
            unread.read += count
            if unread.used == piece.count { (finished, unread.used) = (finished + 1, 0) }
        }
        unread.pieces.removeFirst(finished)
        checked += bytes.count
        streams[stream] = unread
    }

    /// Looks whether something is left.
    public func readEnd(of stream: UInt64, by host: Host) {
        guard let unread = streams.removeValue(forKey: stream), !unread.isEmpty else { return }
        accuse("\(host.name) has read the end of a stream after \(unread.read) bytes, and more were written")
    }

    /// The first thing that was wrong.
    public func verdict(on world: World) -> String? { wrong }

    private func accuse(_ what: String) { wrong = wrong ?? what }
}
