@_exported public import MartletCrypto
@_exported public import MartletIdentity
@_exported public import MartletMainline
@_exported public import MartletMesh
@_exported public import MartletMetadata
@_exported public import MartletRuntime
@_exported public import MartletStore
@_exported public import MartletSwarm
@_exported public import MartletTransport
@_exported public import MartletWire

/// What this build of Martlet calls itself.
public enum Martlet {
    /// The version of the library and of the command, in semantic versioning.
    public static let version = "0.1.0"
}
