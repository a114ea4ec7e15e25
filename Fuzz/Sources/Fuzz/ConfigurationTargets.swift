import Martlet
import MartletConfiguration

/// The configuration file.
let configurationTargets: [FuzzTarget] = [
    FuzzTarget("Configuration") { input in
        var configuration = Configuration()
        configuration.read(input, named: "f")
        let mistakes = configuration.mistakes
        for mistake in mistakes {
            expect(mistake.origin != .byDefault, "a mistake has a place")
            expect(!mistake.description.utf8.contains { $0 < 0x20 || $0 == 0x7F }, "a mistake is one line")
        }
        guard mistakes.isEmpty else { return }
        // What was read is shown as a file that is read as the same.
        var text = ""
        for section in ConfigurationSection.all {
            text += "\(section.name):\n"
            for key in section.keys { text += "  \(key.name): \(key.value(in: configuration.settings).yaml)\n" }
        }
        var again = Configuration()
        again.read(Bytes(utf8: text), named: "f")
        expect(again.settings == configuration.settings, "what is shown is read as the same again")
    }
]
