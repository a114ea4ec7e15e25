import Martlet

/// The parsers of `MartletWire`. Where a value has one encoding, what was parsed must encode to what was read.
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

    FuzzTarget("Protobuf") { input in
        try everyField(of: ProtobufReader(input.span))
    },

    FuzzTarget("Bencode") { input in
        let value = try Bencode(input)
        expect(value.encoded() == input, "a bencode value has one encoding")
    },

    FuzzTarget("BencodeAnyOrder") { input in
        let value = try Bencode(input, keyOrder: .any)
        let sorted = value.encoded()
        expect(sorted.count <= input.count, "sorting adds nothing")
        expect((try? Bencode(sorted)) != nil, "what is written can be read")
    },

    FuzzTarget("BencodeRaw") { input in
        var reader = try BencodeReader(input.span)
        try reader.beginDictionary()
        while let key = try reader.nextKey() {
            if key.bytes.byteCount == 0 { try reader.skip() } else { _ = try reader.raw() }
        }
    },

    FuzzTarget("Multibase") { input in
        let (base, bytes) = try Multibase.decode(utf8: input.span)
        let again = try Multibase.decode(base.encode(bytes.span))
        expect(again.base == base && again.bytes == bytes, "what is encoded decodes to the same")
    },

    FuzzTarget("Base58") { input in
        let bytes = try Base58.decode(utf8: input.span)
        expect(Bytes(utf8: Base58.encode(bytes.span)) == input, "base58 has one encoding")
    },

    FuzzTarget("Multihash") { input in
        let hash = try Multihash(input)
        expect(hash.encoded == input, "a multihash has one encoding")
    },

    FuzzTarget("CID") { input in
        let cid = try CID(input)
        expect(cid.encoded == input, "a CID has one encoding")
        let again = try CID(text: cid.text())
        expect(again == cid, "a CID's text is read back")
    },

    FuzzTarget("CIDText") { input in
        guard let text = input.utf8 else { return }
        _ = try CID(text: text)
    },

    FuzzTarget("IPAddress") { input in
        let address = try IPAddress(parsing: input.span)
        let again = try IPAddress(parsing: address.description)
        expect(again == address, "an address is read back from its text")
    },

    FuzzTarget("SocketAddress") { input in
        guard let text = input.utf8 else { return }
        let address = try SocketAddress(parsing: text)
        let again = try SocketAddress(parsing: address.description)
        expect(again == address, "an address is read back from its text")
    },
]

/// Reads every field as its wire type allows, messages in messages included.
private func everyField(of message: consuming ProtobufReader) throws {
    var reader = message
    while let field = try reader.next() {
        expect(field.number > 0, "field numbers begin at 1")
        switch field.wireType {
        case .varint:
            _ = try reader.uint64()
            _ = try reader.sint32()
            _ = try reader.bool()
        case .fixed64: _ = try reader.fixed64()
        case .fixed32: _ = try reader.fixed32()
        case .lengthDelimited:
            _ = try? reader.string(maximum: 64)
            try? reader.varints { _ in }
            try? reader.fixed64s { _ in }
            try? reader.fixed32s { _ in }
            if let inner = try? reader.message() { try? everyField(of: inner) }
        }
    }
}
