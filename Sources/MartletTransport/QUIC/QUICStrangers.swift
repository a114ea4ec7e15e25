internal import CQUIC
internal import MartletCrypto
internal import MartletRuntime
internal import MartletTLS
internal import MartletWire

// What becomes of packets that belong to no connection: a new one, one small answer, or nothing.
extension QUICEndpoint {
    /// How long a dialer has to come back with the proof of its address.
    private static let retryTimeout: UInt64 = 10_000_000_000

    /// A packet with a long header that is of no connection of ours.
    func stranger(_ datagram: borrowing Datagram, _ header: ngtcp2_version_cid, needsVersion: Bool) {
        // A client's first datagram has at least this size, so that no answer is larger than what caused it.
        guard datagram.bytes.byteCount >= 1200 else {
            statistics[.malformed] += 1
            return
        }
        if needsVersion {
            statistics[.version] += 1
            return sendVersions(datagram, header)
        }
        var initial = ngtcp2_pkt_hd()
        let result = datagram.bytes.withUnsafeBytes {
            ngtcp2_accept(&initial, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), $0.count)
        }
        guard result == 0 else {
            statistics[.malformed] += 1
            return
        }
        accept(datagram, initial)
    }

    private func accept(_ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd) {
        guard let inbound else { return refuse(.notAdmitted) }
        guard statistics.connections < limits.connections else {
            refuse(.connections)
            return sendRefusal(datagram, initial, UInt64(NGTCP2_CONNECTION_REFUSED))
        }
        guard memory?.isExhausted != true else {
            refuse(.memory)
            return sendRefusal(datagram, initial, UInt64(NGTCP2_CONNECTION_REFUSED))
        }
        let source = datagram.source
        let original: ngtcp2_cid?
        switch proof(datagram, initial) {
        case .none: original = nil
        case .address(let id): original = id
        case .wrong:
            // Whoever bears a token of our Retry takes no other Retry (RFC 9000 §8.1.2).
            refuse(.token)
            return sendRefusal(datagram, initial, UInt64(NGTCP2_INVALID_TOKEN))
        }
        let newcomer = QUICNewcomer(source.ip, isProven: original != nil)
        if door.mustProve(newcomer, by: ConnectionID(initial.dcid), at: loop.now) {
            return askForProof(datagram, initial)
        }
        if let refusal = door.refusal(of: newcomer) { return turnAway(datagram, initial, newcomer, refusal) }
        switch inbound.admit(.quic(source), newcomer.isProven) {
        case .admitted(let admission):
            begin(datagram, initial, original: original, newcomer, inbound, admission)
        case .proveAddress: askForProof(datagram, initial)
        case .refused: turnAway(datagram, initial, newcomer, .notAdmitted)
        }
    }

    private func refuse(_ reason: QUICRefusal) { statistics[reason] += 1 }

    private func askForProof(_ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd) {
        refuse(.addressNotProven)
        door.askedForProof(ConnectionID(initial.dcid))
        sendRetry(datagram, initial)
    }

    /// Refuses `newcomer`, and tells it so if it is known to hear that: else it would wait until its dial times out
    /// (RFC 9000 §5.2.2).
    private func turnAway(
        _ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd, _ newcomer: QUICNewcomer, _ reason: QUICRefusal
    ) {
        refuse(reason)
        if newcomer.isProven { sendRefusal(datagram, initial, UInt64(NGTCP2_CONNECTION_REFUSED)) }
    }

    private func begin(
        _ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd, original: ngtcp2_cid?, _ newcomer: QUICNewcomer,
        _ inbound: Inbound, _ admission: Admission
    ) {
        let local = local(datagram.localAddress)
        let remote = datagram.source
        // The session calls this once, or is let go of without it: the place is given back on every way out.
        let session = QUICSession(self, role: .server, local: local, remote: remote, newcomer: newcomer) { result in
            switch result {
            case .success(let connection): inbound.connected(connection, admission)
            case .failure(let error):
                admission.giveBack()
                inbound.failed(.quic(remote), error)
            }
        }
        var settings = settings(for: remote)
        var params = params()
        params.original_dcid = original ?? initial.dcid
        params.original_dcid_present = 1
        if original != nil {
            params.retry_scid = initial.dcid
            params.retry_scid_present = 1
            settings.token = initial.token
            settings.tokenlen = initial.tokenlen
            settings.token_type = NGTCP2_TOKEN_TYPE_RETRY
        }
        var source = makeID(for: session).cid
        params.stateless_reset_token_present = 1
        _ = withUnsafeMutablePointer(to: &params.stateless_reset_token.0) { writeResetToken(for: &source, to: $0) }
        inPath.set(local: local, remote: remote)
        var core: OpaquePointer?
        var destination = initial.scid
        let result = cq_server_new(
            &core, &destination, &source, inPath.path, initial.version, callbacks, &settings, &params,
            session.memory, Unmanaged.passUnretained(session).toOpaque())
        guard result == 0, let core else {
            refuse(.connections)
            return forget(session)
        }
        session.adopt(core)
        keep(session)
        // The client goes on with the id that it made up, until it has seen ours.
        add(ConnectionID(initial.dcid), of: session)
        session.receive(datagram.bytes, from: remote, to: datagram.localAddress, ecn: datagram.ecn)
    }

    // MARK: Answers

    /// What the token in a first packet proves.
    private enum Proof {
        /// Nothing: there is none, or it is not one of our Retry.
        case none
        /// The address of its sender, who made up the id `original` before the Retry.
        case address(original: ngtcp2_cid)
        /// It is one of our Retry, but was given to another address, or too long ago.
        case wrong
    }

    /// A token that cannot be decrypted is not ours. Clients keep the tokens of servers that they have met, by a name that
    /// libp2p gives to all of them alike, so a foreign one says nothing against its sender (RFC 9000 §8.1.3).
    private func proof(_ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd) -> Proof {
        guard initial.tokenlen > 0 else { return .none }
        inPath.set(local: local(datagram.localAddress), remote: datagram.source)
        var original = ngtcp2_cid()
        var retried = initial.dcid
        let remote = inPath.path.pointee.remote
        let result = retrySecret.withUnsafeBytes {
            ngtcp2_crypto_verify_retry_token2(
                &original, initial.token, initial.tokenlen, $0.baseAddress!.assumingMemoryBound(to: UInt8.self),
                $0.count,
                initial.version, remote.addr, remote.addrlen, &retried, Self.retryTimeout, loop.now.nanoseconds)
        }
        switch result {
        case 0: return .address(original: original)
        case NGTCP2_CRYPTO_ERR_VERIFY_TOKEN: return .wrong
        default: return .none
        }
    }

    private func sendRetry(_ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd) {
        inPath.set(local: local(datagram.localAddress), remote: datagram.source)
        var random = environment.random
        var source = ConnectionID(using: &random).cid
        var destination = initial.scid
        var original = initial.dcid
        let remote = inPath.path.pointee.remote
        answer(datagram, isAllowed: door.allowsRetry(at: loop.now)) { room in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { token in
                let count = retrySecret.withUnsafeBytes {
                    ngtcp2_crypto_generate_retry_token2(
                        token.baseAddress!, $0.baseAddress!.assumingMemoryBound(to: UInt8.self), $0.count,
                        initial.version, remote.addr, remote.addrlen, &source, &original, loop.now.nanoseconds)
                }
                guard count > 0 else { return 0 }
                return ngtcp2_crypto_write_retry(
                    room.baseAddress!, room.count, initial.version, &destination, &source, &original,
                    token.baseAddress!, count)
            }
        }
    }

    private func sendVersions(_ datagram: borrowing Datagram, _ header: ngtcp2_version_cid) {
        guard header.dcidlen <= ConnectionID.maximumSize, header.scidlen <= ConnectionID.maximumSize else { return }
        let random = randomByte()
        answer(datagram, isAllowed: door.allowsAnswer(at: loop.now)) { room in
            var versions = [UInt32(NGTCP2_PROTO_VER_V1)]
            return ngtcp2_pkt_write_version_negotiation(
                room.baseAddress!, room.count, random, header.scid, header.scidlen, header.dcid, header.dcidlen,
                &versions, versions.count)
        }
    }

    private func sendRefusal(_ datagram: borrowing Datagram, _ initial: ngtcp2_pkt_hd, _ code: UInt64) {
        var destination = initial.scid
        var source = initial.dcid
        answer(datagram, isAllowed: door.allowsAnswer(at: loop.now)) { room in
            ngtcp2_crypto_write_connection_close(
                room.baseAddress!, room.count, initial.version, &destination, &source, code, nil, 0)
        }
    }

    /// Tells the sender of a packet for an unknown connection that we know nothing of it.
    func sendReset(_ datagram: borrowing Datagram) {
        // It must be shorter than what it answers, or two who forgot each other would go on for ever.
        let padding = min(datagram.bytes.byteCount - 1 - ResetToken.size, 32)
        guard padding >= NGTCP2_MIN_STATELESS_RESET_RANDLEN, let id = ConnectionID(ofShortHeader: datagram.bytes)
        else { return }
        var cid = id.cid
        let sent = answer(datagram, isAllowed: door.allowsAnswer(at: loop.now)) { room in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32 + ResetToken.size) { scratch in
                let token = scratch.baseAddress! + 32
                guard writeResetToken(for: &cid, to: token) else { return 0 }
                fill(UnsafeMutableRawBufferPointer(start: scratch.baseAddress, count: padding))
                return ngtcp2_pkt_write_stateless_reset(
                    room.baseAddress!, room.count, token, scratch.baseAddress!, padding)
            }
        }
        if sent { statistics.resetsSent += 1 }
    }

    /// Sends what `write` writes to where `datagram` came from, unless too many strangers were answered already. Returns
    /// whether it was sent.
    @discardableResult
    private func answer(
        _ datagram: borrowing Datagram, isAllowed: Bool, _ write: (UnsafeMutableBufferPointer<UInt8>) -> Int
    ) -> Bool {
        guard isAllowed else {
            statistics[.answersExhausted] += 1
            return false
        }
        let source = datagram.source
        let local = datagram.localAddress
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: PacketBatch.packetSize) { room in
            let count = write(room)
            guard count > 0 else { return false }
            let packet = UnsafeRawBufferPointer(start: room.baseAddress, count: count)
            return send(packet.bytes, to: source, from: local) == .sent
        }
    }
}
