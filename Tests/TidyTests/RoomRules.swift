import Foundation

/// Who may import whom: ARCHITECTURE.md, Package.swift and the imports say the same.
let roomRules = [tableAndPackage, tableAndFolders, importsInsideTheTable, worldlyImports]

/// Rooms by name, each with the rooms and C modules that it needs.
typealias Rooms = [String: Set<String>]

extension Tree {
    /// The table under "## Rooms" in ARCHITECTURE.md: its first column names rooms, its last what they need.
    var roomsInTable: Rooms {
        guard let lines = file("ARCHITECTURE.md")?.lines, let start = lines.firstIndex(of: "## Rooms") else {
            return [:]
        }
        var rooms: Rooms = [:]
        for line in lines[(start + 1)...].prefix(while: { !$0.hasPrefix("#") }) where line.hasPrefix("| `") {
            let columns = line.split(separator: "|")
            guard let first = columns.first, let last = columns.dropLast(columns.last == " " ? 1 : 0).last else {
                continue
            }
            for name in names(in: first, quotedBy: "`") { rooms[name] = names(in: last, quotedBy: "`") }
        }
        return rooms
    }

    /// The rooms that Package.swift builds, by the words it has for them.
    var roomsInPackage: Rooms {
        guard let file = file("Package.swift") else { return [:] }
        let text = withoutLineComments(file.text)
        var rooms: Rooms = [:]
        for match in text.matches(of: /\broom\(\s*\x22(\w+)\x22(?:\s*,\s*needs:\s*\[([^\]]*)\])?/) {
            rooms[String(match.1)] = names(in: match.2 ?? "", quotedBy: "\"")
        }
        for match in text.matches(of: /\.(?:systemLibrary|target|executableTarget)\(\s*name:\s*\x22(\w+)\x22/) {
            let call = call(in: text[match.range.lowerBound...])
            // What stands elsewhere, in Tests or Examples, is no room.
            if let path = call.firstMatch(of: /\bpath:\s*\x22([^\x22]*)/), !path.1.hasPrefix("Sources/") { continue }
            let needs = call.firstMatch(of: /\bdependencies:\s*\[([^\]]*)\]/)?.1 ?? ""
            rooms[String(match.1)] = names(in: needs, quotedBy: "\"")
        }
        return rooms
    }
}

/// The words in `text` that stand between two `quote`s.
private func names(in text: some StringProtocol, quotedBy quote: Character) -> Set<String> {
    let parts = text.split(separator: quote, omittingEmptySubsequences: false)
    return Set(parts.indices.filter { $0 % 2 == 1 }.map { String(parts[$0]) })
}

/// The call that `text` begins with, to the parenthesis that closes it.
private func call(in text: Substring) -> Substring {
    var depth = 0
    for index in text.indices {
        if text[index] == "(" { depth += 1 }
        if text[index] == ")" {
            depth -= 1
            if depth == 0 { return text[...index] }
        }
    }
    return text
}

private func withoutLineComments(_ text: String) -> String {
    text.split(separator: "\n").filter { !$0.drop { $0 == " " }.hasPrefix("//") }.joined(separator: "\n")
}

private func list(_ names: Set<String>) -> String {
    names.isEmpty ? "nothing" : names.sorted().joined(separator: ", ")
}

private let sampleTable = """
    ## Rooms
    | room | what | needs |
    |---|---|---|
    | `CLib` | a library | – |
    | `A` | bytes | – |
    | `B` | more | `A`, `CLib` |
    ### Planned
    | `Z` | later | `B` |
    """

private let samplePackage = """
    func room(_ name: String, needs: [Target.Dependency] = []) -> Target {
        .target(name: name, dependencies: needs)
    }
    targets: [
        .systemLibrary(name: "CLib"),
        room("A"), // room("Y")
        // room("Z"),
        room(
            "B",
            needs: ["CLib", "A"]),
        tests("BTests", needs: ["B"]),
        .executableTarget(name: "Elsewhere", dependencies: ["B"], path: "Tests/Elsewhere"),
    ]
    """

