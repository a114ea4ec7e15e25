/// A step of a Noise handshake message (revision 34, §7.1).
enum NoiseToken: Equatable, Sendable {
    /// The sender's ephemeral public key.
    case e
    /// The sender's static public key, encrypted once there is a key.
    case s
    /// A key agreement; the initiator's key is named first.
    case ee, es, se, ss
    /// The next pre-shared key is mixed in.
    case psk
}

/// Who sends what in a handshake: a row of the table below, changed by its modifiers.
struct NoisePattern: Sendable {
    /// Whether a static public key is known to the other side beforehand.
    var initiatorIsKnown = false
    var responderIsKnown = false
    /// Message by message; the initiator sends the first, and then they take turns.
    var messages: [[NoiseToken]] = []

    /// How many pre-shared keys are mixed in.
    var presharedKeyCount: Int { messages.joined().count { $0 == .psk } }

    /// The pattern named `name` in the table, or `nil`.
    init?(named name: Substring) {
        guard let row = NoisePattern.table.first(where: { $0.name == name }) else { return nil }
        // A row reads `message, message, …`, behind `known parties: ` where there are any.
        let halves = row.script.split(separator: ": ")
        if halves.count == 2 {
            initiatorIsKnown = halves[0].contains("initiator")
            responderIsKnown = halves[0].contains("responder")
        }
        messages = halves[halves.count - 1].split(separator: ", ").map { message in
            message.split(separator: " ").compactMap { NoisePattern.tokens[$0] }
        }
    }

    /// Adds the modifier `pskN` (§9.4): a pre-shared key before the first message's tokens, or behind message
    /// N's. False if there is no such modifier, or no such message, or it is there already.
    mutating func modify(by modifier: Substring) -> Bool {
        guard modifier.hasPrefix("psk"), modifier.utf8.count == 4, let place = Int(modifier.dropFirst(3)) else {
            return false
        }
        switch place {
        case 0:
            guard messages[0].first != .psk else { return false }
            messages[0].insert(.psk, at: 0)
        case 1...messages.count:
            guard messages[place - 1].last != .psk else { return false }
            messages[place - 1].append(.psk)
        default:
            return false
        }
        return true
    }

    private static let tokens: [Substring: NoiseToken] = [
        "e": .e, "s": .s, "ee": .ee, "es": .es, "se": .se, "ss": .ss,
    ]

    /// The twelve fundamental interactive patterns (§7.5), and the deferred ones made from them (§7.6, §18.1).
    private static let table: [(name: Substring, script: Substring)] = [
        ("NN", "e, e ee"),
        ("NK", "responder: e es, e ee"),
        ("NX", "e, e ee s es"),
        ("XN", "e, e ee, s se"),
        ("XK", "responder: e es, e ee, s se"),
        ("XX", "e, e ee s es, s se"),
        ("KN", "initiator: e, e ee se"),
        ("KK", "initiator responder: e es ss, e ee se"),
        ("KX", "initiator: e, e ee se s es"),
        ("IN", "e s, e ee se"),
        ("IK", "responder: e es s ss, e ee se"),
        ("IX", "e s, e ee se s es"),

        ("NK1", "responder: e, e ee es"),
        ("NX1", "e, e ee s, es"),
        ("X1N", "e, e ee, s, se"),
        ("X1K", "responder: e es, e ee, s, se"),
        ("XK1", "responder: e, e ee es, s se"),
        ("X1K1", "responder: e, e ee es, s, se"),
        ("X1X", "e, e ee s es, s, se"),
        ("XX1", "e, e ee s, es s se"),
        ("X1X1", "e, e ee s, es s, se"),
        ("K1N", "initiator: e, e ee, se"),
        ("K1K", "initiator responder: e es, e ee, se"),
        ("KK1", "initiator responder: e, e ee se es"),
        ("K1K1", "initiator responder: e, e ee es, se"),
        ("K1X", "initiator: e, e ee s es, se"),
        ("KX1", "initiator: e, e ee se s, es"),
        ("K1X1", "initiator: e, e ee s, se es"),
        ("I1N", "e s, e ee, se"),
        ("I1K", "responder: e es s, e ee, se"),
        ("IK1", "responder: e s, e ee se es"),
        ("I1K1", "responder: e s, e ee es, se"),
        ("I1X", "e s, e ee s es, se"),
        ("IX1", "e s, e ee se s, es"),
        ("I1X1", "e s, e ee s, se es"),
    ]
}
