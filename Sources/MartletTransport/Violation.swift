public import MartletRuntime

/// How the other side of a connection broke the rules, by kind: each ends the connection, and is counted under its name.
public enum Violation: String, MetricLabels {
    /// A record that does not open with the connection's keys.
    case noiseRecord = "noise_record"
    /// A Yamux frame of another version.
    case yamuxVersion = "yamux_version"
    /// A Yamux frame of a type that does not exist.
    case yamuxType = "yamux_type"
    /// A Yamux frame of the session that names a stream, or one of a stream that names none.
    case yamuxWrongStream = "yamux_wrong_stream"
    /// A Yamux frame for a stream that nobody has opened.
    case yamuxUnknownStream = "yamux_unknown_stream"
    /// A Yamux stream opened under a number that is in use, or that is not the opener's to give.
    case yamuxStreamNumber = "yamux_stream_number"
    /// More data on a Yamux stream than its window allows, or a frame that is larger than any window.
    case yamuxOversize = "yamux_oversize"
    /// A Yamux window that grows beyond 4 GiB.
    case yamuxWindow = "yamux_window"
    /// Data behind the end of a Yamux stream.
    case yamuxDataAfterEnd = "yamux_data_after_end"
    /// More Yamux pings in a second than are tolerated.
    case yamuxPings = "yamux_pings"
    /// More Yamux farewells than are tolerated.
    case yamuxFarewells = "yamux_farewells"
    /// Yamux frames that make answers necessary which are not taken.
    case yamuxAnswers = "yamux_answers"
    /// Something that QUIC does not allow, or that the other side says of this one.
    case quic

    /// The label that the counters bear.
    public static let names = ["reason"]

    /// The kind of `error`; `nil` where it is silence and no fault.
    init?(_ error: YamuxError) {
        switch error {
        case .wrongVersion: self = .yamuxVersion
        case .unknownType: self = .yamuxType
        case .wrongStream: self = .yamuxWrongStream
        case .neverOpened: self = .yamuxUnknownStream
        case .wrongNumber: self = .yamuxStreamNumber
        case .windowExceeded: self = .yamuxOversize
        case .windowOverflow: self = .yamuxWindow
        case .dataAfterEnd: self = .yamuxDataAfterEnd
        case .tooManyPings: self = .yamuxPings
        case .tooManyFarewells: self = .yamuxFarewells
        case .tooManyAnswers: self = .yamuxAnswers
        case .unanswered: return nil
        }
    }
}
