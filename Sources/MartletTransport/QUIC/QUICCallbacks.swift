internal import CQUIC
internal import MartletRuntime

/// The session that ngtcp2 calls back for.
private func session(_ pointer: UnsafeMutableRawPointer?) -> QUICSession {
    // ngtcp2's connection is deleted before its session is released.
    Unmanaged<QUICSession>.fromOpaque(pointer.unsafelyUnwrapped).takeUnretainedValue()
}

/// The stream that ngtcp2 calls back for, or `nil` where it was given none.
private func stream(_ pointer: UnsafeMutableRawPointer?) -> QUICStream? {
    // The connection keeps a stream until ngtcp2 has said that it is closed, or is deleted.
    pointer.map { Unmanaged<QUICStream>.fromOpaque($0).takeUnretainedValue() }
}

extension ngtcp2_callbacks {
    /// What QUIC sessions have ngtcp2 call: its own functions for cryptography, ours for the rest.
    static var sessions: ngtcp2_callbacks {
        var callbacks = ngtcp2_callbacks()
        callbacks.setCryptography()
        callbacks.setConnection()
        callbacks.setIDs()
        callbacks.setStreams()
        return callbacks
    }

    private mutating func setCryptography() {
        client_initial = ngtcp2_crypto_client_initial_cb
        recv_client_initial = ngtcp2_crypto_recv_client_initial_cb
        recv_crypto_data = { core, level, offset, data, count, user in
            session(user).receivedCrypto(core, level, offset, UnsafeRawBufferPointer(start: data, count: count))
        }
        encrypt = ngtcp2_crypto_encrypt_cb
        decrypt = ngtcp2_crypto_decrypt_cb
        hp_mask = ngtcp2_crypto_hp_mask_cb
        recv_retry = ngtcp2_crypto_recv_retry_cb
        update_key = ngtcp2_crypto_update_key_cb
        delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb
        delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb
        version_negotiation = ngtcp2_crypto_version_negotiation_cb
    }

    private mutating func setConnection() {
        rand = { target, count, context in
            guard let context, let handle = context.pointee.native_handle else { return }
            let endpoint = Unmanaged<QUICEndpoint>.fromOpaque(handle).takeUnretainedValue()
            endpoint.fill(UnsafeMutableRawBufferPointer(start: target, count: count))
        }
        get_path_challenge_data = { _, target, user in
            session(user).endpoint.fill(
                UnsafeMutableRawBufferPointer(start: target, count: Int(NGTCP2_PATH_CHALLENGE_DATALEN)))
            return 0
        }
        handshake_completed = { _, user in session(user).handshakeCompleted() ? 0 : NGTCP2_ERR_CALLBACK_FAILURE }
        path_validation = { _, _, _, _, result, user in
            if result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS { session(user).pathValidated() }
            return 0
        }
        recv_stateless_reset = { _, _, user in
            session(user).statelessResetReceived()
            return 0
        }
    }

    private mutating func setIDs() {
        get_new_connection_id = { _, id, token, _, user in
            let session = session(user)
            id!.pointee = session.endpoint.makeID(for: session).cid
            return session.endpoint.writeResetToken(for: id!, to: token!) ? 0 : NGTCP2_ERR_CALLBACK_FAILURE
        }
        remove_connection_id = { _, id, user in
            let session = session(user)
            session.endpoint.removeID(ConnectionID(id!.pointee), of: session)
            return 0
        }
        dcid_status = { _, status, _, _, token, user in
            guard let token else { return 0 }
            if status == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE {
                session(user).addResetToken(token)
            } else {
                session(user).removeResetToken(token)
            }
            return 0
        }
    }

    private mutating func setStreams() {
        stream_open = { _, id, user in
            guard let connection = session(user).connection else { return NGTCP2_ERR_CALLBACK_FAILURE }
            connection.opened(id)
            return 0
        }
        recv_stream_data = { _, flags, _, _, data, count, user, pointer in
            guard let stream = stream(pointer), let connection = session(user).connection else { return 0 }
            connection.received(
                UnsafeRawBufferPointer(start: data, count: count), on: stream,
                ends: flags & UInt32(NGTCP2_STREAM_DATA_FLAG_FIN) != 0)
            return 0
        }
        acked_stream_data_offset = { _, _, offset, count, user, pointer in
            guard let stream = stream(pointer) else { return 0 }
            session(user).connection?.acknowledged(stream, upTo: offset + count, count)
            return 0
        }
        stream_close = { core, _, id, _, user, pointer in
            guard let stream = stream(pointer) else { return 0 }
            session(user).connection?.ended(stream, wasLocal: ngtcp2_conn_is_local_stream(core, id) != 0)
            return 0
        }
        stream_reset = { _, _, _, code, user, pointer in
            guard let stream = stream(pointer) else { return 0 }
            session(user).connection?.wasReset(stream, code: code)
            return 0
        }
        extend_max_stream_data = { _, _, _, user, pointer in
            guard let stream = stream(pointer) else { return 0 }
            session(user).connection?.gainedCredit(stream)
            return 0
        }
        extend_max_local_streams_bidi = { _, _, user in
            session(user).connection?.mayOpenStreams()
            return 0
        }
    }
}
