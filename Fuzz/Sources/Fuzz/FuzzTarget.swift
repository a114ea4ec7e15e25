import Glibc
import Martlet

/// A parser to be fed with whatever libFuzzer finds.
///
/// All of them stand in one executable, which builds and links once; the environment variable `FUZZ_TARGET` names the
/// one to run. `FUZZ_LIST` makes it print their names instead. Seeds stand in `Fuzz/Corpus/<name>/`.
struct FuzzTarget: Sendable {
    let name: String
    /// Parses the bytes. It may throw anything. A trap, a read outside, a leak or a huge allocation is a finding.
    let parse: @Sendable (Bytes) throws -> Void

    init(_ name: String, parse: @escaping @Sendable (Bytes) throws -> Void) {
        self.name = name
        self.parse = parse
    }

    static let all: [FuzzTarget] =
        wireTargets + keyTargets + noiseTargets + identityTargets + metadataTargets + streamTargets + meshTargets
        + mainlineTargets + quicTargets + connectionTargets + configurationTargets

    static let chosen: FuzzTarget = {
        let name = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
        guard let target = all.first(where: { $0.name == name }) else {
            print("FUZZ_TARGET must be one of: \(all.map(\.name).joined(separator: " "))")
            exit(64)
        }
        return target
    }()
}

/// A finding: something that a parser promises did not hold.
func expect(_ holds: Bool, _ promise: StaticString) {
    guard !holds else { return }
    // A precondition says nothing of itself in a release build.
    print("fuzz: it does not hold that \(promise)")
    fflush(nil)
    preconditionFailure("\(promise)")
}

/// What libFuzzer calls once, before anything else.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer, _: UnsafeMutableRawPointer) -> CInt {
    if getenv("FUZZ_LIST") != nil {
        for target in FuzzTarget.all { print(target.name) }
        exit(0)
    }
    _ = FuzzTarget.chosen
    return 0
}

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // A copy of exactly this size lets the address sanitizer see any read beyond it.
    let bytes = Bytes(copying: UnsafeRawBufferPointer(start: start, count: count))
    try? FuzzTarget.chosen.parse(bytes)
    return 0
}
