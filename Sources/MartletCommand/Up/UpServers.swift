import Foundation
import Martlet
import MartletConfiguration
import MartletOperator

/// What a running node is talked to by: the socket of its own user, and where it is asked for the operator's endpoint.
///
/// It is `@unchecked Sendable` because the servers are touched only on the loop that they belong to.
final class UpServers: @unchecked Sendable {
    private let environment: SystemEnvironment
    private var control: ControlServer?
    private var endpoint: OperatorEndpoint?

    /// Takes the right to be the node of the folder that `settings` name, which is made where there is none, before
    /// anything in it is touched. Throws where another node has that right.
    static func claim(_ settings: Settings) throws(OperatorError) -> ControlSocket {
        let path = settings.controlSocket
        for folder in [settings.dataDirectory, (path as NSString).deletingLastPathComponent] where !folder.isEmpty {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw OperatorError(.file, "the folder \(folder) cannot be made: \(error.localizedDescription)")
            }
        }
        return try ControlSocket(of: settings.dataDirectory, path: path)
    }

    private init(_ environment: SystemEnvironment) { self.environment = environment }

    /// Serves `node`, which runs in `environment` and whose files are in `folder`, at `socket` and, where it is given, at
    /// `endpoint`. Where that fails, the right to be the node of its folder is given back.
    static func open(
        _ node: Node, on environment: SystemEnvironment, at socket: ControlSocket, endpoint: EndpointAddress?,
        folder: String
    ) async throws -> UpServers {
        let servers = UpServers(environment)
        try await environment.loop.run {
            do throws(OperatorError) {
                servers.endpoint = try endpoint.map { place throws(OperatorError) in
                    try OperatorEndpoint(at: place, on: environment, of: node, profiling: .ofCommand)
                }
            } catch {
                socket.abandon()
                throw error
            }
            do throws(OperatorError) {
                servers.control = try ControlServer(
                    of: node, on: environment, at: socket, folder: folder, http: servers.endpoint?.address)
            } catch {
                servers.endpoint?.stop()
                throw error
            }
        }
        return servers
    }

    /// Where `settings` want the operator's endpoint. Throws where it would be open to others.
    static func endpoint(_ settings: Settings) throws(OperatorError) -> EndpointAddress? {
        guard let address = settings.operator.http else { return nil }
        let token = try settings.operator.tokenFile.map { path throws(OperatorError) in
            try AccessToken(file: UserFolders().expanded(path))
        }
        return try EndpointAddress("\(address)", token: token)
    }

    /// Serves no longer.
    func close() async {
        _ = try? await environment.loop.run { [self] in
            endpoint?.stop()
            control?.stop()
        }
    }
}

extension Settings {
    /// Where the node is talked to: where that is said, there; otherwise in its folder.
    var controlSocket: String {
        control.socket.map { UserFolders().expanded($0) } ?? dataDirectory + "/" + ControlSocket.usualName
    }
}
