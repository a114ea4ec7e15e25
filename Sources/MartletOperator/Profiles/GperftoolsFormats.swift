import Foundation

extension StackSamples {
    /// What stands between those who want memory and the allocator.
    private static let allocating = [
        #"tcmalloc::.*"#, #"libtcmalloc.*"#, "tc_.*", "malloc", "calloc", "realloc", "posix_memalign", "operator new.*",
        "swift_slowAlloc.*", "_?swift_allocObject_?", "swift::swift_slowAlloc.*",
    ].joined(separator: "|")

    /// The heap as gperftools' text shows it (`heap_v2`), scaled from what was sampled to what there probably is.
    ///
    /// An allocation of `size` bytes is sampled with the probability 1 − e^(−size/rate).
    static func heap(_ text: [UInt8]) throws(ProfileError) -> StackSamples {
        var rate = 0.0
        var found = StackSamples(
            kinds: [
                Kind(name: "alloc_objects", unit: "count"), Kind(name: "alloc_space", unit: "bytes"),
                Kind(name: "inuse_objects", unit: "count"), Kind(name: "inuse_space", unit: "bytes"),
            ], period: (Kind(name: "space", unit: "bytes"), 0), isInnermostReturn: true,
            hiddenFrames: allocating)
        for (number, line) in text.split(separator: UInt8(ascii: "\n")).enumerated() {
            let line = String(decoding: line, as: UTF8.self)
            if number == 0 {
                guard line.hasPrefix("heap profile:"), let last = line.split(separator: "/").last,
                    let value = Double(last.filter(\.isNumber))
                else { throw ProfileError(message: "no heap profile begins with \"\(line.prefix(80))\"") }
                rate = value
                found.period.amount = Int64(value)
                continue
            }
            if line.hasPrefix("MAPPED_LIBRARIES") { break }
            guard let mark = line.firstIndex(of: "@") else { continue }
            let numbers = line[..<mark].split { !$0.isNumber }.compactMap { Double($0) }
            let addresses = line[mark...].split(separator: " ").dropFirst()
                .compactMap { UInt64($0.dropFirst(2), radix: 16) }
            guard numbers.count == 4, numbers[2] > 0, !addresses.isEmpty else { continue }
            let live = scaled(count: numbers[0], bytes: numbers[1], rate: rate)
            let all = scaled(count: numbers[2], bytes: numbers[3], rate: rate)
            found.samples.append(
                Sample(addresses: addresses, values: [all.count, all.bytes, live.count, live.bytes]))
        }
        guard rate > 0 else { throw ProfileError(message: "no heap profile, or of a heap that is not sampled") }
        return found
    }

    private static func scaled(count: Double, bytes: Double, rate: Double) -> (count: Int64, bytes: Int64) {
        guard count > 0, bytes > 0 else { return (0, 0) }
        let share = 1 - exp(-(bytes / count) / rate)
        return (Int64(count / share), Int64(bytes / share))
    }

    /// The processor's time as gperftools' binary file shows it.
    static func processor(_ bytes: [UInt8]) throws(ProfileError) -> StackSamples {
        let words = bytes.withUnsafeBytes { all in
            (0..<all.count / 8).map { all.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
        }
        // Five words of a head: 0, how many follow, the version 0, microseconds between samples, 0.
        guard words.count > 5, words[0] == 0, words[1] >= 3, words[1] < 16, words[3] > 0, words[3] < 1 << 32 else {
            throw ProfileError(message: "no profile of the processor's time")
        }
        let period = Int64(words[3]) * 1000
        var found = StackSamples(
            kinds: [Kind(name: "samples", unit: "count"), Kind(name: "cpu", unit: "nanoseconds")],
            period: (Kind(name: "cpu", unit: "nanoseconds"), period), isInnermostReturn: false)
        var index = 2 + Int(words[1])
        while index + 2 <= words.count {
            let (count, depth) = (words[index], words[index + 1])
            // A stack that was never seen is the end.
            guard count > 0, count < 1 << 40, depth > 0, depth <= UInt64(words.count - index - 2) else { break }
            let addresses = Array(words[index + 2..<index + 2 + Int(depth)])
            found.samples.append(Sample(addresses: addresses, values: [Int64(count), Int64(count) &* period]))
            index += 2 + Int(depth)
        }
        return found
    }
}
