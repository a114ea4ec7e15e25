import Foundation
import MartletConfiguration
import MartletWire
import Testing

@Suite("Documentation/Configuration.md")
struct DocumentTests {
    private static let text: String = {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.appendingPathComponent("Documentation/Configuration.md")
        return (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    }()

    @Test("ends with the tables of all keys, as they are")
    func tables() {
        #expect(
            Self.text.hasSuffix("\n\n" + ConfigurationReference.tables),
            "write what 'martlet config reference --markdown' prints below '## All keys'")
    }

    @Test("shows files that are valid")
    func files() {
        let files = Self.text.matches(of: /```yaml\n([^`]*)```/).map { String($0.1) }
        #expect(!files.isEmpty)
        for file in files { #expect(configuration(file).mistakes.isEmpty) }
    }

    @Test("shows mistakes as they are told")
    func mistakes() {
        let text = "node:\n  listen_prot: 1\nnetwork:\n  target_connections: many\n"
        for mistake in configuration(text).mistakes {
            #expect(Self.text.contains(mistake.description.dropFirst(1)), "\(mistake)")
        }
    }
}
