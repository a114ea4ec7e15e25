internal import CQUIC
public import MartletWire

extension TLSHandshake {
    /// `count` bytes that both ends of this session can derive, by `label`, and nobody else (RFC 8446, section 7.5).
    /// `nil` before the handshake has ended, and once the session is released.
    public func exported(_ label: String, count: Int) -> Bytes? {
        guard !isReleased else { return nil }
        var failed = false
        let session = session
        let secret = Bytes(count: count) { (target: UnsafeMutableRawBufferPointer) in
            failed =
                gnutls_prf_rfc5705(
                    session, label.utf8.count, label, 0, nil, target.count,
                    target.baseAddress?.assumingMemoryBound(to: CChar.self)) != 0
        }
        return failed ? nil : secret
    }
}

extension TLSSession {
    /// `count` bytes that both ends of this session can derive, by `label`, and nobody else. `nil` before the handshake
    /// has ended.
    public func exported(_ label: String, count: Int) -> Bytes? { handshake.exported(label, count: count) }
}
