internal import MartletIdentity
internal import MartletRuntime
internal import MartletWire

extension StoreLimits {
    /// `change` with everything in it cut to what may be stored, or `nil` where it is refused. What is kept pins no
    /// more memory than it needs.
    func bounded(_ change: PeerChange) -> PeerChange? {
        switch change {
        case .seen, .kept, .forgotten: return change
        case .addresses(let peer, let list, let source):
            // More than twice as many would only push each other out.
            let good = list.prefix(2 * addresses).filter(isGood).map { $0.compacted() }
            return .addresses(peer, good, source)
        case .connected(let peer, let address):
            return .connected(peer, address.flatMap { isGood($0) ? $0.compacted() : nil })
        case .met(let peer, let network): return .met(peer, network: text(network))
        case .proved(let peer, let topics): return .proved(peer, topics: bounded(topics))
        case .identified(let peer, let agent): return .identified(peer, agent: text(agent))
        case .failed(let peer, let address, let reason):
            guard isGood(address) else { return nil }
            return .failed(peer, address.compacted(), text(reason))
        case .metadata(let metadata): return bounded(metadata).map { .metadata($0) }
        case .evidence(let evidence):
            return .evidence(
                Evidence(
                    about: evidence.about, kind: text(evidence.kind), value: text(evidence.value, most: 4 * textSize),
                    witness: text(evidence.witness)))
        case .quality(let peer, let sample): return .quality(peer, sample.bounded)
        case .judged(let peer, let reason, let points):
            return .judged(peer, reason: text(reason), points: max(-100, min(100, points)))
        }
    }

    private func isGood(_ address: Multiaddr) -> Bool { address.bytes.count <= addressSize }

    private func bounded(_ topics: [Bytes]) -> [Bytes] {
        topics.prefix(entries).filter { $0.count <= 64 }.map { $0.compacted() }
    }

    private func bounded(_ metadata: PeerMetadata) -> PeerMetadata? {
        guard metadata.record.count <= recordSize, metadata.sequence <= UInt64(Int64.max) else { return nil }
        return PeerMetadata(
            peer: metadata.peer, sequence: metadata.sequence, record: metadata.record.compacted(),
            name: text(metadata.name), version: text(metadata.version), type: text(metadata.type),
            nat: text(metadata.nat), capabilities: metadata.capabilities.prefix(entries).map { text($0) },
            topics: bounded(metadata.topics), members: bounded(metadata.members),
            services: metadata.services.prefix(entries).map {
                PeerService(
                    name: text($0.name), port: $0.port, description: text($0.description, most: descriptionSize))
            })
    }

    /// `text` cut to whole characters of at most so many bytes. What could steer a terminal, or turn a line around,
    /// is replaced, so that reading the database by hand is safe.
    func text(_ text: String, most: Int? = nil) -> String {
        let most = most ?? textSize
        let isPlain = text.utf8.count <= most && text.utf8.allSatisfy { 0x20..<0x7F ~= $0 }
        if isPlain { return text }
        var result = ""
        var size = 0
        for scalar in text.unicodeScalars {
            let kept = TerminalText.isSafe(scalar) ? scalar : "\u{FFFD}"
            size += UTF8.width(kept)
            if size > most { break }
            result.unicodeScalars.append(kept)
        }
        return result
    }
}

extension QualitySample {
    /// Small enough that their sums over an hour stay far within what the database can count.
    private static let most = 1 << 40

    fileprivate var bounded: QualitySample {
        func bounded(_ number: Int) -> Int { max(0, min(Self.most, number)) }
        func bounded(_ duration: Duration) -> Duration { max(.zero, min(.seconds(3600), duration)) }
        return QualitySample(
            roundTrip: roundTrip.map(bounded), jitter: bounded(jitter), packets: bounded(packets),
            lost: min(bounded(lost), bounded(packets)), bytesIn: bounded(bytesIn), bytesOut: bounded(bytesOut),
            connected: bounded(connected))
    }
}

extension PeerChange {
    /// About how many bytes of memory it keeps.
    var size: Int {
        switch self {
        case .seen, .kept, .forgotten, .connected(_, nil): 128
        case .quality: 192
        case .met(_, let text), .identified(_, let text): 128 + text.utf8.count
        case .proved(_, let topics): topics.reduce(128) { $0 + 96 + $1.count }
        case .addresses(_, let list, _): list.reduce(160) { $0 + $1.bytes.count + 96 }
        case .connected(_, let address?): 256 + address.bytes.count
        case .failed(_, let address, let reason): 256 + address.bytes.count + reason.utf8.count
        case .evidence(let evidence):
            256 + evidence.kind.utf8.count + evidence.value.utf8.count + evidence.witness.utf8.count
        case .judged(_, let reason, _): 160 + reason.utf8.count
        case .metadata(let metadata):
            metadata.services.reduce(512 + metadata.record.count) {
                $0 + 64 + $1.name.utf8.count + $1.description.utf8.count
            } + metadata.capabilities.reduce(0) { $0 + 32 + $1.utf8.count }
                + (metadata.topics + metadata.members).reduce(0) { $0 + 96 + $1.count }
        }
    }
}
