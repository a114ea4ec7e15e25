/// Names, and what is left for later.
let nameRules = [uniqueNames, vagueNames, nothingLeft]

private let uniqueNames = Rule(
    "a file's name stands once in Sources",
    bad: [["Sources/MartletWire/A.swift": "", "Sources/MartletCrypto/In/A.swift": ""]],
    good: [["Sources/MartletWire/A.swift": "", "Sources/MartletCrypto/B.swift": "", "Tests/A.swift": ""]]
) { tree in
    Dictionary(grouping: tree.swift("Sources/"), by: \.name).values.filter { $0.count > 1 }
        .flatMap { same in same.map { $0.violation("its name stands \(same.count) times in Sources") } }
        .sorted { $0.path < $1.path }
}

private let vagueNames = Rule(
    "a type is not called by what every type is", in: ["Sources/"],
    bad: [
        "final class PeerManager {}", "public enum BytesUtils {}", "struct DialHelper: Sendable {}", "class Base {}",
    ],
    good: ["protocol DiscoveryService {}", "enum Base58 {}", "struct Peer { var managers = 1 }", "actor Database {}"]
) { file in
    file.violations(
        of: /\b(?:class|struct|enum|actor|protocol)\s+\w*(?:Manager|Helper|Helpers|Util|Utils|Utilities|Base)\b/,
        in: file.code, "say what it is")
}

private let nothingLeft = Rule(
    "nothing is left to do in the code", in: ["Sources/", "Examples/", "Benchmarks/", "Fuzz/", "Tests/Martlet"],
    bad: ["// TODO: bounds", "/* FIXME */", "let a = 1 // XXX"],
    good: ["let TODOLIST = 1", "// What is done is done."]
) { file in
    file.violations(of: /\b(?:TODO|FIXME|XXX)\b/, in: file.lines, "do it, or put it where work is planned")
}
