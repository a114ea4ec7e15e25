/// A line of streams: they join at the end and leave at the front. One that is over is passed over.
///
/// Those that are over leave the line as soon as they are more than the others, so that a peer that opens and resets
/// streams without end never makes it longer than twice the streams that are open, and a few.
struct YamuxLine<Element> {
    /// How many that are over are left where they are, however few the others.
    private static var tolerated: Int { 32 }

    private var fifo: FIFO<Element> = FIFO()
    /// How many in it are over.
    private var gone = 0

    var isEmpty: Bool { fifo.count == gone }

    /// How many stand in it, those that are over and have not left included.
    var count: Int { fifo.count }

    mutating func append(_ element: Element) {
        fifo.append(element)
    }

    /// Takes the first for which `isOver` does not hold.
    mutating func popFirst(unless isOver: (Element) -> Bool) -> Element? {
        while let element = fifo.popFirst() {
            guard isOver(element) else { return element }
            gone -= 1
        }
        return nil
    }

    /// The first for which `isOver` does not hold. Those before it leave.
    mutating func first(unless isOver: (Element) -> Bool) -> Element? {
        while let element = fifo.first {
            guard isOver(element) else { return element }
            _ = fifo.popFirst()
            gone -= 1
        }
        return nil
    }

    /// Says that one of the line is over now, as `isOver` will say of it from here on.
    mutating func lostOne(_ isOver: (Element) -> Bool) {
        gone += 1
        guard gone > Self.tolerated, 2 * gone > fifo.count else { return }
        fifo.removeAll(where: isOver)
        gone = 0
    }
}
