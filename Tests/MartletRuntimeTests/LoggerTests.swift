import Glibc
import MartletRuntime
import MartletWire
import Synchronization
import Testing

@Suite("Logger")
struct LoggerTests {
    private let noon = WallTime(nanoseconds: 1_763_629_551_123_456_789)

    @Test(
        "wall time is written as RFC 3339 in UTC",
        arguments: [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_799_999_999_999, "2000-02-29T23:59:59.999999Z"),
            (951_868_800_000_000_000, "2000-03-01T00:00:00.000000Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000Z"),
            (1_735_689_599_000_001_000, "2024-12-31T23:59:59.000001Z"),
            (1_763_629_551_123_456_789, "2025-11-20T09:05:51.123456Z"),
            (Int64.min, "1677-09-21T00:12:43.145224Z"),
            (Int64.max, "2262-04-11T23:47:16.854775Z"),
        ])
    func wallTime(nanoseconds: Int64, text: String) {
        #expect(WallTime(nanoseconds: nanoseconds).description == text)
    }

    @Test("wall time agrees with the C library on a day of every month of four centuries")
    func wallTimeAgainstC() {
        for month in 0..<(400 * 12) {
            let seconds = Int64(month - 2000) * 2_629_746 + 12_345
            guard abs(seconds) < Int64.max / 1_000_000_000 else { continue }
            var time = time_t(seconds)
            var parts = tm()
            gmtime_r(&time, &parts)
            var text = [CChar](repeating: 0, count: 40)
            let count = strftime(&text, 40, "%Y-%m-%dT%H:%M:%S.000000Z", &parts)
            let expected = String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            #expect(WallTime(nanoseconds: seconds * 1_000_000_000).description == expected)
        }
    }

    @Test("neither the message nor the fields of a line that is off are made")
    func disabledLine() {
        let sink = CollectingLogSink()
        let logger = Logger(subsystem: "quic", sink: sink, levels: LogLevels(.info))
        var made = 0
        func make(_ text: String) -> String {
            made += 1
            return text
        }
        logger.debug(make("off"), ["field": make("off")])
        #expect(made == 0)
        logger.info(make("on"), ["field": make("on")])
        #expect(made == 2)
        #expect(sink.records.map(\.message) == ["on"])
    }

    @Test("a level set later reaches the loggers that were made before")
    func levelsChange() {
        let sink = CollectingLogSink()
        let levels = LogLevels(.info)
        let quic = Logger(subsystem: "quic", sink: sink, levels: levels)
        let dht = quic.subsystem("dht")
        levels.set("quic", to: .trace)
        #expect(quic.isEnabled(.trace) && !dht.isEnabled(.debug))
        levels.setDefault(.error)
        #expect(quic.isEnabled(.trace) && !dht.isEnabled(.warning))
        levels.set("quic", to: nil)
        #expect(!quic.isEnabled(.warning) && quic.isEnabled(.error))
    }

    @Test("levels are read from text")
    func levelsFromText() throws {
        let sink = CollectingLogSink()
        let levels = try LogLevels(parsing: "warning,quic=debug,dht=error")
        let enabled = ["quic", "dht", "other"].map { name in
            let logger = Logger(subsystem: name, sink: sink, levels: levels)
            return Logger.Level.allCases.first { logger.isEnabled($0) }
        }
        #expect(enabled == [.debug, .error, .warning])
        let own = try LogLevels(parsing: "quic=trace")
        #expect(Logger(subsystem: "x", sink: sink, levels: own).isEnabled(.info))
        #expect(!Logger(subsystem: "x", sink: sink, levels: own).isEnabled(.debug))
    }

    @Test(
        "text that says no levels is an error that tells where",
        arguments: [("", 0), ("loud", 0), ("info,", 5), ("info,quic=", 5), ("info,quic=loud", 5), ("=info", 0)])
    func badLevels(text: String, offset: Int) {
        let error = #expect(throws: LogLevelsError.self) { try LogLevels(parsing: text) }
        #expect(error?.offset == offset)
    }

    @Test("a line of text has the time, the level, the host, the subsystem, the message and the fields")
    func textLine() throws {
        let pipe = try Pipe()
        let sink = TextLogSink(descriptor: pipe.writing, host: "a", now: { [noon] in noon })
        let logger = Logger(subsystem: "quic", sink: sink, levels: LogLevels(.info))
        logger.notice("connected", ["peer": "Qm1", "took": 12, "why": "because of it", "none": ""])
        #expect(
            pipe.read()
                == "2025-11-20T09:05:51.123456Z notice a/quic: connected peer=Qm1 took=12 why=\"because of it\" none=\"\"\n"
        )
    }

    @Test("levels are colored where that is asked for")
    func coloredLine() throws {
        let pipe = try Pipe()
        let sink = TextLogSink(descriptor: pipe.writing, isColored: true, now: { [noon] in noon })
        Logger(subsystem: "a", sink: sink, levels: LogLevels(.info)).error("b", ["c": 1])
        #expect(
            pipe.read() == "2025-11-20T09:05:51.123456Z \u{1B}[1;31merror\u{1B}[0m a: b \u{1B}[2mc=\u{1B}[0m1\n")
    }

    @Test("no value can forge a line, reach the terminal or turn the writing direction")
    func hostileValues() throws {
        let pipe = try Pipe()
        let sink = TextLogSink(descriptor: pipe.writing, isColored: false, now: { [noon] in noon })
        let logger = Logger(subsystem: "s\u{1B}]0;x\u{7}", sink: sink, levels: LogLevels(.info))
        logger.info("a\nb\u{1B}[2J\u{9B}c", ["k\n=": "v\u{202E}\"\\\u{7F}\r\t\0"])
        let line = try #require(pipe.read().split(separator: " ", maxSplits: 1).last)
        #expect(
            line
                == #"info s\u001b]0;x\u0007: a\nb\u001b[2J\u009bc "k\n="="v\u202e\"\\\u007f\r\t\u0000""# + "\n")
    }

    @Test("a long value is cut at a character's boundary")
    func longValue() throws {
        let pipe = try Pipe()
        let sink = TextLogSink(descriptor: pipe.writing, isColored: false, now: { [noon] in noon })
        Logger(subsystem: "s", sink: sink, levels: LogLevels(.info)).info(String(repeating: "€", count: 100_000))
        let text = pipe.read()
        #expect(text.hasSuffix("€€…\n"))
        #expect(text.utf8.count < 4200)
    }

    @Test("a line of JSON is one object, whatever is in it")
    func jsonLine() throws {
        let pipe = try Pipe()
        let sink = JSONLogSink(descriptor: pipe.writing, host: "h\"", now: { [noon] in noon })
        let logger = Logger(subsystem: "quic", sink: sink, levels: LogLevels(.info))
        logger.info("a\"b\\c\n\u{1}\u{2028}é", ["n": -5, "big": UInt64.max, "yes": true, "real": 1.5, "t": "\u{1B}"])
        logger.info("plain")
        #expect(
            pipe.read()
                == #"{"time":"2025-11-20T09:05:51.123456Z","level":"info","host":"h\"","subsystem":"quic","#
                + #""message":"a\"b\\c\n\u0001\u2028é","fields":{"n":-5,"big":18446744073709551615,"yes":true,"#
                + #""real":"1.5","t":"\u001b"}}"# + "\n"
                + #"{"time":"2025-11-20T09:05:51.123456Z","level":"info","host":"h\"","subsystem":"quic","#
                + #""message":"plain"}"# + "\n")
    }

    @Test("a reader that stands still costs lines, not time, and is told how many when it reads again")
    func slowReader() throws {
        let pipe = try Pipe()
        let sink = TextLogSink(descriptor: pipe.writing, isColored: false, capacity: 8192, now: { [noon] in noon })
        let logger = Logger(subsystem: "s", sink: sink, levels: LogLevels(.info))
        let total = 5000
        for number in 0..<total { logger.info("line", ["number": number]) }
        #expect(sink.dropped > 0)
        let text = pipe.readUntil { $0.contains("lines were dropped") && $0.hasSuffix("\n") }
        let lines = text.split(separator: "\n")
        let numbers = lines.compactMap { $0.contains(": line number=") ? Int($0.split(separator: "=")[1]) : nil }
        #expect(numbers == Array(0..<numbers.count))
        #expect(numbers.count + sink.dropped == total)
        #expect(lines.last?.hasSuffix("count=\(sink.dropped)") == true)
        sink.close()
    }

    @Test("closing a sink does not wait for its reader")
    func closeWithSlowReader() throws {
        let pipe = try Pipe()
        let sink = JSONLogSink(descriptor: pipe.writing, now: { [noon] in noon })
        let logger = Logger(subsystem: "s", sink: sink, levels: LogLevels(.info))
        for _ in 0..<3000 { logger.info("a line that waits for its reader") }
        sink.close()
        logger.info("too late")
        #expect(sink.dropped == 0)
    }

    @Test("lines of several threads stay whole")
    func threads() async throws {
        let pipe = try Pipe()
        let sink = TextLogSink(descriptor: pipe.writing, isColored: false, now: { [noon] in noon })
        let logger = Logger(subsystem: "s", sink: sink, levels: LogLevels(.info))
        await withTaskGroup { group in
            for task in 0..<4 {
                group.addTask { for number in 0..<100 { logger.info("x", ["task": task, "number": number]) } }
            }
        }
        let lines = pipe.readUntil { text in text.utf8.count { $0 == 10 } == 400 }.split(separator: "\n")
        #expect(Set(lines).count == 400)
        #expect(lines.allSatisfy { $0.hasPrefix("2025-11-20T09:05:51.123456Z info s: x task=") })
        sink.close()
    }
}

/// A pipe whose reading end is read by the test.
private final class Pipe {
    let reading: Int32
    let writing: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        reading = ends[0]
        writing = ends[1]
    }

    deinit {
        close(reading)
        close(writing)
    }

    /// What is there now.
    func read() -> String {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = Glibc.read(reading, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    /// What comes until `isEnough`, for ten seconds.
    func readUntil(_ isEnough: (String) -> Bool) -> String {
        var text = ""
        while !isEnough(text) {
            var poll = pollfd(fd: reading, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, 10_000) > 0 else { break }
            text += read()
        }
        return text
    }
}
