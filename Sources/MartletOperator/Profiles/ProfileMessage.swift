internal import MartletWire

/// Samples as pprof's `profile.proto`, not compressed: what `go tool pprof` reads. Functions have their names already,
/// for it can't find those of a Swift program that is loaded anywhere.
struct ProfileMessage: ~Copyable {
    private var texts = [""]
    private var textIndices = ["": UInt64(0)]
    private var functions: [String: UInt64] = [:]
    private var locations: [UInt64: UInt64] = [:]
    private var writer = Writer(capacity: 64 << 10)

    /// `samples` of the program at `path`, whose functions are named by `symbols`. `defaultKind` is shown first.
    static func bytes(
        of samples: StackSamples, symbols: ProgramSymbols.Names, program path: String, defaultKind: String,
        time: Int64, duration: Int64
    ) -> [UInt8] {
        var message = ProfileMessage()
        for kind in samples.kinds { message.kind(kind, in: 1) }
        for sample in samples.samples { message.sample(sample, of: samples, symbols) }
        let file = message.index(of: path)
        message.writer.field(3) { (mapping: inout Writer) in
            mapping.field(1, uint64: 1)
            mapping.field(2, uint64: 1)
            mapping.field(3, uint64: UInt64.max >> 1)
            mapping.field(5, uint64: file)
            // The functions are named here.
            mapping.field(7, uint64: 1)
        }
        message.writer.field(7, uint64: message.index(of: samples.hiddenFrames))
        message.writer.field(9, int64: time)
        message.writer.field(10, int64: duration)
        message.kind(samples.period.kind, in: 11)
        message.writer.field(12, int64: samples.period.amount)
        message.writer.field(14, uint64: message.index(of: defaultKind))
        for text in message.texts { message.text(text) }
        let bytes = message.writer.finish()
        return bytes.span.withUnsafeBytes { Array($0) }
    }

    private mutating func index(of text: String) -> UInt64 {
        if let known = textIndices[text] { return known }
        let index = UInt64(texts.count)
        texts.append(text)
        textIndices[text] = index
        return index
    }

    /// A text of the table, which is there even when it is empty: the first has to be.
    private mutating func text(_ text: String) {
        writer.field(6, bytes: Bytes(text.utf8))
    }

    private mutating func kind(_ kind: StackSamples.Kind, in field: Int) {
        let (name, unit) = (index(of: kind.name), index(of: kind.unit))
        writer.field(field) { (message: inout Writer) in
            message.field(1, uint64: name)
            message.field(2, uint64: unit)
        }
    }

    private mutating func sample(
        _ sample: StackSamples.Sample, of samples: StackSamples, _ symbols: ProgramSymbols.Names
    ) {
        let stack = sample.addresses.indices.map { location(samples.place($0, of: sample.addresses), symbols) }
        writer.field(2) { (message: inout Writer) in
            message.field(1, packed: stack)
            message.field(2, packed: sample.values.map { UInt64(bitPattern: $0) })
        }
    }

    private mutating func location(_ address: UInt64, _ symbols: ProgramSymbols.Names) -> UInt64 {
        if let known = locations[address] { return known }
        let number = UInt64(locations.count + 1)
        locations[address] = number
        let function = function(symbols[address] ?? .init(name: "0x" + String(address, radix: 16), file: ""))
        writer.field(4) { (message: inout Writer) in
            message.field(1, uint64: number)
            message.field(2, uint64: 1)
            message.field(3, uint64: address)
            message.field(4) { (line: inout Writer) in line.field(1, uint64: function) }
        }
        return number
    }

    private mutating func function(_ symbol: ProgramSymbols.Symbol) -> UInt64 {
        if let known = functions[symbol.name] { return known }
        let number = UInt64(functions.count + 1)
        functions[symbol.name] = number
        // Where both names are the same pprof takes the name for one of C++ and tries to read it.
        let (name, system) = (index(of: symbol.name), index(of: "_" + symbol.name))
        let file = index(of: symbol.file)
        writer.field(5) { (message: inout Writer) in
            message.field(1, uint64: number)
            message.field(2, uint64: name)
            message.field(3, uint64: system)
            message.field(4, uint64: file)
        }
        return number
    }
}
