internal import MartletRuntime
internal import MartletWire

/// The number of the newest record that a node has signed, kept in a file, so that a node whose clock went back while it was
/// down still tells something newer than before.
final class OwnSequence {
    private static let path = "sequence"
    /// A number of 64 bits in decimal digits, and a line's end.
    private static let maximumSize = 32

    private let environment: any Environment
    private let isKept: Bool
    private var newest: UInt64 = 0
    private var isWriting = false

    /// The number of a node in `environment`, which is kept in a file if `isKept`.
    init(_ environment: any Environment, isKept: Bool) {
        self.environment = environment
        self.isKept = isKept
    }

    /// The number that was kept before; 0 if there is none.
    nonisolated(nonsending) func read() async -> UInt64 {
        guard isKept, let bytes = try? await environment.files.read(Self.path, maximum: Self.maximumSize) else {
            return 0
        }
        let digits = Array(bytes).filter { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        return UInt64(String(decoding: digits, as: UTF8.self)) ?? 0
    }

    /// Keeps `number`, soon.
    func keep(_ number: UInt64) {
        newest = max(newest, number)
        guard isKept, !isWriting else { return }
        isWriting = true
        environment.loop.spawn { [self] in
            var written: UInt64 = 0
            while written < newest {
                written = newest
                do throws(FileError) {
                    try await environment.files.replace(Self.path, with: Bytes(utf8: "\(written)\n"), isPrivate: false)
                } catch {
                    // The next number is written with the next record; a full disk is told by the database.
                    break
                }
            }
            isWriting = false
        }
    }
}
