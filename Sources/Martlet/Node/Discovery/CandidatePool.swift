/// Values to draw from at random, in an order that follows from the calls alone: a machine.
struct CandidatePool<Value: Hashable> {
    private var values: [Value] = []
    private var places: [Value: Int] = [:]

    var count: Int { values.count }

    mutating func insert(_ value: Value) {
        guard places[value] == nil else { return }
        places[value] = values.count
        values.append(value)
    }

    mutating func remove(_ value: Value) {
        guard let place = places.removeValue(forKey: value) else { return }
        let last = values.removeLast()
        guard place < values.count else { return }
        values[place] = last
        places[last] = place
    }

    /// One of all.
    func draw(using generator: inout some RandomNumberGenerator) -> Value? {
        values.randomElement(using: &generator)
    }

    /// One that meets `condition`, found from a random place on.
    func first(
        using generator: inout some RandomNumberGenerator, where condition: (Value) -> Bool
    ) -> Value? {
        guard !values.isEmpty else { return nil }
        let start = Int(generator.next() % UInt64(values.count))
        for offset in 0..<values.count {
            let value = values[(start + offset) % values.count]
            if condition(value) { return value }
        }
        return nil
    }
}
