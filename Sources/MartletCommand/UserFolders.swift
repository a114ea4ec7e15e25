import Foundation

/// Where the files of the user belong who runs the program: where the variables of the XDG base directory specification
/// say, else below `$HOME`, else below the home that the system's list of users names. What isn't an absolute path is
/// passed over.
struct UserFolders {
    /// What `~` stands for.
    let home: String
    /// Where what belongs to programs is kept, in a folder for each.
    let data: String
    /// Where programs' configurations are kept, in a folder for each.
    let configuration: String

    init(_ environment: [String: String] = ProcessInfo.processInfo.environment) {
        func folder(_ variable: String) -> String? { environment[variable].flatMap { $0.hasPrefix("/") ? $0 : nil } }
        home = folder("HOME") ?? NSHomeDirectory()
        data = folder("XDG_DATA_HOME") ?? home + "/.local/share"
        configuration = folder("XDG_CONFIG_HOME") ?? home + "/.config"
    }

    /// The folder of Martlet's own files, of which the identity is one.
    var martlet: String { data + "/martlet" }

    /// `path` with the user's home in place of a `~` at its start.
    func expanded(_ path: String) -> String {
        guard path == "~" || path.hasPrefix("~/") else { return path }
        return home + path.dropFirst()
    }
}
