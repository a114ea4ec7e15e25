import MartletWire

extension Multiaddr: LosslessStringConvertible {
    /// The address that `text` writes, or `nil`; `init(parsing:)` tells why.
    public init?(_ text: String) {
        do throws(MultiaddrError) {
            try self.init(parsing: text)
        } catch {
            return nil
        }
    }

    /// The address that `text` writes. Slashes at the end mean nothing.
    public init(parsing text: String) throws(MultiaddrError) {
        try self.init(parsing: text.utf8.span.bytes)
    }

    /// The address that `text` writes, in UTF-8. Slashes at the end mean nothing.
    public init(parsing text: RawSpan) throws(MultiaddrError) {
        guard text.byteCount <= Multiaddr.maximumTextSize else { throw MultiaddrError(.malformed(.tooLarge), at: 0) }
        var end = text.byteCount
        while end > 0, text[end - 1] == Multiaddr.slash { end -= 1 }
        guard end > 0 else { throw MultiaddrError(.empty, at: 0) }

        var writer = Writer(capacity: 64)
        var position = 0
        while position < end {
            guard text[position] == Multiaddr.slash else {
                throw MultiaddrError(.malformed(.unexpected(UInt64(text[position]))), at: position)
            }
            let name = Multiaddr.part(of: text, after: position, end: end)
            let step = try Multiaddr.namedProtocol(text.extracting(name), at: name.lowerBound)
            position = name.upperBound
            writer.varint(UInt64(step.rawValue))
            if step.value.size == 0 { continue }

            var value = Multiaddr.part(of: text, after: position, end: end)
            // A path is all that is left, its first slash included.
            if case .path = step.value { value = position..<end }
            guard !value.isEmpty else { throw MultiaddrError(.value(step, .missing), at: value.lowerBound) }
            do throws(WireError) {
                try step.value.parse(text.extracting(value), into: &writer)
            } catch {
                throw MultiaddrError(.value(step, error.reason), at: value.lowerBound + error.offset)
            }
            position = value.upperBound
        }
        guard writer.count <= Multiaddr.maximumSize else { throw MultiaddrError(.malformed(.tooLarge), at: end) }
        self.init(unchecked: writer.finish())
    }

    /// The canonical text.
    public var description: String {
        var writer = Writer(capacity: 2 * bytes.count + 64)
        var walk = AddressWalk(bytes.span)
        while let step = try? walk.next() {
            writer.byte(Multiaddr.slash)
            writer.utf8(step.name)
            if step.value.size == 0 { continue }
            // A path begins with a slash of its own.
            if case .path = step.value {} else { writer.byte(Multiaddr.slash) }
            step.value.print(walk.valueBytes, into: &writer)
        }
        return writer.span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private static let slash = UInt8(ascii: "/")

    /// What stands between the slash at `position` and the next one or `end`.
    private static func part(of text: RawSpan, after position: Int, end: Int) -> Range<Int> {
        let first = min(position + 1, end)
        var last = first
        while last < end, text[last] != slash { last += 1 }
        return first..<last
    }

    private static func namedProtocol(_ name: RawSpan, at offset: Int) throws(MultiaddrError) -> AddressProtocol {
        let text = name.withUnsafeBytes { String(decoding: $0.prefix(32), as: UTF8.self) }
        guard name.byteCount <= 32, let known = AddressProtocol(name: text) else {
            throw MultiaddrError(.unknownName(text), at: offset)
        }
        return known
    }
}
