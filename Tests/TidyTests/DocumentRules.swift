import Foundation

/// What is said in documents, and what may not be said in any committed file.
let documentRules = [links, codeInDocuments, machinesOfSomebody, hostsOfRegistries]

extension File {
    fileprivate var isDocument: Bool { path.hasSuffix(".md") }
}

private let links = Rule(
    "a link in a document leads somewhere",
    bad: [
        ["README.md": "see [this](ARCHITECTURE.md)"], ["a/b.md": "[c](c.md)", "c.md": ""],
        ["README.md": "![picture](docs/a.png)"], ["README.md": "[a](../../outside.md)"],
    ],
    good: [
        [
            "README.md": "[a](a/b.md) [b](a) [c](#words) [d](https://example.org/x.md) [e](a/b.md#part)",
            "a/b.md": "[up](../README.md)",
        ]
    ]
) { tree in
    tree.files.filter(\.isDocument).flatMap { file -> [Violation] in
        file.lines.enumerated().flatMap { index, line in
            line.matches(of: /\]\(([^)\s]+)\)/).compactMap { match -> Violation? in
                let target = match.1.prefix { $0 != "#" }
                if target.isEmpty || target.contains(":") { return nil }
                let folder = file.path.split(separator: "/").dropLast()
                var parts: [Substring] = Array(folder)
                for part in target.split(separator: "/") where part != "." {
                    if part != ".." { parts.append(part) } else if parts.popLast() == nil { parts.append("outside") }
                }
                if tree.contains(parts.joined(separator: "/")) { return nil }
                return file.violation(line: index + 1, "\(match.1) leads nowhere")
            }
        }
    }
}

private let codeInDocuments = Rule(
    "Swift shown in a document stands, line by line, in a program in Examples, where it is compiled",
    bad: [
        ["README.md": "```swift\nlet a = 1\n```"],
        ["README.md": "```swift\nlet a = 1\n```", "Examples/A/A.swift": "let a = 2"],
    ],
    good: [
        [
            "README.md": "```swift\nlet a = 1\n\n```\n```sh\nmake\n```",
            "Examples/A/A.swift": "func b() {\n    let a = 1\n}",
        ]
    ]
) { tree in
    let compiled = Set(tree.swift("Examples/").flatMap(\.lines).map { $0.trimmingCharacters(in: .whitespaces) })
    return tree.files.filter(\.isDocument).flatMap { file -> [Violation] in
        var inSwift = false
        return file.lines.enumerated().compactMap { index, line in
            if line.hasPrefix("```") {
                inSwift = line == "```swift"
                return nil
            }
            let shown = line.trimmingCharacters(in: .whitespaces)
            if !inSwift || shown.isEmpty || compiled.contains(shown) { return nil }
            return file.violation(line: index + 1, "not in Examples: \(shown)")
        }
    }
}

/// The rules' own samples break the rules.
private func outsideTheseTests(_ tree: Tree) -> [File] {
    tree.files.filter { !$0.path.hasPrefix("Tests/TidyTests/") }
}

private let machinesOfSomebody = Rule(
    "no committed file names a folder of somebody's machine",
    bad: [
        ["README.md": "see /home/me/martlet"], ["Scripts/run": "cd /work/main"], ["a.txt": "x=/root/.cache"],
        ["Sources/MartletWire/A.swift": "// (/Users/me/a)"],
    ],
    good: [["README.md": "a/home/b, /ip4/1.2.3.4/unix/work/x and ~/root/", "a.txt": "/etc/apt /usr/share /dev/null"]]
) { tree in
    outsideTheseTests(tree).flatMap {
        $0.violations(of: /(?:^|[^\w~.-])\/(?:home|root|work|Users)\//, in: $0.lines, "a folder of somebody's machine")
    }
}

private let hostsOfRegistries = Rule(
    "no committed file names a host that packages are fetched from",
    bad: [
        ["Scripts/setup": "URIs: http://deb.debian.org/debian"], ["a.md": "https://pypi.org/simple"],
        ["a.yml": "https://europe-apt.pkg.dev/x"], ["a": "registry.npmjs.org"],
    ],
    good: [["README.md": "Debian's mirror; see https://www.debian.org and swift.org", "A.swift": "registry.counter"]]
) { tree in
    outsideTheseTests(tree).flatMap {
        $0.violations(
            of:
                /\b(?:deb|security|snapshot|ftp)\.debian\.org|\bpypi\.org|\bpythonhosted\.org|\bregistry\.(?:npmjs|yarnpkg)\.\w+|\.pkg\.dev\b|\bproxy\.golang\.org|\bcrates\.io/,
            in: $0.lines, "the machine's own sources know the host")
    }
}
