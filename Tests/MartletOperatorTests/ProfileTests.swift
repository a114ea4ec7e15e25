import Foundation
import MartletWire
import TestSupport
import Testing

@testable import MartletOperator

@Suite("Profiles")
struct ProfileTests {
    private let heap = """
        heap profile:      3:    12288 [     5:    20480] @ heap_v2/524288
             2:     8192 [     4:    16384] @ 0x1001 0x2002 0x3003
             1:     4096 [     1:     4096] @ 0x1001
             0:        0 [     0:        0] @ 0x9
        garbage
        MAPPED_LIBRARIES:
        00400000-00500000 r-xp 00000000 00:00 1 /bin/x

        """

    private func processor(_ records: [[UInt64]]) -> [UInt8] {
        let words: [UInt64] = [0, 3, 0, 10_000, 0] + records.flatMap { $0 } + [0, 1, 0]
        return words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
            + Array("00-01 r-xp x\n".utf8)
    }

    @Test("a sampled heap is scaled to what there probably is")
    func heapFormat() throws {
        let samples = try StackSamples.heap(Array(heap.utf8))
        #expect(samples.period.amount == 524_288)
        #expect(samples.samples.map(\.addresses) == [[0x1001, 0x2002, 0x3003], [0x1001]])
        // 4,096 bytes are sampled with the probability 1 - exp(-1/128).
        let scale = 1 / (1 - exp(-1.0 / 128))
        #expect(samples.samples[0].values == [4, 16384, 2, 8192].map { Int64(Double($0) * scale) })
        #expect(samples.place(0, of: [0x1001]) == 0x1000)
        #expect(throws: ProfileError.self) { try StackSamples.heap(Array("no profile\n".utf8)) }
        #expect(throws: ProfileError.self) { try StackSamples.heap([]) }
    }

    @Test("a profile of the processor's time is read to its end, and wherever it is cut off")
    func processorFormat() throws {
        let bytes = processor([[7, 2, 0x10, 0x21], [1, 1, 0x30]])
        let samples = try StackSamples.processor(bytes)
        #expect(samples.samples.map(\.values) == [[7, 70_000_000], [1, 10_000_000]])
        #expect(samples.place(0, of: [0x10, 0x21]) == 0x10)
        #expect(samples.place(1, of: [0x10, 0x21]) == 0x20)
        for count in 0..<bytes.count {
            let cut = try? StackSamples.processor(Array(bytes[..<count]))
            #expect((cut?.samples.count ?? 0) <= 2)
        }
        #expect(try StackSamples.processor(processor([[1, 1 << 60, 5]])).samples.isEmpty)
    }

    @Test("functions of this program are found by addresses in them")
    func symbols() throws {
        let function: @convention(c) (UnsafePointer<CChar>?) -> Int = { $0.map { strlen($0) } ?? 0 }
        let own = UInt64(UInt(bitPattern: unsafeBitCast(function, to: UnsafeRawPointer.self)))
        let library = UInt64(UInt(bitPattern: dlsym(nil, "sqlite3_open_v2") ?? dlsym(nil, "malloc")))
        let names = ProgramSymbols.names(of: [own, library + 1, 0x10]) { "demangled \($0)" }
        #expect(names[own]?.name.hasPrefix("demangled $s20MartletOperatorTests") == true, "\(names)")
        #expect(names[library + 1]?.file.contains(".so") == true)
        #expect(names[0x10] == nil)
    }

    @Test("go tool pprof reads both kinds of profile and shows the names that they have")
    func pprof() async throws {
        let symbols: ProgramSymbols.Names = [
            0x1000: .init(name: "Swarm.connect(to:)", file: "/x"), 0x2001: .init(name: "outer<A>()", file: "/x"),
            0x10: .init(name: "spin(_: Int) -> ()", file: "/x"),
        ]
        let heap = ProfileMessage.bytes(
            of: try .heap(Array(heap.utf8)), symbols: symbols, program: "/bin/martlet", defaultKind: "inuse_space",
            time: 1, duration: 0)
        let processor = ProfileMessage.bytes(
            of: try .processor(processor([[7, 2, 0x10, 0x21]])), symbols: symbols, program: "/bin/martlet",
            defaultKind: "cpu", time: 1, duration: 1_000_000_000)
        let folder = try TestFolder()
        for (bytes, kind, names) in [
            (heap, "inuse_space", ["Swarm.connect(to:)", "outer<A>()", "0x3002"]), (processor, "cpu", ["spin(_: Int)"]),
        ] {
            let path = folder.path + "/" + kind
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let program = try TestProgram(
                "/usr/bin/go", ["tool", "pprof", "-top", path], variables: ["HOME": folder.path])
            #expect(try await program.end() == 0)
            try await program.waitForEndOfOutput()
            #expect(program.text.contains("Type: \(kind)"), "\(program.text)")
            for name in names { #expect(program.text.contains(name), "\(program.text)") }
        }
    }
}
