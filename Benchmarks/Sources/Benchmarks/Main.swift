import BenchmarkHarness

@main
struct Main {
    static func main() {
        runBenchmarks(
            wireBenchmarks + cryptoBenchmarks + identityBenchmarks + runtimeBenchmarks + simulatorBenchmarks
                + mainlineBenchmarks + storeBenchmarks)
    }
}
