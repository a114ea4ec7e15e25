internal import CQUIC
public import MartletCrypto
public import MartletWire

/// TLS 1.3 over an ordered stream of bytes: a machine.
///
/// Call `start` once. Give it what comes from the peer by `receive`, or `receiveEnd` at its end; take what goes to the
/// peer by `nextTransmit` after every call until it says `nil`. Once `isEstablished`, `write` and `read` carry the
/// application's bytes. After an error only `nextTransmit` is of use: it holds the alert for the peer.
///
/// What came and was not yet read is bounded by the caller, who stops to `receive` while `pendingInput` is large.
public final class TLSSession {
    /// The most bytes of one record.
    public static let recordSize = 16384

    /// Whether the handshake is done, and the peer known.
    public private(set) var isEstablished = false
    /// Whether the peer has said that it sends no more.
    public private(set) var isFinished = false
    let handshake: TLSHandshake
    private var input = TLSInput()
    private var output = Writer()

    /// A session that offers `protocols` by ALPN, best first. The peer's certificate must be valid at `now`, in seconds
    /// since 1970, and prove a host key that `accepts` lets pass.
    public init(
        _ role: TLSRole, credentials: TLSCredentials, protocols: [String], at now: Int64,
        accepts: @escaping (PublicKey) -> Bool = { _ in true }
    ) {
        handshake = TLSHandshake(role, credentials: credentials, protocols: protocols, at: now, accepts: accepts)
        let session = handshake.session
        gnutls_transport_set_ptr(session, Unmanaged.passUnretained(self).toOpaque())
        gnutls_transport_set_push_function(session) { pointer, data, count in
            Unmanaged<TLSSession>.fromOpaque(pointer!)._withUnsafeGuaranteedRef { $0.push(data!, count) }
        }
        gnutls_transport_set_pull_function(session) { pointer, data, count in
            Unmanaged<TLSSession>.fromOpaque(pointer!)._withUnsafeGuaranteedRef { $0.pull(data!, count) }
        }
    }

    /// The host key that the peer has proven.
    public var peer: PublicKey? { isEstablished ? handshake.peer : nil }

    /// The protocol that both sides agreed on.
    public var negotiatedProtocol: String? { isEstablished ? handshake.negotiatedProtocol : nil }

    /// How many bytes from the peer wait for `read`.
    public var pendingInput: Int { input.count }

    /// Begins the handshake, which is the client's to begin.
    public func start() throws(TLSError) { try advance() }

    /// Takes in `bytes` from the peer.
    public func receive(_ bytes: RawSpan) throws(TLSError) {
        input.append(bytes)
        if !isEstablished { try advance() }
    }

    /// Takes in that the peer's bytes have ended.
    public func receiveEnd() throws(TLSError) {
        input.isEnded = true
        if !isEstablished { try advance() }
    }

    /// What goes to the peer next.
    public func nextTransmit() -> Bytes? {
        guard output.count > 0 else { return nil }
        var taken = Writer()
        swap(&taken, &output)
        return taken.finish()
    }

    /// Encrypts `bytes` for the peer.
    public func write(_ bytes: RawSpan) throws(TLSError) {
        precondition(isEstablished, "the handshake comes first")
        try bytes.withUnsafeBytes { buffer throws(TLSError) in
            var rest = buffer[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let sent = gnutls_record_send(handshake.session, part.baseAddress, part.count)
                guard sent > 0 else { throw error(Int32(sent)) }
                rest = rest.dropFirst(sent)
            }
        }
    }

    /// Decrypts what came from the peer into `buffer`, and says how many bytes of it are filled: 0 where there is
    /// nothing now, or nothing any more as `isFinished` says. `buffer` must not be empty.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Int {
        precondition(isEstablished, "the handshake comes first")
        while !isFinished {
            let count = gnutls_record_recv(handshake.session, buffer.baseAddress, buffer.count)
            if count > 0 { return count }
            switch Int32(count) {
            case 0: isFinished = true
            case GNUTLS_E_AGAIN: return 0
            case GNUTLS_E_INTERRUPTED: continue
            case let failure: throw error(failure)
            }
        }
        return 0
    }

    /// Says to the peer that nothing more will be sent.
    public func finish() {
        // It fails only where the session has failed already.
        _ = gnutls_bye(handshake.session, GNUTLS_SHUT_WR)
    }

    private func advance() throws(TLSError) {
        let result = gnutls_handshake(handshake.session)
        if result == GNUTLS_E_SUCCESS {
            guard handshake.peer != nil else { throw .certificate(.chainLength(0)) }
            isEstablished = true
        } else if result != GNUTLS_E_AGAIN && result != GNUTLS_E_INTERRUPTED {
            let failure = error(result)
            if gnutls_error_is_fatal(result) != 0 { gnutls_alert_send_appropriate(handshake.session, result) }
            throw failure
        }
    }

    private func error(_ result: Int32) -> TLSError {
        if let refusal = handshake.refusal { return refusal }
        switch result {
        case GNUTLS_E_FATAL_ALERT_RECEIVED, GNUTLS_E_WARNING_ALERT_RECEIVED:
            return .alert(UInt8(truncatingIfNeeded: gnutls_alert_get(handshake.session).rawValue))
        case GNUTLS_E_NO_APPLICATION_PROTOCOL: return .noCommonProtocol
        case GNUTLS_E_PREMATURE_TERMINATION: return .truncated
        default: return .failed(words(for: result))
        }
    }

    private func push(_ data: UnsafeRawPointer, _ count: Int) -> Int {
        output.append(count: count) { $0.copyMemory(from: UnsafeRawBufferPointer(start: data, count: count)) }
        return count
    }

    private func pull(_ data: UnsafeMutableRawPointer, _ count: Int) -> Int {
        let taken = input.take(into: UnsafeMutableRawBufferPointer(start: data, count: count))
        return taken > 0 || input.isEnded ? taken : cq_would_block(handshake.session)
    }
}

/// Bytes from the peer that GnuTLS has not asked for yet.
private struct TLSInput {
    private var bytes: [UInt8] = []
    private var start = 0
    var isEnded = false

    var count: Int { bytes.count - start }

    mutating func append(_ span: RawSpan) {
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: bytes.count <= 1 << 16)
            start = 0
        } else if start > 1 << 16 {
            bytes.removeFirst(start)
            start = 0
        }
        span.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }

    mutating func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let taken = min(count, buffer.count)
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + taken])) }
        start += taken
        return taken
    }
}
