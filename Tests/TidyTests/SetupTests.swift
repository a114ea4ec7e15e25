import Foundation
import Testing

/// `Scripts/setup-backports show`, on apt folders made up for it.
@Suite("Adding the backports suite")
struct SetupTests {
    /// What the script prints for `bookworm` when apt's folder has these files, and whether it succeeded.
    private func show(_ files: [String: String]) throws -> (fields: [String: String], text: String, status: Int32) {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(
            at: folder.appendingPathComponent("sources.list.d"), withIntermediateDirectories: true)
        for (name, text) in files {
            try text.write(to: folder.appendingPathComponent(name), atomically: true, encoding: .utf8)
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = [
            Tree.root.appendingPathComponent("Scripts/setup-backports").path, "show", "bookworm", folder.path,
        ]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let fields = text.matches(of: /(?m)^([A-Z][\w-]*): *(.*)$/).map { (String($0.1), String($0.2)) }
        return (Dictionary(fields, uniquingKeysWith: { $1 }), text, process.terminationStatus)
    }

    private static let deb822 = """
        # made by the installer
        Types: deb deb-src
        URIs: http://mirror.test/debian
        # a comment between fields
        Suites: bookworm bookworm-updates
        Components: main contrib
        Signed-By: /keys/debian.gpg

        Types: deb
        URIs: http://mirror.test/debian-security
        Suites: bookworm-security
        Components: main
        """

    @Test(
        "takes the mirror and its options from any way to write a source",
        arguments: [
            (["sources.list": "deb http://mirror.test/debian bookworm main\n"], "http://mirror.test/debian", nil),
            (
                [
                    "sources.list":
                        "# old\ndeb [ arch=amd64,arm64 signed-by=/keys/a.gpg ] http://mirror.test/debian/ bookworm contrib main # x\n"
                ],
                "http://mirror.test/debian/", "/keys/a.gpg"
            ),
            (["sources.list.d/debian.sources": deb822], "http://mirror.test/debian", "/keys/debian.gpg"),
            (
                ["sources.list.d/b.list": "deb\thttps://mirror.test/debian\tbookworm\tmain\n", "sources.list": ""],
                "https://mirror.test/debian", nil
            ),
            (
                [
                    "sources.list.d/a.list": "deb [signed-by=/keys/x.gpg] https://vendor.test/apt bookworm main\n",
                    "sources.list.d/z.list": "deb [trusted=yes] http://mirror.test/debian bookworm main\n",
                ], "http://mirror.test/debian", nil
            ),
        ] as [([String: String], String, String?)])
    func mirror(files: [String: String], uri: String, key: String?) throws {
        let shown = try show(files)
        #expect(shown.status == 0)
        #expect(shown.fields["Types"] == "deb")
        #expect(shown.fields["URIs"] == uri)
        #expect(shown.fields["Suites"] == "bookworm-backports")
        #expect(shown.fields["Components"] == "main")
        if let key { #expect(shown.fields["Signed-By"] == key) }
    }

    @Test("keeps a source's architectures and trust, and a key that stands inside the source")
    func options() throws {
        let oneLine = try show([
            "sources.list": "deb [arch=amd64,arm64 trusted=yes] http://mirror.test/debian bookworm main\n"
        ])
        #expect(oneLine.fields["Architectures"] == "amd64 arm64")
        #expect(oneLine.fields["Trusted"] == "yes")

        let key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
        let inside = try show([
            "sources.list.d/debian.sources":
                "Types: deb\nURIs:\n http://mirror.test/debian\nSuites: bookworm\nComponents: main\n\(key)\n"
        ])
        #expect(inside.fields["URIs"] == "http://mirror.test/debian")
        #expect(inside.text.contains(key))
    }

    @Test(
        "adds nothing where the suite is enabled already",
        arguments: [
            [
                "sources.list":
                    "deb http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian bookworm-backports main\n"
            ],
            [
                "sources.list": "deb http://mirror.test/debian bookworm main\n",
                "sources.list.d/b.sources":
                    "Types: deb\nURIs: http://other.test/debian\nSuites: bookworm-backports\nComponents: main\n",
            ],
        ])
    func present(files: [String: String]) throws {
        let shown = try show(files)
        #expect(shown.status == 0)
        #expect(shown.text.isEmpty)
    }

    @Test("is not misled by sources that are disabled, or comments, or for something else")
    func disabled() throws {
        let shown = try show([
            "sources.list":
                "# deb http://mirror.test/debian bookworm-backports main\ndeb http://mirror.test/debian bookworm main\n",
            "sources.list.d/b.sources":
                "Enabled: no\nTypes: deb\nURIs: http://a.test/debian\nSuites: bookworm-backports\nComponents: main\n\n"
                + "Types: deb-src\nURIs: http://b.test/debian\nSuites: bookworm-backports\nComponents: main\n",
        ])
        #expect(shown.fields["URIs"] == "http://mirror.test/debian")
    }

    @Test(
        "fails where no source is a mirror of the release",
        arguments: [
            [:], ["sources.list": "deb http://mirror.test/debian trixie main\n"],
            ["sources.list": "deb cdrom:[Debian 12]/ bookworm main\ndeb-src http://mirror.test/debian bookworm main\n"],
            ["sources.list": "deb http://vendor.test/apt bookworm stable\n"],
        ])
    func absent(files: [String: String]) throws {
        let shown = try show(files)
        #expect(shown.status != 0)
        #expect(shown.text.isEmpty)
    }
}
