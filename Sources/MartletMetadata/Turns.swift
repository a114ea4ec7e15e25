internal import MartletRuntime

/// Lets conversations on one loop go one at a time, in the order in which they came. A turn that lasts too long goes on, but
/// holds up nobody any more.
final class Turns {
    private let loop: EventLoop
    private let longest: Duration
    private var waiting: [(number: Int, signal: Signal)] = []
    private var current: Int?
    private var last = 0
    private var timer: LoopTimer!

    init(on loop: EventLoop, longest: Duration) {
        self.loop = loop
        self.longest = longest
        timer = LoopTimer(on: loop, label: "metadata turn") { [weak self] in self?.next() }
    }

    /// Waits for its turn. Returns the number by which it is ended.
    nonisolated(nonsending) func begin() async throws(CancellationError) -> Int {
        last += 1
        let number = last
        guard current != nil else {
            hold(number)
            return number
        }
        let signal = Signal(on: loop)
        waiting.append((number, signal))
        do throws(CancellationError) {
            try await signal.wait()
        } catch {
            waiting.removeAll { $0.number == number }
            end(number)
            throw error
        }
        return number
    }

    /// The turn `number` is over.
    func end(_ number: Int) {
        if current == number { next() }
    }

    private func hold(_ number: Int) {
        current = number
        timer.arm(after: longest)
    }

    private func next() {
        current = nil
        timer.cancel()
        guard !waiting.isEmpty else { return }
        let (number, signal) = waiting.removeFirst()
        hold(number)
        signal.signal()
    }
}
