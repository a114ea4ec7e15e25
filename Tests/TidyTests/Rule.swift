import Testing

/// A rule of the house: what it looks for in a tree, with samples that show that it bites and that it does not bite
/// what is good.
struct Rule: CustomTestStringConvertible {
    let name: String
    let bad: [Tree]
    let good: [Tree]
    let check: @Sendable (Tree) -> [Violation]

    init(_ name: String, bad: [Tree], good: [Tree], check: @escaping @Sendable (Tree) -> [Violation]) {
        self.name = name
        self.bad = bad
        self.good = good
        self.check = check
    }

    /// A rule about single files of Swift, those whose paths begin with one of `folders`. The samples are the files'
    /// texts, each at `path`.
    init(
        _ name: String, in folders: [String], at path: String = "Sources/MartletWire/Sample.swift",
        bad: [String], good: [String], each: @escaping @Sendable (File) -> [Violation]
    ) {
        self.init(
            name, bad: bad.map { [path: $0] }, good: good.map { [path: $0] },
            check: { tree in
                tree.swift().filter { file in folders.contains { file.path.hasPrefix($0) } }.flatMap(each)
            })
    }

    var testDescription: String { name }

    static let all = roomRules + worldRules + sizeRules + reasonRules + nameRules + documentRules + checkRules
}

@Suite("The rules of the house")
struct RuleTests {
    @Test("hold in the whole repository", arguments: Rule.all)
    func repository(rule: Rule) {
        let violations = rule.check(.repository)
        #expect(violations.isEmpty, "\(rule.name)\n\(violations.map(\.description).joined(separator: "\n"))")
    }

    @Test("are broken by every bad sample", arguments: Rule.all)
    func bad(rule: Rule) {
        #expect(!rule.bad.isEmpty)
        for sample in rule.bad {
            #expect(!rule.check(sample).isEmpty, "\(rule.name): \(sample.files)")
        }
    }

    @Test("are kept by every good sample", arguments: Rule.all)
    func good(rule: Rule) {
        #expect(!rule.good.isEmpty)
        for sample in rule.good {
            #expect(rule.check(sample) == [], "\(rule.name): \(sample.files)")
        }
    }

    @Test("are applied to a repository that was really read")
    func read() {
        for path in ["Package.swift", "ARCHITECTURE.md", ".ci/run", "Sources/MartletWire/Bytes.swift"] {
            #expect(Tree.repository.file(path)?.text.isEmpty == false, "\(path)")
        }
        #expect(!Tree.repository.files.contains { $0.path.hasPrefix(".build") || $0.path.hasPrefix(".git/") })
    }
}
