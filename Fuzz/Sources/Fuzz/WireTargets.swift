import Martlet

/// The parsers of `MartletWire`.
let wireTargets: [FuzzTarget] = [
    FuzzTarget("Varint") { input in
        var reader = Reader(input.span)
        let value = try reader.varint()
        var writer = Writer()
        writer.varint(value)
        expect(writer.finish() == input.slice(0..<reader.position), "a varint has one encoding")
    },

    FuzzTarget("Reader") { input in
        // The input is a programme: each step is a byte that says what is read next.
        var reader = Reader(input.span)
        while !reader.isAtEnd {
            let before = reader.remaining
            switch try reader.byte() & 7 {
            case 0: _ = try reader.varint()
            case 1: _ = try reader.lengthPrefixed()
            case 2: _ = try reader.lengthPrefixed(maximum: 16)
            case 3: _ = try reader.integer(UInt32.self)
            case 4: _ = try reader.littleEndian(UInt64.self)
            case 5:
                var part = try reader.reader(Int(try reader.byte()))
                try part.skip(Int(try part.byte()))
                try part.expectEnd()
            case 6: try reader.skip(Int(try reader.byte()))
            default: _ = reader.peek()
            }
            expect(reader.remaining < before, "every step reads something")
        }
    },
]
