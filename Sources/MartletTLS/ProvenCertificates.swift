internal import MartletCrypto
internal import MartletWire

/// Certificates whose signatures were found right, and the host keys that they prove: a machine.
///
/// A certificate does not change, and a peer shows the same one each time, so a peer that comes back costs no check of
/// signatures. That it holds the certificate's key, each handshake proves anew.
struct ProvenCertificates {
    /// How many are remembered: about half a kilobyte each.
    static let capacity = 256

    private struct Entry {
        var key: PublicKey
        var notBefore: Int64
        var notAfter: Int64
    }

    private var entries: [Bytes: Entry] = [:]
    /// In the order in which they came, as a ring.
    private var order: [Bytes] = []
    private var oldest = 0

    /// How many are remembered now.
    var count: Int { entries.count }

    /// The host key that `der` proves at `now`, which is checked unless it was before.
    mutating func verify(_ der: Bytes, at now: Int64) throws(CertificateError) -> PublicKey {
        if let entry = entries[der], entry.notBefore <= now, now <= entry.notAfter { return entry.key }
        let certificate = try Certificate(der: der)
        let key = try certificate.verify(at: now)
        remember(certificate, key)
        return key
    }

    private mutating func remember(_ certificate: Certificate, _ key: PublicKey) {
        let der = certificate.der
        guard entries[der] == nil else { return }
        entries[der] = Entry(key: key, notBefore: certificate.notBefore, notAfter: certificate.notAfter)
        if order.count < Self.capacity {
            order.append(der)
        } else {
            entries[order[oldest]] = nil
            order[oldest] = der
            oldest = (oldest + 1) % Self.capacity
        }
    }
}
