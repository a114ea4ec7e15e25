internal import CQUIC
internal import MartletRuntime
internal import MartletWire

extension QUICSession {
    /// How many large packets a stream may fill while others wait. Within a host bytes cost little time, and to wake
    /// their reader costs much.
    private static let largeTurn = 16

    /// Writes to `batch` what may go out now, within ngtcp2's pace, and arms the timer for the rest.
    func write(to batch: PacketBatch) {
        guard let core else { return }
        let now = endpoint.loop.now.nanoseconds
        let size = packetSize(core, at: endpoint.loop.now)
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
        drawMemory()
    }

    /// How large the next packet may be.
    private func packetSize(_ core: OpaquePointer, at now: Instant) -> Int {
        guard let connection, remoteAddress.ip.isLoopback else { return PacketBatch.packetSize }
        let patience = Duration.nanoseconds(Int64(clamping: ngtcp2_conn_get_pto(core))) * 3
        let isLarge = largePackets.allow(
            sent: connection.bytesSent, acknowledged: connection.bytesAcknowledged, at: now, patience: patience)
        return isLarge ? PacketBatch.largestPacket : PacketBatch.packetSize
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
                if written > 0 { connection.rotate(afterPackets: size > PacketBatch.packetSize ? Self.largeTurn : 1) }
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

/// How large the packets of a session are that stays within this host.
///
/// No line bounds them there, so nothing is probed; but what stands between the two may not take them all the same. They
/// begin when much is sent, and end for good where the other side acknowledges nothing of them.
enum LargePackets {
    /// Not on a way that leaves the host, or not after they were tried in vain.
    case never
    /// Little has been sent so far.
    case notYet
    /// Since when they are sent, and how many bytes of streams had been sent before.
    case tried(since: Instant, after: UInt64)
    /// The other side has acknowledged some.
    case proven

    /// How many bytes of streams are sent in small ones first.
    static let beginning: UInt64 = 128 << 10

    /// Takes note of how many bytes of streams were sent and acknowledged until `now`, where an answer takes `patience` at
    /// most, and says whether packets may be large.
    mutating func allow(sent: UInt64, acknowledged: UInt64, at now: Instant, patience: Duration) -> Bool {
        switch self {
        case .never: return false
        case .proven: return true
        case .notYet:
            guard sent >= Self.beginning else { return false }
            self = .tried(since: now, after: sent)
            return true
        case .tried(let since, let before):
            if acknowledged > before {
                self = .proven
                return true
            }
            guard now - since > patience else { return true }
            self = .never
            return false
        }
    }
}
