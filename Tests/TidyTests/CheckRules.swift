/// What the checks themselves must hold.
let checkRules = [noUnsafeFlags, noSkips, oneTestLibrary, fuzzTargets, threadSanitizer]

private let noUnsafeFlags = Rule(
    "Package.swift has no unsafe flags, so that the package can be depended on",
    bad: [["Package.swift": "swiftSettings: [.unsafeFlags([])]"]],
    good: [["Package.swift": "// None of these is an unsafe flag.", "Fuzz/Package.swift": ".unsafeFlags([])"]]
) { tree in
    tree.file("Package.swift").map { $0.violations(of: /\bunsafeFlags\b/, in: $0.code, "of no use to others") } ?? []
}

private let noSkips = Rule(
    "no test is skipped or known to fail", in: ["Tests/"], at: "Tests/MartletWireTests/Sample.swift",
    bad: [
        "@Test(.disabled()) func a() {}", "@Test(.enabled(if: false)) func a() {}", "withKnownIssue { a() }",
        "throw XCTSkip()", "try Test.cancel()",
    ],
    good: ["// .disabled( is what we do not write\n@Test(\"a\") func a() {}"]
) { file in
    file.violations(
        of: /\.disabled\(|\.enabled\(\s*if\b|\bwithKnownIssue\b|\bXCTSkip\w*|\bTest\.cancel\(/, in: file.code,
        "a test that cannot run is an error")
}

private let oneTestLibrary = Rule(
    "tests are written with Swift Testing: `make test` runs no others", in: ["Tests/"],
    at: "Tests/MartletWireTests/Sample.swift", bad: ["import XCTest"], good: ["import Testing\n// not XCTest"]
) { file in
    file.violations(of: /\bXCTest\b/, in: file.code, "write it with Swift Testing")
}

private let fuzzTargets = Rule(
    "every fuzz target has seeds, and all seeds have their target",
    bad: [
        ["Fuzz/Sources/Fuzz/A.swift": "FuzzTarget(\"A\") {}"],
        ["Fuzz/Sources/Fuzz/A.swift": "FuzzTarget(\"A\") {}", "Fuzz/Corpus/AB/x": ""],
        ["Fuzz/Sources/Fuzz/A.swift": "", "Fuzz/Corpus/A/x": ""],
    ],
    good: [["Fuzz/Sources/Fuzz/A.swift": "FuzzTarget(\"A\") {}", "Fuzz/Corpus/A/x": ""]]
) { tree in
    var targets: Set<String> = []
    for file in tree.swift("Fuzz/Sources/") {
        for match in file.text.matches(of: /\bFuzzTarget\(\s*\x22(\w+)\x22/) { targets.insert(String(match.1)) }
    }
    var seeds: Set<String> = []
    for file in tree.files where file.path.hasPrefix("Fuzz/Corpus/") {
        let parts = file.path.split(separator: "/")
        if parts.count > 3 { seeds.insert(String(parts[2])) }
    }
    return targets.symmetricDifference(seeds).sorted().map {
        Violation(path: "Fuzz/Corpus/\($0)", line: 1, message: targets.contains($0) ? "no seeds" : "no such target")
    }
}

private let threadSanitizer = Rule(
    "the tests of a room that knows threads, or a loop, run under the thread sanitizer in .ci/run",
    bad: [
        [
            "Sources/MartletRuntime/A.swift": "let a = Mutex(1)", "Tests/MartletRuntimeTests/A.swift": "",
            ".ci/run": "threaded=()",
        ],
        [
            "Sources/MartletRuntime/A.swift": "let a = Atomic(1)", "Tests/MartletRuntimeTests/A.swift": "",
            ".ci/run": "# MartletRuntimeTests\nthreaded=(MartletWireTests)",
        ],
        [
            "Sources/MartletSwarm/A.swift": "public import MartletRuntime", "Tests/MartletSwarmTests/A.swift": "",
            ".ci/run": "threaded=(\n    MartletRuntimeTests\n)\nother=(MartletSwarmTests)",
        ],
    ],
    good: [
        [
            "Sources/MartletRuntime/A.swift": "pthread_create()", "Tests/MartletRuntimeTests/A.swift": "",
            "Sources/MartletWire/A.swift": "// no Mutex(",
            ".ci/run": "threaded=(MartletSwarmTests MartletRuntimeTests)",
            "Tests/MartletWireTests/A.swift": "",
        ],
        [
            "Sources/MartletMesh/A.swift": "import MartletRuntime", "Tests/MartletMeshTests/A.swift": "",
            ".ci/run": "threaded=(\n    MartletRuntimeTests\n    MartletMeshTests\n)",
        ],
        [
            "Sources/MartletSimulator/A.swift": "import MartletRuntime", "Tests/MartletSimulatorTests/A.swift": "",
            ".ci/run": "threaded=(MartletRuntimeTests)",
        ],
    ]
) { tree in
    let lines = tree.file(".ci/run")?.lines ?? []
    let list = lines.drop { !$0.hasPrefix("threaded=(") }.joined(separator: " ").prefix { $0 != ")" }
    let named = Set(list.split { "=( ".contains($0) }.map(String.init))
    // A simulated world has one thread from its beginning to its end, and shares nothing with another.
    let threaded = tree.swift("Sources/").filter { $0.room != "MartletSimulator" }.filter { file in
        let words = ["Mutex", "Atomic", "pthread_create", "Thread", "MartletRuntime"]
        return words.contains(where: file.text.contains)
            && file.code.contains {
                $0.contains(
                    /\bMutex[(<]|\bAtomic[(<]|\bpthread_create\b|\bThread[.({]|\bimport MartletRuntime\b/)
            }
    }
    return Set(threaded.compactMap(\.room)).sorted().filter { tree.contains("Tests/\($0)Tests") }
        .filter { !named.contains("\($0)Tests") }
        .map { Violation(path: ".ci/run", line: 1, message: "`threaded` does not name \($0)Tests") }
}