private let tableAndPackage = Rule(
    "ARCHITECTURE.md's table of rooms and Package.swift have the same rooms with the same needs",
    bad: [
        ["ARCHITECTURE.md": sampleTable, "Package.swift": #"room("A"), room("B", needs: ["A"])"#],
        ["ARCHITECTURE.md": sampleTable, "Package.swift": samplePackage + #"room("C")"#],
        [
            "ARCHITECTURE.md": sampleTable,
            "Package.swift": samplePackage
                + #".executableTarget(name: "C", dependencies: ["A"], swiftSettings: house)"#,
        ],
        ["ARCHITECTURE.md": "", "Package.swift": samplePackage],
        ["ARCHITECTURE.md": sampleTable, "Package.swift": ""],
    ],
    good: [["ARCHITECTURE.md": sampleTable, "Package.swift": samplePackage.replacing(#" // room("Y")"#, with: "")]]
) { tree in
    let table = tree.roomsInTable
    let package = tree.roomsInPackage
    return Set(table.keys).union(package.keys).sorted().compactMap { room in
        switch (table[room], package[room]) {
        case (let needs?, let built?) where needs == built: nil
        case (let needs, let built):
            Violation(
                path: "ARCHITECTURE.md", line: 1,
                message: "\(room): the table says that it needs \(needs.map(list) ?? "no such room"), "
                    + "Package.swift that it needs \(built.map(list) ?? "no such room")")
        }
    }
}

private let tableAndFolders = Rule(
    "every folder of Sources is a room of the table, and every room has its folder",
    bad: [
        ["ARCHITECTURE.md": sampleTable, "Sources/A/A.swift": "", "Sources/B/B.swift": ""],
        [
            "ARCHITECTURE.md": sampleTable, "Sources/A/A.swift": "", "Sources/B/B.swift": "",
            "Sources/C/CLib/module.modulemap": "", "Sources/D/D.swift": "",
        ],
    ],
    good: [
        [
            "ARCHITECTURE.md": sampleTable, "Sources/A/A.swift": "", "Sources/B/In/B.swift": "",
            "Sources/C/CLib/module.modulemap": "",
        ]
    ]
) { tree in
    let folders = Set(tree.files.compactMap(\.room))
    return folders.symmetricDifference(tree.roomsInTable.keys).sorted().map { room in
        Violation(
            path: "Sources/\(room)", line: 1,
            message: folders.contains(room)
                ? "not in ARCHITECTURE.md's table" : "in ARCHITECTURE.md's table, but not here")
    }
}

/// What comes with the language, without the operating system.
private let languageModules: Set = ["Swift", "Synchronization", "_Concurrency", "_StringProcessing", "RegexBuilder"]
/// What reaches the operating system, and who may import it. Dispatch, which nobody may, is not among it.
private let worldlyModules: [String: Set<String>] = [
    "Foundation": ["MartletOperator", "MartletCommand"],
    "Glibc": ["MartletRuntime", "MartletOperator", "MartletCommand"],
]

extension File {
    /// The modules that this file imports, with the lines in which it does.
    fileprivate var imports: [(module: String, line: Int)] {
        code.enumerated().compactMap { index, line in
            let pattern =
                /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:\w+\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/
            guard line.contains("import "), let match = line.firstMatch(of: pattern) else { return nil }
            return (String(match.1), index + 1)
        }
    }
}

private let importsInsideTheTable = Rule(
    "a room imports only the rooms and C modules that ARCHITECTURE.md gives it",
    bad: [
        "import B", "public import B", "@testable import B", "@_exported public import B", "import struct B.Name",
        "internal import CLib", "import Musl", "  import Z",
    ].map { ["ARCHITECTURE.md": sampleTable, "Sources/A/A.swift": $0] },
    good: [
        [
            "ARCHITECTURE.md": sampleTable, "Sources/B/B.swift": "import A\npublic import CLib\nimport Synchronization",
            "Sources/A/A.swift": "// import B\nlet a = \"import B\"",
        ]
    ]
) { tree in
    let rooms = tree.roomsInTable
    return tree.swift("Sources/").flatMap { file -> [Violation] in
        let room = file.room ?? ""
        let allowed = languageModules.union(rooms[room] ?? []).union(worldlyModules.keys).union(["Dispatch"])
        return file.imports.filter { !allowed.contains($0.module) }.map {
            file.violation(line: $0.line, "\(room) imports \($0.module), which ARCHITECTURE.md does not give it")
        }
    }
}

private let worldlyImports = Rule(
    "Foundation, Glibc and Dispatch are imported only where they may be",
    bad: [
        ["Sources/MartletWire/A.swift": "import Foundation"],
        ["Sources/MartletRuntime/A.swift": "internal import Foundation"],
        ["Sources/MartletSwarm/A.swift": "public import Glibc"],
        ["Sources/MartletCommand/A.swift": "import Dispatch"],
    ],
    good: [
        [
            "Sources/MartletOperator/A.swift": "import Foundation\nimport Glibc",
            "Sources/MartletRuntime/A.swift": "import Glibc", "Tests/MartletWireTests/A.swift": "import Foundation",
        ]
    ]
) { tree in
    tree.swift("Sources/").flatMap { file in
        file.imports.compactMap { module, line in
            guard let rooms = module == "Dispatch" ? [] : worldlyModules[module] else { return nil }
            if rooms.contains(file.room ?? "") { return nil }
            return file.violation(line: line, "\(file.room ?? "") may not import \(module)")
        }
    }
}
