internal import MartletWire

/// What a Yamux machine needs of each stream's owner.
protocol YamuxUser: AnyObject {
    /// Takes bytes that came in, which may be a slice of a larger slab.
    func deliver(_ bytes: Bytes)
    /// The other side has ended its direction.
    func deliverEnd()
    /// The other side has broken off the stream.
    func deliverBreak(code: UInt64)
    /// Gives output, as much as there is and fits, and says what is left.
    func takeOutput(into buffer: UnsafeMutableRawBufferPointer) -> (count: Int, rest: StreamLink.Output)
    /// What there is to send.
    var output: StreamLink.Output { get }
    /// Whether there is memory for a larger window.
    var hasMemoryToGrow: Bool { get }
    /// Credit is to be reported in steps of so many bytes from now on.
    func setCreditStep(_ step: Int)
    /// The stream concerns the machine no longer.
    func detach()
}
