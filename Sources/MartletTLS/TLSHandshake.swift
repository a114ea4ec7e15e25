internal import CQUIC
public import MartletCrypto
internal import MartletWire

/// Which end of a session a host is.
public enum TLSRole: Hashable, Sendable {
    /// The one that begins.
    case client
    /// The one that answers.
    case server
}

/// A GnuTLS session with libp2p's rules: TLS 1.3, both sides with one certificate that proves a host key.
///
/// What carries its records is another's business: `TLSSession` for a stream of bytes, ngtcp2 for QUIC.
public final class TLSHandshake {
    /// Which end this is.
    public let role: TLSRole
    /// The host key that the peer has proven, known before the handshake ends.
    public internal(set) var peer: PublicKey?
    /// Why the peer was refused.
    public internal(set) var refusal: TLSError?

    /// GnuTLS's session, until it is released.
    private var held: gnutls_session_t?
    private let context: UnsafeMutablePointer<cq_session>
    /// Outlives every session made with it.
    private let credentials: TLSCredentials
    private let accepts: (PublicKey) -> Bool
    private let now: Int64

    /// A session for one connection that offers `protocols` by ALPN, best first. The peer's certificate must be valid
    /// at `now`, in seconds since 1970, and prove a host key that `accepts` lets pass.
    public init(
        _ role: TLSRole, credentials: TLSCredentials, protocols: [String], at now: Int64,
        accepts: @escaping (PublicKey) -> Bool
    ) {
        self.role = role
        self.credentials = credentials
        self.accepts = accepts
        self.now = now
        var made: gnutls_session_t?
        checked(cq_session_init(&made, role == .server ? 1 : 0))
        let session = made!
        held = session
        context = .allocate(capacity: 1)
        context.initialize(to: cq_session())
        context.pointee.owner = Unmanaged.passUnretained(self).toOpaque()
        gnutls_session_set_ptr(session, context)
        checked(gnutls_priority_set(session, credentials.priority))
        checked(
            gnutls_credentials_set(
                session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(credentials.credentials)))
        if role == .server { gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE) }
        offer(protocols)
    }

    deinit {
        release()
        context.deallocate()
    }

    /// GnuTLS's session. Not to be asked for once it is released.
    var session: gnutls_session_t {
        guard let held else { preconditionFailure("TLS was used behind its release") }
        return held
    }

    /// Whether GnuTLS's session is gone.
    public var isReleased: Bool { held == nil }

    /// Gives back what GnuTLS holds for the session, which is most of it: QUIC has its keys, and needs no more of TLS once
    /// the handshake is done. What is known of the peer stays known.
    package func release() {
        if let held { gnutls_deinit(held) }
        held = nil
    }

    private func offer(_ protocols: [String]) {
        let names = protocols.map { Array($0.utf8) }
        let joined = names.flatMap { $0 }
        joined.withUnsafeBytes { bytes in
            var offset = 0
            var data: [gnutls_datum_t] = []
            for name in names {
                data.append(gnutls_datum_t(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + name.count])))
                offset += name.count
            }
            // The client's order is a wish; ours as the server's decides.
            let flags = GNUTLS_ALPN_MANDATORY.rawValue | GNUTLS_ALPN_SERVER_PRECEDENCE.rawValue
            checked(gnutls_alpn_set_protocols(session, &data, UInt32(data.count), flags))
        }
    }

    /// The protocol that both sides have agreed on by ALPN.
    public var negotiatedProtocol: String? {
        var name = gnutls_datum_t()
        guard !isReleased, gnutls_alpn_get_selected_protocol(session, &name) == 0, let data = name.data else {
            return nil
        }
        return String(validating: UnsafeBufferPointer(start: data, count: Int(name.size)), as: UTF8.self)
    }

    /// Makes the session the handshake of a QUIC connection, which must not outlive it.
    package func attach(to connection: OpaquePointer) {
        cq_session_refer(context, connection)
        checked(
            role == .server
                ? ngtcp2_crypto_gnutls_configure_server_session(session)
                : ngtcp2_crypto_gnutls_configure_client_session(session))
        ngtcp2_conn_set_tls_native_handle(connection, UnsafeMutableRawPointer(session))
    }

    /// Looks at the peer's certificate, and says whether it may go on.
    fileprivate func verify() -> Bool {
        do throws(CertificateError) {
            let key = try credentials.proven.verify(try certificate(), at: now)
            guard accepts(key) else {
                refusal = .unexpectedPeer(key)
                return false
            }
            peer = key
            return true
        } catch {
            refusal = .certificate(error)
            return false
        }
    }

    private func certificate() throws(CertificateError) -> Bytes {
        var count: UInt32 = 0
        guard let list = gnutls_certificate_get_peers(session, &count), count == 1 else {
            throw .chainLength(Int(count))
        }
        // Read only if it may be one: a stranger chose the length.
        guard list[0].size <= Certificate.maximumSize else {
            throw .malformed(WireError(.tooLarge, at: 0))
        }
        return Bytes(UnsafeBufferPointer(start: list[0].data, count: Int(list[0].size)))
    }
}

/// GnuTLS's question whether the peer's certificate will do.
func verifyPeer(_ session: gnutls_session_t?) -> Int32 {
    guard let pointer = gnutls_session_get_ptr(session) else { return GNUTLS_E_CERTIFICATE_ERROR }
    let context = pointer.assumingMemoryBound(to: cq_session.self)
    let handshake = Unmanaged<TLSHandshake>.fromOpaque(context.pointee.owner)
    return handshake._withUnsafeGuaranteedRef { $0.verify() } ? 0 : GNUTLS_E_CERTIFICATE_ERROR
}
