import Foundation
import Martlet
import MartletConfiguration

/// Which configuration file counts, and what it says together with the environment.
struct ConfigurationFile {
    /// Where it is; `nil` where there is none.
    let path: String?
    /// What it and the environment say.
    private(set) var configuration = Configuration()

    /// The file that is named `given`, or by the variable `MARTLET_CONFIG`, or the first one that is there of the user's
    /// and the system's. Throws where it cannot be read; that there is none is fine, unless it was named.
    init(
        _ given: String?, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(ConfigurationFileError) {
        let named = given ?? environment[Configuration.fileVariable].flatMap { $0.isEmpty ? nil : $0 }
        if let named {
            path = named
            guard let bytes = try Self.read(named) else {
                throw ConfigurationFileError(path: named, reason: "it does not exist")
            }
            configuration.read(bytes, named: named)
        } else {
            var found: String?
            for place in Self.places(environment) {
                guard let bytes = try Self.read(place) else { continue }
                configuration.read(bytes, named: place)
                found = place
                break
            }
            path = found
        }
        configuration.read(environment: environment)
    }

    /// Where a file is looked for that nobody named: the user's place, then the system's.
    static func places(_ environment: [String: String]) -> [String] {
        [UserFolders(environment).configuration, "/etc"].map { "\($0)/martlet/martlet.yaml" }
    }

    /// What stands in the file at `path`, at most as much as tells that it is too much; `nil` where there is none.
    private static func read(_ path: String) throws(ConfigurationFileError) -> Bytes? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw ConfigurationFileError(path: path, reason: String(cString: strerror(errno)))
        }
        do {
            let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            return Bytes(try file.read(upToCount: YAMLLimits().size + 1) ?? Data())
        } catch {
            throw ConfigurationFileError(path: path, reason: "it is no file with text")
        }
    }
}

/// Why the configuration file could not be read.
struct ConfigurationFileError: Error, CustomStringConvertible {
    /// Which file.
    let path: String
    /// What was in the way.
    let reason: String

    /// A sentence for a person.
    var description: String {
        "cannot read the configuration \(path): \(reason); 'martlet config reference > FILE' writes one"
    }
}
