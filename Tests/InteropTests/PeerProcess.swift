import Foundation
import Synchronization

/// A third-party implementation that runs as a process of its own and speaks in lines of JSON.
final class PeerProcess: @unchecked Sendable {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    /// What has been said and not been asked for. Lines come in on a thread of Foundation's.
    private let lines = Mutex<[[String: any Sendable]]>([])

    /// The folder of the package.
    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static var python: URL { package.appendingPathComponent(".venv/bin/python") }

    /// Starts a script of Tests/InteropTests/Peers.
    init(_ script: String, _ arguments: [String]) throws {
        process.executableURL = Self.python
        process.arguments = [Self.package.appendingPathComponent("Tests/InteropTests/Peers/\(script)").path] + arguments
        process.standardInput = input
        process.standardOutput = output
        let rest = Mutex(Data())
        output.fileHandleForReading.readabilityHandler = { [weak self] handle in
            let data = handle.availableData
            guard !data.isEmpty else { return handle.readabilityHandler = nil }
            rest.withLock { rest in
                rest.append(data)
                while let end = rest.firstIndex(of: 0x0A) {
                    self?.take(rest[rest.startIndex..<end])
                    rest = Data(rest[(end + 1)...])
                }
            }
        }
        try process.run()
    }

    deinit {
        output.fileHandleForReading.readabilityHandler = nil
        // Where it was never launched there is nothing to end. It is no request, for it may have started with signals
        // blocked.
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    private func take(_ line: Data) {
        guard let object = try? JSONSerialization.jsonObject(with: line) as? [String: Any] else { return }
        var fields: [String: any Sendable] = [:]
        for (key, value) in object {
            switch value {
            case let text as String: fields[key] = text
            case let texts as [String]: fields[key] = texts
            case let numbers as [Int]: fields[key] = numbers
            case let number as Int: fields[key] = number
            default: break
            }
        }
        lines.withLock { $0.append(fields) }
    }

    /// Gives it a line.
    func tell(_ line: String) {
        input.fileHandleForWriting.write(Data("\(line)\n".utf8))
    }

    /// What it says that `matches`, which is asked for once; everything before is kept. Throws after `limit`.
    func answer(
        within limit: Duration = .seconds(10), _ matches: ([String: any Sendable]) -> Bool
    ) async throws -> [String: any Sendable] {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            let found: [String: any Sendable]? = lines.withLock { lines in
                guard let index = lines.firstIndex(where: matches) else { return nil }
                return lines.remove(at: index)
            }
            if let found { return found }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw PeerError.silent(lines.withLock { "\($0.suffix(5))" })
    }

    /// Says `line` again and again until it says something that `matches`.
    func ask(
        _ line: String, within limit: Duration = .seconds(20), _ matches: ([String: any Sendable]) -> Bool
    ) async throws -> [String: any Sendable] {
        let deadline = ContinuousClock.now + limit
        while true {
            tell(line)
            do {
                return try await answer(within: .seconds(2), matches)
            } catch {
                if ContinuousClock.now >= deadline { throw error }
            }
        }
    }
}

/// A peer did not do what was waited for.
enum PeerError: Error {
    /// It did not say it; what it said last.
    case silent(String)
}
