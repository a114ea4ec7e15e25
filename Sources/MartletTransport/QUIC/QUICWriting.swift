internal import CQUIC
internal import MartletRuntime
internal import MartletWire

extension QUICSession {
    /// Writes to `batch` what may go out now, within ngtcp2's pace, and arms the timer for the rest.
    func write(to batch: PacketBatch) {
        guard let core else { return }
        let now = endpoint.loop.now.nanoseconds
        let size = min(ngtcp2_conn_get_max_tx_udp_payload_size(core), PacketBatch.packetSize)
        var budget = max(ngtcp2_conn_get_send_quantum(core) / max(size, 1), 1)
        var ecn: UInt8 = 0
        connection?.retryBlocked()
        while budget > 0, !batch.isBlocked {
            let written = writePacket(core, to: batch.room, size, &ecn, now)
            if written < 0 {
                batch.send()
                return fail(Int32(truncatingIfNeeded: written))
            }
            if written == 0 { break }
            let path = endpoint.outPath
            let source = path.local.ip
            batch.add(
                written, to: path.remote, from: source.isUnspecified ? nil : source,
                ecn: ECN(rawValue: ecn) ?? .notCapable)
            budget -= 1
            countPacket()
        }
        batch.send()
        // The first packets may go out as they come (RFC 9002 §7.7): pacing them would delay the handshake.
        if hasUsedFirstBurst { ngtcp2_conn_update_pkt_tx_time(core, now) }
        armTimer()
    }

    /// Writes one packet, with the bytes of as many streams as fit. Says its size, or 0 where there is nothing to send
    /// now, or ngtcp2's error.
    private func writePacket(
        _ core: OpaquePointer, to target: UnsafeMutablePointer<UInt8>, _ size: Int, _ ecn: inout UInt8, _ now: UInt64
    ) -> Int {
        let path = endpoint.outPath.path
        while let connection, let stream = connection.nextToSend() {
            var taken: ngtcp2_ssize = -1
            var ended = false
            let written = stream.withParts { parts, count, ends in
                ended = ends
                let flags = UInt32(NGTCP2_WRITE_STREAM_FLAG_MORE) | (ends ? UInt32(NGTCP2_WRITE_STREAM_FLAG_FIN) : 0)
                return cq_write(core, path, &ecn, target, size, &taken, flags, stream.id, parts, count, now)
            }
            if taken >= 0 {
                stream.sent(taken, ends: ended)
                connection.sent(taken)
            }
            switch Int32(truncatingIfNeeded: written) {
            case NGTCP2_ERR_WRITE_MORE: continue
            case NGTCP2_ERR_STREAM_DATA_BLOCKED:
                // Where the connection has no credit, none of its streams can send; they stay where they are.
                if ngtcp2_conn_get_max_data_left(core) == 0 { return finishPacket(core, to: target, size, &ecn, now) }
                connection.block(stream)
            case NGTCP2_ERR_STREAM_SHUT_WR, NGTCP2_ERR_STREAM_NOT_FOUND: connection.wasStopped(stream)
            default:
                if written > 0 { connection.rotate() }
                return written
            }
        }
        return finishPacket(core, to: target, size, &ecn, now)
    }

    /// Finishes the packet that was begun, or writes one with what is not of a stream.
    private func finishPacket(
        _ core: OpaquePointer, to target: UnsafeMutablePointer<UInt8>, _ size: Int, _ ecn: inout UInt8, _ now: UInt64
    ) -> Int {
        cq_write(core, endpoint.outPath.path, &ecn, target, size, nil, 0, -1, nil, 0, now)
    }
}
