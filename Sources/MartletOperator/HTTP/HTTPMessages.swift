internal import Foundation

/// A request as it came, whole.
struct HTTPRequest {
    /// `GET`; what asks for the head alone is shown as this, too.
    var method: String
    /// The path as it stands in the request's line, without escapes.
    var path: String
    /// What stands behind the question mark, in order.
    var query: [(name: String, value: String)] = []
    /// The field `Authorization`.
    var authorization: String?
    /// The field `Host`.
    var host: String?
    /// The body.
    var body: [UInt8] = []

    /// The value of `name` in the query.
    subscript(name: String) -> String? { query.first { $0.name == name }?.value }
}

/// What is answered.
struct HTTPAnswer {
    enum Content {
        /// All of it.
        case whole([UInt8])
        /// What is written to it, until it is ended.
        case stream(HTTPStream)
    }

    /// The status: 200.
    var status = 200
    /// The content's media type.
    var type: String
    /// The content.
    var content: Content
    /// Further fields.
    var fields: [(name: String, value: String)] = []
    /// What it is counted as, where it is a refusal.
    var refusal: HTTPRefusal?

    /// Plain text.
    static func text(_ text: String, status: Int = 200, refusal: HTTPRefusal? = nil) -> HTTPAnswer {
        HTTPAnswer(
            status: status, type: "text/plain; charset=utf-8", content: .whole(Array(text.utf8)), refusal: refusal)
    }

    /// `value` as JSON and a line break.
    static func json(_ value: some Encodable, status: Int = 200) -> HTTPAnswer {
        HTTPAnswer(status: status, type: "application/json", content: .whole(jsonLine(value)))
    }

    /// Bytes that only programs read.
    static func binary(_ bytes: [UInt8]) -> HTTPAnswer {
        HTTPAnswer(type: "application/octet-stream", content: .whole(bytes))
    }
}

/// `value` as one line of JSON, its names in the style of `snake_case` and in ascending order.
func jsonLine(_ value: some Encodable) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    // What is encoded here are structs of texts and numbers, for which there is always JSON.
    let data = (try? encoder.encode(value)) ?? Data("{}".utf8)
    return Array(data) + [UInt8(ascii: "\n")]
}
