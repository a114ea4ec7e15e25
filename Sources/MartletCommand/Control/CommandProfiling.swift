internal import CProfiler
import Foundation
import MartletOperator

extension Profiling {
    /// gperftools, which is linked into the command: its allocator is the whole program's.
    static let ofCommand = Profiling(
        heap: {
            var count = 0
            return taken(cprofiler_heap(&count), count)
        }, sampleEvery: { cprofiler_sample_every(Int64($0)) }, begin: { cprofiler_start() != 0 },
        end: {
            var count = 0
            return taken(cprofiler_stop(&count), count)
        }, liveBytes: { cprofiler_number("generic.current_allocated_bytes") },
        demangled: { name in
            guard let text = name.withCString({ cprofiler_demangled($0, strlen($0)) }) else { return nil }
            defer { free(text) }
            return String(cString: text)
        })

    /// A copy of what the profiler has allocated, which is freed.
    private static func taken(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> [UInt8] {
        guard let bytes else { return [] }
        defer { free(bytes) }
        return Array(UnsafeRawBufferPointer(start: bytes, count: count))
    }
}
