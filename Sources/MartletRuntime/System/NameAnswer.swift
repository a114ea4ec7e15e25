internal import CCares
internal import Glibc
internal import MartletWire

/// What c-ares calls back with, as records.
enum NameAnswer {
    /// The class of all names here (RFC 1035 §3.2.4).
    static let internetClass: Int32 = 1

    /// The answer to a question for addresses.
    static let addresses: ares_addrinfo_callback = { argument, status, _, result in
        defer { if let result { ares_freeaddrinfo(result) } }
        var records: [NameRecord] = []
        var next = result?.pointee.nodes
        while let node = next?.pointee {
            if let memory = node.ai_addr, let ip = SystemAddress.load(memory)?.ip { records.append(.address(ip)) }
            next = node.ai_next
        }
        NameAnswer.give(records, status, to: argument)
    }

    /// The answer to a question for text.
    static let text: ares_callback = { argument, status, _, bytes, count in
        var first: UnsafeMutablePointer<ares_txt_ext>?
        let status = status == ARES_SUCCESS ? ares_parse_txt_reply_ext(bytes, count, &first) : status
        defer { ares_free_data(first) }
        var texts: [[UInt8]] = []
        var next = first
        while let piece = next?.pointee {
            if piece.record_start != 0 || texts.isEmpty { texts.append([]) }
            texts[texts.count - 1] += UnsafeBufferPointer(start: piece.txt, count: piece.length)
            next = piece.next
        }
        NameAnswer.give(texts.map { .text(Bytes($0)) }, status, to: argument)
    }

    /// The answer to a question for services. What is offered under no usable name is left out.
    static let services: ares_callback = { argument, status, _, bytes, count in
        var first: UnsafeMutablePointer<ares_srv_reply>?
        let status = status == ARES_SUCCESS ? ares_parse_srv_reply(bytes, count, &first) : status
        defer { ares_free_data(first) }
        var records: [NameRecord] = []
        var next = first
        while let reply = next?.pointee {
            if let target = try? DomainName(String(cString: reply.host)).text {
                records.append(
                    .service(target: target, port: reply.port, priority: reply.priority, weight: reply.weight))
            }
            next = reply.next
        }
        NameAnswer.give(records, status, to: argument)
    }

    /// Tells the look-up that c-ares was given as `argument` what came of it.
    private static func give(_ records: [NameRecord], _ status: Int32, to argument: UnsafeMutableRawPointer?) {
        let lookup = NameLookup.returned(argument)
        if status != ARES_SUCCESS {
            lookup.answer(.failure(NameError(status: status)))
        } else {
            lookup.answer(records.isEmpty ? .failure(.noRecords) : .success(records))
        }
    }
}

extension NameError {
    /// What a status of c-ares means.
    init(status: Int32) {
        switch status {
        case ARES_ENOTFOUND: self = .notFound
        case ARES_ENODATA: self = .noRecords
        case ARES_EBADNAME: self = .malformed
        case ARES_ETIMEOUT: self = .timedOut
        case ARES_ECANCELLED, ARES_EDESTRUCTION: self = .cancelled
        default: self = .unavailable(String(cString: ares_strerror(status)))
        }
    }
}
