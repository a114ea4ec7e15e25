import Martlet

/// Writes two frames, each behind a varint that tells its length, and reads them where they stand.
@main
struct Frames {
    static func main() throws {
        var writer = Writer()
        writer.lengthPrefixed(Bytes(utf8: "hello").span)
        writer.lengthPrefixed(Bytes(utf8: "martlet").span)
        let sent = writer.finish()

        var reader = Reader(sent.span)
        while !reader.isAtEnd {
            let frame = try reader.lengthPrefixed(maximum: 1024)
            print(Bytes(copying: frame).utf8 ?? "not text")
        }
    }
}
