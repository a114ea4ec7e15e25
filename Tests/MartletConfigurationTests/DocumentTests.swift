import Foundation
import MartletConfiguration
import MartletWire
import Testing

@Suite("The documents on configuration")
struct DocumentTests {
    private static let text = document("Configuration")

    private static func document(_ name: String) -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.appendingPathComponent("Documentation/\(name).md")
        return (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    }

    @Test("end with the tables of all keys, as they are")
    func tables() {
        #expect(
            Self.text.hasSuffix("\n\n" + ConfigurationReference.tables),
            "write what 'martlet config reference --markdown' prints below '## All keys'")
    }

    @Test("show files that are valid", arguments: ["Configuration", "Deploying"])
    func files(document: String) {
        let files = Self.document(document).matches(of: /```yaml\n([^`]*)```/).map { String($0.1) }
        #expect(!files.isEmpty)
        for file in files { #expect(configuration(file).mistakes.isEmpty) }
    }

    @Test("show mistakes as they are told")
    func mistakes() {
        let text = "node:\n  listen_prot: 1\nnetwork:\n  target_connections: many\n"
        for mistake in configuration(text).mistakes {
            #expect(Self.text.contains(mistake.description.dropFirst(1)), "\(mistake)")
        }
    }
}
