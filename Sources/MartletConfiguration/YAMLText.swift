import MartletWire

/// Looks through the bytes of a file before they are read as YAML: a machine.
///
/// libyaml counts characters, and takes some for line breaks that no editor shows as such; what is let through here
/// has the lines and columns that an editor shows.
struct YAMLText {
    /// How many bytes of a byte order mark stand at the beginning.
    let markSize: Int

    /// Throws at the first character that has no business in a configuration file.
    init(_ bytes: Bytes, _ limits: YAMLLimits) throws(YAMLMistake) {
        let start = SourcePosition(line: 1, column: 1)
        guard bytes.count <= limits.size else {
            throw YAMLMistake(
                position: start, problem: "the file has \(bytes.count) bytes",
                advice: "a configuration has at most \(limits.size); is this the right file?")
        }
        markSize = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        var walk = Walk(position: start)
        if let mistake = bytes.withUnsafeBytes({ walk.mistake(in: $0.dropFirst(markSize)) }) { throw mistake }
    }

    private struct Walk {
        var position: SourcePosition
        var isAfterReturn = false

        /// The first mistake in `bytes`, if there is one.
        mutating func mistake(in bytes: Slice<UnsafeRawBufferPointer>) -> YAMLMistake? {
            var decoder = UTF8()
            var iterator = bytes.makeIterator()
            while true {
                switch decoder.decode(&iterator) {
                case .emptyInput: return nil
                case .error:
                    return YAMLMistake(
                        position: position, problem: "this is not text in UTF-8",
                        advice: "save the file as UTF-8; is this the right file?")
                case .scalarValue(let scalar):
                    if let mistake = step(scalar) { return mistake }
                }
            }
        }

        private mutating func step(_ scalar: Unicode.Scalar) -> YAMLMistake? {
            switch scalar.value {
            case 0x0A:
                if !isAfterReturn { newLine() }
                isAfterReturn = false
                return nil
            case 0x0D:
                newLine()
                isAfterReturn = true
                return nil
            // Directives do nothing here that is wanted, and libyaml's time for many of them grows with their square.
            case 0x25 where position.column == 1:
                return YAMLMistake(
                    position: position, problem: "a line begins with '%'",
                    advice: "directives are not used here; remove the line, or put quotes around the text")
            case 0x09, 0x20...0x7E, 0xA0...0x2027, 0x202A...0xD7FF, 0xE000...0xFEFE, 0xFF00...0xFFFD, 0x1_0000...:
                position.column += 1
                isAfterReturn = false
                return nil
            default:
                return YAMLMistake(
                    position: position,
                    problem: "there is an invisible character, U+\(String(scalar.value, radix: 16, uppercase: true))",
                    advice: "remove it; is this the right file?")
            }
        }

        private mutating func newLine() {
            position.line += 1
            position.column = 1
        }
    }
}
