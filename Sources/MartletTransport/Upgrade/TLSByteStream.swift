internal import MartletRuntime
internal import MartletTLS
internal import MartletWire

/// An ordered stream of bytes inside a TLS session whose handshake is done, on another one that carries it.
///
/// The end of the carrier is the end here, with or without a close alert: what runs inside says goodbye by itself.
final class TLSByteStream: ByteStream {
    private let carrier: ByteStream
    private let session: TLSSession
    private let buffers: ConnectionBuffers
    private var broken: NetworkError.Reason?
    private var isClosed = false

    /// Takes over `carrier`.
    init(_ carrier: ByteStream, _ session: TLSSession, _ buffers: ConnectionBuffers) {
        self.carrier = carrier
        self.session = session
        self.buffers = buffers
        super.init(loop: carrier.loop)
        carrier.onReadable = { self.onReadable?() }
        carrier.onWritable = { self.onWritable?() }
    }

    override var localAddress: SocketAddress? { carrier.localAddress }
    override var remoteAddress: SocketAddress? { carrier.remoteAddress }
    override var failure: NetworkError.Reason? { broken ?? carrier.failure }
    override var queued: Int { carrier.queued }

    override func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        guard !isClosed else { return .failed(.closed) }
        while true {
            if let broken { return .failed(broken) }
            do throws(TLSError) {
                let count = try session.read(into: buffer)
                transmit()
                if count > 0 { return .bytes(count) }
                if session.isFinished { return .end }
                if let result = try fill() { return result }
            } catch {
                // What is left to send is the alert.
                transmit()
                broken = .reset
            }
        }
    }

    /// Takes in what the carrier has. Gives what came of it where that was nothing.
    private func fill() throws(TLSError) -> ReadResult? {
        let (slab, start) = buffers.sealed.room(ConnectionBuffers.sealedSize)
        let result = carrier.read(
            into: UnsafeMutableRawBufferPointer(start: slab.base + start, count: ConnectionBuffers.sealedSize))
        guard case .bytes(let count) = result else { return result }
        // The session copies it, so the next piece goes to the same place.
        let piece = Bytes(slab: slab, offset: start, count: count)
        try session.receive(piece.span)
        return nil
    }

    override func readLater() {
        if !isClosed { carrier.readLater() }
    }

    @discardableResult
    override func write(_ bytes: Bytes) -> Bool {
        guard !isClosed, broken == nil else { return true }
        do throws(TLSError) {
            try session.write(bytes.span)
        } catch {
            broken = .reset
            carrier.readLater()
        }
        return transmit()
    }

    /// Hands the carrier what the session has for it.
    @discardableResult
    private func transmit() -> Bool {
        var hasRoom = true
        while let bytes = session.nextTransmit() { hasRoom = carrier.write(bytes) }
        return hasRoom
    }

    override func finish() {
        guard !isClosed, broken == nil else { return }
        session.finish()
        transmit()
        carrier.finish()
    }

    override func close() {
        guard !isClosed else { return }
        if broken == nil { session.finish() }
        transmit()
        detach()
        carrier.close()
    }

    override func reset() {
        detach()
        carrier.reset()
    }

    private func detach() {
        isClosed = true
        onReadable = nil
        onWritable = nil
    }
}
