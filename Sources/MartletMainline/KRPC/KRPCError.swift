/// The errors that a node answers with (BEP 5, BEP 44).
public enum KRPCError: Int64, Error, Hashable, Sendable, CaseIterable {
    /// 201: anything else.
    case generic = 201
    /// 202: this node cannot do it now, because it is full.
    case server = 202
    /// 203: the query breaks the protocol, or its token is not valid.
    case `protocol` = 203
    /// 204: there is no such method.
    case unknownMethod = 204
    /// 205: the value is larger than 1000 bytes.
    case valueTooLarge = 205
    /// 206: the signature is not of this value by this key.
    case invalidSignature = 206
    /// 207: the salt is longer than 64 bytes.
    case saltTooLarge = 207
    /// 301: the sequence number is not the one that was to be replaced.
    case sequenceMismatch = 301
    /// 302: a newer value is stored already.
    case sequenceTooLow = 302

    /// What is sent beside the number.
    var text: String {
        switch self {
        case .generic: "Error"
        case .server: "Full"
        case .protocol: "Invalid query or token"
        case .unknownMethod: "Method Unknown"
        case .valueTooLarge: "Value too big"
        case .invalidSignature: "Invalid signature"
        case .saltTooLarge: "Salt too big"
        case .sequenceMismatch: "CAS mismatch"
        case .sequenceTooLow: "Sequence number less than current"
        }
    }
}
