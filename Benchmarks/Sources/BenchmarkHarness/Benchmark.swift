public import CProbe

/// One thing to be measured, and what it is held against.
public struct Benchmark {
    /// Does the operation as many times as it is told.
    public typealias Body = (_ iterations: Int) throws -> Void

    /// What the subject is compared with in the same run.
    public enum Yardstick {
        /// Other code, measured in the same way, round by round beside the subject.
        case body(String, Body)
        /// A program that measures itself; `nanoseconds` finds in what it prints how long one operation took.
        case command(String, [String], nanoseconds: (String) -> Double?)

        var name: String {
            switch self {
            case .body(let name, _), .command(let name, _, _): name
            }
        }
    }

    /// A short name without blanks, which `--filter` and the thresholds know it by.
    public let name: String
    /// How many operations one iteration of the body does.
    public let operations: Int
    /// What it is compared with, if anything.
    public let yardstick: Yardstick?
    /// Makes the body, with whatever it needs prepared outside of what is measured.
    let prepare: () throws -> Body

    /// A benchmark whose body is made by `prepare`, which is called when it is to run and not before.
    public init(
        _ name: String, operations: Int = 1, yardstick: Yardstick? = nil, prepare: @escaping () throws -> Body
    ) {
        precondition(!name.contains(" "), "a benchmark's name has no blanks")
        self.name = name
        self.operations = operations
        self.yardstick = yardstick
        self.prepare = prepare
    }
}

/// Uses a value in a way that the optimiser cannot see through, so that what made it is not optimised away. Costs
/// no instruction of its own beyond having the value in memory.
@inlinable
@inline(__always)
public func consume<Value>(_ value: Value) {
    withUnsafePointer(to: value) { probe_keep($0, MemoryLayout<Value>.size) }
}

/// The same for what cannot leave its scope.
@inlinable
@inline(__always)
public func consume(_ span: RawSpan) {
    span.withUnsafeBytes { probe_keep($0.baseAddress, $0.count) }
}
