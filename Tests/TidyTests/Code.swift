/// Swift source without what is no code: comments, strings and regular expressions are blanked, line by line and column
/// by column, so that a word found here is really used. Code inside a string's interpolation stays.
struct Code {
    private(set) var lines: [String] = []
    private let source: [UInt8]
    private var position = 0
    private var kept: [UInt8] = []

    init(_ text: String) {
        source = Array(text.utf8)
        kept.reserveCapacity(source.count)
        code(untilParenthesis: false)
        lines = String(decoding: kept, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    private func starts(with text: StaticString, at offset: Int = 0) -> Bool {
        let start = position + offset
        guard start + text.utf8CodeUnitCount <= source.count else { return false }
        return (0..<text.utf8CodeUnitCount).allSatisfy { source[start + $0] == text.utf8Start[$0] }
    }

    private mutating func keep(_ count: Int = 1) {
        kept.append(contentsOf: source[position..<min(position + count, source.count)])
        position += count
    }

    private mutating func blank(_ count: Int = 1) {
        for byte in source[position..<min(position + count, source.count)] {
            kept.append(byte == UInt8(ascii: "\n") ? byte : UInt8(ascii: " "))
        }
        position += count
    }

    /// Code to the end or, in an interpolation, to the parenthesis that closes it.
    private mutating func code(untilParenthesis: Bool) {
        var depth = 0
        while position < source.count {
            if starts(with: "//") {
                while position < source.count, source[position] != UInt8(ascii: "\n") { blank() }
            } else if starts(with: "/*") {
                blockComment()
            } else if let hashes = stringOpening() {
                string(hashes: hashes)
            } else if let count = regexLength() {
                blank(count)
            } else {
                if source[position] == UInt8(ascii: "(") { depth += 1 }
                if source[position] == UInt8(ascii: ")") {
                    depth -= 1
                    if untilParenthesis, depth < 0 { return }
                }
                keep()
            }
        }
    }

    /// Block comments nest.
    private mutating func blockComment() {
        var depth = 0
        repeat {
            if starts(with: "/*") {
                depth += 1
                blank(2)
            } else if starts(with: "*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && position < source.count
    }

    /// How many `#` stand before the quote of a string that begins here, or `nil` if none begins.
    private func stringOpening() -> Int? {
        var hashes = 0
        while starts(with: "#", at: hashes) { hashes += 1 }
        return starts(with: "\"", at: hashes) ? hashes : nil
    }

    /// How long the regular expression is that begins here, or `nil` if none begins. It stands where a value may, and
    /// ends in its line; a division has a value before it.
    private func regexLength() -> Int? {
        guard starts(with: "/"), !starts(with: " ", at: 1) else { return nil }
        let before = kept.last { $0 != UInt8(ascii: " ") } ?? UInt8(ascii: "\n")
        guard "\n(,=:{[!&|?".utf8.contains(before) else { return nil }
        var length = 1
        while position + length < source.count, !starts(with: "\n", at: length) {
            if starts(with: "/", at: length) { return length + 1 }
            length += starts(with: "\\", at: length) ? 2 : 1
        }
        return nil
    }

    private mutating func string(hashes: Int) {
        blank(hashes)
        let quotes = starts(with: "\"\"\"") ? 3 : 1
        blank(quotes)
        func hashesFollow(_ offset: Int) -> Bool { (0..<hashes).allSatisfy { starts(with: "#", at: offset + $0) } }
        while position < source.count {
            let closes = quotes == 3 ? starts(with: "\"\"\"") : starts(with: "\"") || starts(with: "\n")
            if closes, hashesFollow(quotes) {
                blank(quotes + hashes)
                return
            }
            if starts(with: "\\"), hashesFollow(1) {
                blank(1 + hashes)
                if starts(with: "(") {
                    keep()
                    code(untilParenthesis: true)
                    keep()
                } else {
                    blank()
                }
            } else {
                blank()
            }
        }
    }
}
