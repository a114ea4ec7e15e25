internal import MartletCrypto
internal import MartletIdentity
internal import MartletRuntime
internal import MartletTLS
internal import MartletWire

// TLS 1.3 with libp2p's certificates, on any ordered stream of bytes (`/tls/1.0.0`; libp2p's "TLS Handshake").
extension Upgrader {
    /// What is said by ALPN where the muxer is still to be agreed on.
    private static let anyMuxer = "libp2p"

    /// `nil` where the other side does not speak what `dialer` proposes.
    nonisolated(nonsending) func shakeHandsByTLS(
        _ channel: UpgradeChannel, _ request: UpgradeRequest, behind dialer: consuming MultistreamDialer?
    ) async throws(TransportError) -> Secured? {
        let session = TLSSession(
            request.direction == .outbound ? .client : .server, credentials: credentials,
            protocols: [Self.yamuxName, Self.anyMuxer], at: environment.wallTime.seconds
        ) { key in
            request.expectedPeer.map { $0 == PeerID(key) } ?? true
        }
        try advance(session, request) { () throws(TLSError) in try session.start() }
        guard try await channel.send(session.allTransmits(), behind: dialer) else { return nil }
        channel.enter(.handshake)
        while !session.isEstablished {
            let bytes = try await channel.receive()
            defer { channel.send(session.allTransmits()) }
            try advance(session, request) { () throws(TLSError) in try session.receive(bytes.span) }
        }
        guard let remotePublicKey = session.peer else { throw .handshake("no certificate") }
        channel.secure(by: TLSByteStream(channel.stream, session, buffers))
        return Secured(
            security: .tls, remotePublicKey: remotePublicKey,
            binding: session.exported("EXPORTER-martlet-binding", count: 32) ?? Bytes(),
            hasMuxer: session.negotiatedProtocol == Self.yamuxName)
    }

    private func advance(
        _ session: TLSSession, _ request: UpgradeRequest, _ step: () throws(TLSError) -> Void
    ) throws(TransportError) {
        do throws(TLSError) {
            try step()
        } catch {
            if case .unexpectedPeer(let key) = error, let expected = request.expectedPeer {
                throw .wrongPeer(expected: expected, actual: PeerID(key))
            }
            throw .handshake("\(error)")
        }
    }
}

extension TLSSession {
    /// All that goes to the peer now.
    fileprivate func allTransmits() -> Bytes {
        var writer = Writer()
        while let bytes = nextTransmit() { writer.bytes(bytes) }
        return writer.finish()
    }
}
