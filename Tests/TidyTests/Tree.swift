import Foundation
import Testing

/// A file of the repository, by its path from the root.
struct File {
    let path: String
    let text: String
    let lines: [Substring]
    /// The lines with comments, strings and regular expressions blanked; of Swift only.
    let code: [String]

    init(path: String, text: String) {
        self.path = path
        self.text = text
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        code = path.hasSuffix(".swift") ? Code(text).lines : []
    }

    /// The name without its folders.
    var name: String { String(path.split(separator: "/").last ?? "") }

    /// The room that the file belongs to: `Wire` of `Sources/MartletWire/Bytes.swift`, with the folder's whole name.
    var room: String? {
        let parts = path.split(separator: "/")
        guard parts.count > 2, parts[0] == "Sources" else { return nil }
        return String(parts[1] == "C" ? parts[2] : parts[1])
    }

    var isSwift: Bool { path.hasSuffix(".swift") }

    /// A violation of a rule in this file. Lines count from 1.
    func violation(line: Int = 1, _ message: String) -> Violation {
        Violation(path: path, line: line, message: message)
    }

    /// A violation in every line of `lines` that `word` is found in.
    func violations(of word: Regex<Substring>, in lines: [some StringProtocol], _ message: String) -> [Violation] {
        // By itself `\b` means Unicode's words, and for those `Task.sleep` is one.
        let word = word.wordBoundaryKind(.simple)
        return lines.enumerated().compactMap { index, line in
            guard let found = Substring(line).firstMatch(of: word) else { return nil }
            let shown = found.output.trimmingCharacters(in: .whitespaces)
            return violation(line: index + 1, "\(shown): \(message)")
        }
    }
}

/// Where a rule is broken, and how.
struct Violation: Equatable, CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

/// The files of a repository: the real one, or a small sample.
struct Tree: ExpressibleByDictionaryLiteral, CustomTestStringConvertible {
    /// In the order of their paths.
    let files: [File]

    init(_ files: [File]) {
        self.files = files.sorted { $0.path < $1.path }
    }

    init(dictionaryLiteral elements: (String, String)...) {
        self.init(elements.map { File(path: $0, text: $1) })
    }

    var testDescription: String { files.map(\.path).joined(separator: ", ") }

    /// The Swift files whose paths begin with one of `folders`; all of them if none is named.
    func swift(_ folders: String...) -> [File] {
        files.filter { file in file.isSwift && (folders.isEmpty || folders.contains { file.path.hasPrefix($0) }) }
    }

    func file(_ path: String) -> File? { files.first { $0.path == path } }

    /// Whether a file or a folder stands there.
    func contains(_ path: String) -> Bool {
        files.contains { $0.path == path || $0.path.hasPrefix(path + "/") }
    }
}

extension Tree {
    /// The root of the repository that this file was compiled in.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
        .standardizedFileURL

    /// The repository, without what git ignores: what is built, and what fuzzing found.
    static let repository = Tree(read(root, path: ""))

    private static func read(_ folder: URL, path: String) -> [File] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.flatMap { name -> [File] in
            let url = folder.appendingPathComponent(name)
            let inside = path + name
            if isIgnored(inside) { return [] }
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else { return [] }
            if isFolder.boolValue { return read(url, path: inside + "/") }
            // What is not text has a name all the same: links may lead to it.
            return [File(path: inside, text: (try? String(contentsOf: url, encoding: .utf8)) ?? "")]
        }
    }

    private static func isIgnored(_ path: String) -> Bool {
        let name = path.split(separator: "/").last ?? ""
        return [".git", ".build", ".swiftpm", ".venv"].contains(name) || path.hasPrefix(".build-")
            || path == "Fuzz/Findings" || path == "Documentation/archive"
    }
}
