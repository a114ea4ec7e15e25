import MartletWire

/// A machine that cuts what comes in into lines, which end with `\n` or `\r\n`, and keeps what is not yet one.
struct LineBuffer {
    /// How many bytes a line may have, its end included.
    static let longestLine = 64 << 10

    /// The line was longer than `longestLine`, or would have become so.
    struct TooLong: Error {}

    /// The beginning of a line whose end has not come.
    private var kept: [UInt8] = []

    /// How many bytes wait for the end of their line.
    var waiting: Int { kept.count }

    /// Calls `body` with each line that is whole with `bytes`, without its end, until it says `false`: what is left is
    /// then dropped. What is no UTF-8 is repaired, and a line that is too long throws.
    mutating func take(_ bytes: RawSpan, _ body: (String) -> Bool) throws(TooLong) {
        var start = 0
        let count = bytes.byteCount
        while start < count {
            guard let end = bytes.firstIndex(of: 0x0A, from: start) else { break }
            guard kept.count + end - start < Self.longestLine else { throw TooLong() }
            let line: String
            if kept.isEmpty {
                line = Self.text(bytes.extracting(start..<end))
            } else {
                bytes.extracting(start..<end).withUnsafeBytes { kept.append(contentsOf: $0) }
                line = Self.text(kept.span.bytes)
                kept.removeAll(keepingCapacity: kept.count <= 1024)
            }
            start = end + 1
            guard body(line) else { return kept = [] }
        }
        guard start < count else { return }
        guard kept.count + count - start < Self.longestLine else { throw TooLong() }
        bytes.extracting(start..<count).withUnsafeBytes { kept.append(contentsOf: $0) }
    }

    private static func text(_ line: RawSpan) -> String {
        line.withUnsafeBytes { bytes in
            let end = bytes.last == 0x0D ? bytes.count - 1 : bytes.count
            return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[..<end]), as: UTF8.self)
        }
    }
}

extension RawSpan {
    fileprivate func firstIndex(of byte: UInt8, from start: Int) -> Int? {
        withUnsafeBytes { bytes in bytes[start...].firstIndex(of: byte) }
    }
}
