import Foundation

/// The sanitizer that the tests run under. `Scripts/sanitize` tells it, for a program cannot see it in itself, by a
/// variable that does not begin as those of a node's configuration do: programs that tests start inherit it.
public enum Sanitizer {
    /// Its name, `address` or `thread`; `nil` when there is none.
    public static let name = ProcessInfo.processInfo.environment["TESTS_SANITIZER"]

    /// `full`, or `reduced` under a sanitizer, which makes everything some ten times slower.
    public static func amount<Value>(_ full: Value, reduced: Value) -> Value {
        name == nil ? full : reduced
    }
}
