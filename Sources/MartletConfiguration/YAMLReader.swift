internal import CYAML
internal import MartletWire

/// Reads a YAML file into a tree: a machine on libyaml's events.
///
/// It takes what a configuration needs of YAML and says what it does not take: aliases and tags are refused, a name
/// stands once in its group, there is one document, and everything is bounded by `YAMLLimits`. A mistake in the form
/// ends the reading; after any other it goes on, to tell all at once.
struct YAMLReader {
    /// What was wrong so far.
    private(set) var mistakes: [YAMLMistake] = []
    private let limits: YAMLLimits
    private var values = 0

    private init(_ limits: YAMLLimits) { self.limits = limits }

    /// What stands in `bytes`, `nil` where that is nothing or cannot be read, and what is wrong with it.
    static func read(_ bytes: Bytes, _ limits: YAMLLimits = YAMLLimits()) -> (root: YAMLNode?, mistakes: [YAMLMistake])
    {
        var reader = YAMLReader(limits)
        do throws(YAMLMistake) {
            let text = try YAMLText(bytes, limits)
            let root = try reader.document(bytes.slice(text.markSize..<bytes.count))
            return (root, reader.mistakes)
        } catch {
            return (nil, reader.mistakes + [error])
        }
    }

    private mutating func document(_ bytes: Bytes) throws(YAMLMistake) -> YAMLNode? {
        let result = bytes.withUnsafeBytes { buffer -> Result<YAMLNode?, YAMLMistake> in
            // libyaml takes no pointer to nothing.
            guard let start = buffer.baseAddress, !buffer.isEmpty else { return .success(nil) }
            do throws(YAMLMistake) {
                var events = try YAMLEvents(start.assumingMemoryBound(to: UInt8.self), count: buffer.count)
                return .success(try root(&events))
            } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// The one document of a file.
    private mutating func root(_ events: inout YAMLEvents) throws(YAMLMistake) -> YAMLNode? {
        while true {
            let event = try events.next()
            switch event.kind {
            case .streamEnd: return nil
            case .alias, .text, .listStart, .groupStart:
                let root = try node(event, &events, depth: 1)
                while true {
                    let event = try events.next()
                    if event.kind == .streamEnd { return root }
                    guard event.kind == .documentStart else { continue }
                    throw YAMLMistake(
                        position: event.position, problem: "a second document begins here",
                        advice: "a configuration is one document; remove the line '---' or what follows")
                }
            case .streamStart, .documentStart, .documentEnd, .listEnd, .groupEnd: continue
            }
        }
    }

    private mutating func node(
        _ event: YAMLEvent, _ events: inout YAMLEvents, depth: Int
    ) throws(YAMLMistake) -> YAMLNode {
        values += 1
        guard values <= limits.values else {
            throw YAMLMistake(
                position: event.position, problem: "there are more than \(limits.values) values",
                advice: "is this the right file?")
        }
        if event.kind == .alias || event.isAnchored {
            note(
                event.position, "aliases (*name) and anchors (&name) are not used here",
                "write the value out where it is wanted")
        }
        if event.isTagged {
            note(event.position, "tags (!name) are not used here", "write the value alone, in quotes to make it a text")
        }
        switch event.kind {
        case .text(let text, let isPlain):
            return YAMLNode(content: .text(text, isPlain: isPlain), position: event.position)
        case .listStart, .groupStart:
            guard depth < limits.depth else {
                throw YAMLMistake(
                    position: event.position, problem: "values stand more than \(limits.depth) deep in each other",
                    advice: "no key is that deep; is this the right file?")
            }
            let content = event.kind == .listStart ? try list(&events, depth) : try group(&events, depth)
            return YAMLNode(content: content, position: event.position)
        case .alias, .streamStart, .streamEnd, .documentStart, .documentEnd, .listEnd, .groupEnd:
            return YAMLNode(content: .text("", isPlain: true), position: event.position)
        }
    }

    private mutating func list(_ events: inout YAMLEvents, _ depth: Int) throws(YAMLMistake) -> YAMLNode.Content {
        var nodes: [YAMLNode] = []
        while true {
            let event = try events.next()
            if event.kind == .listEnd { return .list(nodes) }
            nodes.append(try node(event, &events, depth: depth + 1))
        }
    }

    private mutating func group(_ events: inout YAMLEvents, _ depth: Int) throws(YAMLMistake) -> YAMLNode.Content {
        var entries: [YAMLNode.Entry] = []
        var lines: [String: Int] = [:]
        while true {
            let event = try events.next()
            if event.kind == .groupEnd { return .mapping(entries) }
            let name = try node(event, &events, depth: depth + 1)
            let value = try node(try events.next(), &events, depth: depth + 1)
            guard case .text(let key, _) = name.content, event.kind != .alias else {
                if event.kind != .alias { note(name.position, "a key is \(name.kind)", "a key is one word") }
                continue
            }
            if let line = lines[key] {
                note(
                    name.position, "\(quoted(key)) stands here a second time, after line \(line)",
                    "keep one of the two")
                continue
            }
            lines[key] = name.position.line
            entries.append(YAMLNode.Entry(key: key, position: name.position, value: value))
        }
    }

    private mutating func note(_ position: SourcePosition, _ problem: String, _ advice: String) {
        guard mistakes.count < limits.mistakes else { return }
        mistakes.append(YAMLMistake(position: position, problem: problem, advice: advice))
    }
}

/// One event of libyaml's parser.
private struct YAMLEvent {
    enum Kind: Equatable {
        case streamStart, streamEnd, documentStart, documentEnd, alias
        case listStart, listEnd, groupStart, groupEnd
        case text(String, isPlain: Bool)
    }

    var kind: Kind
    var position: SourcePosition
    var isAnchored = false
    var isTagged = false
}

/// libyaml's parser over bytes that outlive it.
private struct YAMLEvents: ~Copyable {
    // On the heap, for it points into itself.
    private let parser: UnsafeMutablePointer<yaml_parser_t>

    init(_ bytes: UnsafePointer<UInt8>, count: Int) throws(YAMLMistake) {
        parser = .allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            throw YAMLMistake(
                position: SourcePosition(line: 1, column: 1), problem: "there is no memory to read the file",
                advice: "end other programs")
        }
        // Otherwise it would believe a byte order mark of UTF-16.
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, bytes, count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    /// The next event. After the end of the stream there is none.
    mutating func next() throws(YAMLMistake) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw mistake }
        defer { yaml_event_delete(&event) }
        var result = YAMLEvent(kind: .streamEnd, position: Self.position(event.start_mark))
        switch event.type {
        case YAML_STREAM_START_EVENT: result.kind = .streamStart
        case YAML_DOCUMENT_START_EVENT: result.kind = .documentStart
        case YAML_DOCUMENT_END_EVENT: result.kind = .documentEnd
        case YAML_ALIAS_EVENT: result.kind = .alias
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            result.kind = .text(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
            (result.isAnchored, result.isTagged) = (scalar.anchor != nil, scalar.tag != nil)
        case YAML_SEQUENCE_START_EVENT:
            result.kind = .listStart
            let start = event.data.sequence_start
            (result.isAnchored, result.isTagged) = (start.anchor != nil, start.tag != nil)
        case YAML_SEQUENCE_END_EVENT: result.kind = .listEnd
        case YAML_MAPPING_START_EVENT:
            result.kind = .groupStart
            let start = event.data.mapping_start
            (result.isAnchored, result.isTagged) = (start.anchor != nil, start.tag != nil)
        case YAML_MAPPING_END_EVENT: result.kind = .groupEnd
        default: result.kind = .streamEnd
        }
        return result
    }

    private static func position(_ mark: yaml_mark_t) -> SourcePosition {
        SourcePosition(line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }

    /// Why the parser stopped, in a user's words.
    private var mistake: YAMLMistake {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "it cannot be read"
        let (said, advice) = Self.explanation(of: problem)
        return YAMLMistake(position: Self.position(parser.pointee.problem_mark), problem: said, advice: advice)
    }

    private static func explanation(of problem: String) -> (problem: String, advice: String) {
        switch problem {
        case "found character that cannot start any token":
            (
                "no value can begin with this character",
                "indent with blanks instead of tabs, and put quotes around a text that begins with @, ` or %"
            )
        case "found a tab character where an indentation space is expected",
            "found a tab character that violates indentation":
            ("there is a tab in the indentation", "indent with blanks")
        case "mapping values are not allowed in this context":
            (
                "there is a ':' where no key can stand",
                "check the indentation of this line, and put quotes around a text that holds ': '"
            )
        case "could not find expected ':'":
            ("a key has no ':' behind it", "write 'key: value', and indent what belongs to the key above")
        case "did not find expected key", "did not find expected '-' indicator":
            (
                "this does not stand below what is above it",
                "keys of one group, and entries of one list, begin in the same column"
            )
        case "did not find expected ',' or ']'":
            ("a list is not closed", "write ',' between its entries and ']' behind it")
        case "did not find expected ',' or '}'":
            ("a group is not closed", "write ',' between its keys and '}' behind it")
        case "found unexpected end of stream": ("a text in quotes is not closed", "write the quote that ends it")
        case "block sequence entries are not allowed in this context":
            ("there is a '-' where no list can begin", "write the list below its key, one '- entry' a line")
        default: ("this is not YAML (\(problem))", "see 'martlet config reference' for a file that is")
        }
    }
}
