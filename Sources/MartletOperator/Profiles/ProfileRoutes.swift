internal import Foundation
internal import MartletRuntime

/// `/debug/pprof/…` as `go tool pprof` asks for it.
final class ProfileRoutes {
    /// For how long the processor's time is profiled at the most; pprof asks for 30 s by itself.
    static let longest = 120
    /// How many addresses are named in one request.
    private static let symbolLimit = 4096

    private let profiling: Profiling
    private let environment: SystemEnvironment
    private var isProfiling = false

    /// Profiles by `profiling`, which samples the heap from now on.
    init(_ profiling: Profiling, on environment: SystemEnvironment) {
        self.profiling = profiling
        self.environment = environment
        profiling.sampleEvery(Profiling.sampleBytes)
    }

    /// What is answered to `request`, or `nil` where there is nothing at its path.
    nonisolated(nonsending) func answer(_ request: HTTPRequest) async -> HTTPAnswer? {
        switch request.path {
        case "/debug/pprof/heap": await heap()
        case "/debug/pprof/profile": await processor(request)
        case "/debug/pprof/cmdline":
            .text(CommandLine.arguments.joined(separator: "\0"))
        case "/debug/pprof/symbol": .text("num_symbols: 1\n")
        default: nil
        }
    }

    private nonisolated(nonsending) func heap() async -> HTTPAnswer {
        let (profiling, time) = (profiling, environment.wallTime.nanoseconds)
        return await made { () throws -> [UInt8] in
            let samples = try StackSamples.heap(profiling.heap())
            return Self.message(samples, profiling, defaultKind: "inuse_space", time: time, duration: 0)
        }
    }

    private nonisolated(nonsending) func processor(_ request: HTTPRequest) async -> HTTPAnswer {
        guard let seconds = Int(request["seconds"] ?? "30"), (1...Self.longest).contains(seconds) else {
            return .text("seconds is a number from 1 to \(Self.longest)\n", status: 400, refusal: .content)
        }
        guard !isProfiling else { return .text("somebody takes a profile already\n", status: 409) }
        guard profiling.begin() else {
            return .text("the profiler does not start; is another one in use?\n", status: 503)
        }
        isProfiling = true
        let (profiling, time) = (profiling, environment.wallTime.nanoseconds)
        let isWhole = (try? await environment.loop.sleep(for: .seconds(seconds))) != nil
        let bytes = profiling.end()
        isProfiling = false
        guard isWhole else { return .text("the node is being stopped\n", status: 503) }
        return await made { () throws -> [UInt8] in
            let samples = try StackSamples.processor(bytes)
            return Self.message(
                samples, profiling, defaultKind: "cpu", time: time, duration: Int64(seconds) * 1_000_000_000)
        }
    }

    /// The names of the functions at the addresses that are asked for: `0x…+0x…`, answered by a line for each.
    nonisolated(nonsending) func symbols(_ request: HTTPRequest) async -> HTTPAnswer {
        let words = String(decoding: request.body, as: UTF8.self).split(separator: "+").prefix(Self.symbolLimit)
        let asked = words.compactMap { word -> (String, UInt64)? in
            let digits = word.trimmingCharacters(in: .whitespacesAndNewlines)
            guard digits.hasPrefix("0x"), let address = UInt64(digits.dropFirst(2), radix: 16) else { return nil }
            return (digits, address)
        }
        let profiling = profiling
        var answer = await made { () throws -> [UInt8] in
            let names = ProgramSymbols.names(of: asked.map(\.1), demangled: profiling.demangled)
            let lines = asked.map { word, address in "\(word)\t\(names[address]?.name ?? word)\n" }
            return Array(("num_symbols: 1\n" + lines.joined()).utf8)
        }
        if answer.status == 200 { answer.type = "text/plain; charset=utf-8" }
        return answer
    }

    /// What `make` makes, off the loop.
    private nonisolated(nonsending) func made(_ make: @escaping @Sendable () throws -> [UInt8]) async -> HTTPAnswer {
        do {
            return .binary(try await environment.background(make))
        } catch {
            return .text("the profile cannot be made: \(error)\n", status: 503)
        }
    }

    private static func message(
        _ samples: StackSamples, _ profiling: Profiling, defaultKind: String, time: Int64, duration: Int64
    ) -> [UInt8] {
        var places: [UInt64] = []
        for sample in samples.samples {
            places += sample.addresses.indices.map { samples.place($0, of: sample.addresses) }
        }
        return ProfileMessage.bytes(
            of: samples, symbols: ProgramSymbols.names(of: places, demangled: profiling.demangled),
            program: ProgramSymbols.programPath, defaultKind: defaultKind, time: time, duration: duration)
    }
}
