/// The conversations that a loop has begun and that have not ended, so that all of them can be ended: a simulated
/// host is killed in the middle of whatever it does.
///
/// It is `@unchecked Sendable` because it is touched only on its loop.
package final class Conversations: @unchecked Sendable {
    private var tasks: [Int: Task<Void, Never>] = [:]
    private var last = 0
    private var isOver = false

    /// None yet.
    package init() {}

    func begin() -> Int {
        last += 1
        return last
    }

    func began(_ number: Int, _ task: Task<Void, Never>) {
        if isOver { task.cancel() } else { tasks[number] = task }
    }

    func ended(_ number: Int) {
        tasks[number] = nil
    }

    /// Cancels all, in the order in which they began, and from now on each that begins.
    package func cancelAll() {
        isOver = true
        let all = tasks.sorted { $0.key < $1.key }
        tasks = [:]
        for (_, task) in all { task.cancel() }
    }
}
