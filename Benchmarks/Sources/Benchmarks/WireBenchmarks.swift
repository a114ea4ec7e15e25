import BenchmarkHarness
import Martlet

/// `MartletWire`: what every packet pays.
var wireBenchmarks: [Benchmark] { [frame] }

/// A frame of 1 KiB behind its length, parsed where it stands in a receive slab of 256 KiB. The yardstick is what it
/// would cost to copy each frame out.
private var frame: Benchmark {
    let frames = 200
    var writer = Writer(capacity: 256 * 1024)
    let payload = Bytes([UInt8](repeating: 0xA5, count: 1024))
    for _ in 0..<frames { writer.lengthPrefixed(payload.span) }
    let slab = writer.finish()

    return Benchmark(
        "frame-1KiB-parsed", operations: frames,
        yardstick: .body("copied out") { iterations in
            for _ in 0..<iterations {
                var reader = Reader(slab.span)
                while !reader.isAtEnd { consume(Bytes(copying: try reader.lengthPrefixed(maximum: 65536))) }
            }
        }
    ) {
        { iterations in
            for _ in 0..<iterations {
                var reader = Reader(slab.span)
                while !reader.isAtEnd { consume(try reader.lengthPrefixed(maximum: 65536)) }
            }
        }
    }
}
