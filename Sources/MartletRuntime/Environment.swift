public import MartletWire

/// Everything that a node gets from outside: time, randomness, the network, names, files, and work done elsewhere.
///
/// There are two. `SystemEnvironment` is this machine; a host of a simulated world is the other. A node that reaches
/// the outside only through its environment runs in both, unchanged, and in the second it repeats itself from a seed.
///
/// It may be handed to any thread, but all but `loop`, `wallTime` and `bootTime` is used on its loop alone.
public protocol Environment: AnyObject, Sendable {
    /// The loop on which everything of this environment calls back.
    var loop: EventLoop { get }

    /// What a calendar clock shows. It may jump; for everything but showing and storing there is `loop.now`.
    var wallTime: WallTime { get }

    /// How long ago the machine was started, the time counted in which it slept. It never goes back, and nobody sets it: for
    /// ages that go on while the machine sleeps, which the loop's clock does not.
    var bootTime: Instant { get }

    /// Random bytes fit for keys; in a simulated world they follow from its seed.
    var random: RandomSource { get }

    /// Where log lines go.
    var log: Logger { get }

    /// Opens a UDP socket at `address`, whose port may be 0 for any.
    func bindUDP(_ address: SocketAddress, options: UDPOptions) throws(NetworkError) -> UDPSocket

    /// Accepts TCP connections at `address`, whose port may be 0 for any.
    func listenTCP(_ address: SocketAddress, options: TCPOptions) throws(NetworkError) -> TCPListener

    /// Connects to `address` over TCP, from `local` where that is given, by `deadline`.
    nonisolated(nonsending) func connectTCP(
        _ address: SocketAddress, from local: SocketAddress?, options: TCPOptions, deadline: Instant
    ) async throws(NetworkError) -> ByteStream

    /// Asks the names' servers for the records of `name`, by `deadline`.
    nonisolated(nonsending) func lookUp(
        _ name: String, _ type: RecordType, deadline: Instant
    ) async throws(NameError) -> [NameRecord]

    /// The addresses that this host's network interfaces have now.
    func interfaces() throws(NetworkError) -> [NetworkInterface]

    /// Calls `change` after the interfaces or their addresses have changed, as long as the result is kept.
    func watchInterfaces(_ change: @escaping () -> Void) throws(NetworkError) -> InterfaceWatch

    /// How busy the machine is; `nil` if nothing says so, as in a simulated world.
    var machineUse: MachineUse? { get }

    /// Where files are kept.
    var files: any FileStore { get }

    /// Runs `work` away from the loop and comes back with what it returns. For what computes or blocks for long.
    nonisolated(nonsending) func background<Result: Sendable>(
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result
}

extension Environment {
    /// Nothing says so.
    public var machineUse: MachineUse? { nil }
}

/// Random bytes from an environment, as Swift's own protocol for them.
///
/// A copy draws from the same source. It belongs to the environment's loop.
public struct RandomSource: RandomNumberGenerator {
    private final class Pool {
        let refill: (UnsafeMutableRawBufferPointer) -> Void
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 256, alignment: 8)
        var used = 256

        init(refill: @escaping (UnsafeMutableRawBufferPointer) -> Void) { self.refill = refill }

        deinit {
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            memory.deallocate()
        }
    }

    private let pool: Pool

    /// A source that takes its bytes from `refill`, 256 at a time.
    public init(refill: @escaping (UnsafeMutableRawBufferPointer) -> Void) {
        pool = Pool(refill: refill)
    }

    /// The next eight bytes as a number. What was handed out is wiped here.
    public mutating func next() -> UInt64 {
        if pool.used == pool.memory.count {
            pool.refill(pool.memory)
            pool.used = 0
        }
        let value = pool.memory.load(fromByteOffset: pool.used, as: UInt64.self)
        pool.memory.storeBytes(of: 0, toByteOffset: pool.used, as: UInt64.self)
        pool.used += 8
        return value
    }
}

/// A network interface with an address; one that has several is listed once for each.
public struct NetworkInterface: Hashable, Sendable {
    /// The system's name for it: `eth0`.
    public var name: String
    /// The system's number for it, which is an IPv6 scope's as well.
    public var index: UInt32
    /// The address.
    public var address: IPAddress
    /// How many leading bits of the address the whole link shares.
    public var prefixLength: Int
    /// Whether it is up.
    public var isUp: Bool
    /// Whether what is sent to it comes back to this host alone.
    public var isLoopback: Bool

    /// An interface with all that is known of it.
    public init(
        name: String, index: UInt32, address: IPAddress, prefixLength: Int, isUp: Bool = true, isLoopback: Bool = false
    ) {
        self.name = name
        self.index = index
        self.address = address
        self.prefixLength = prefixLength
        self.isUp = isUp
        self.isLoopback = isLoopback
    }
}

/// Keeps a callback for changes of the interfaces alive; releasing it ends the watching.
open class InterfaceWatch {
    /// A watch that does nothing yet.
    public init() {}
}

/// A kind of record that the names' servers keep.
public enum RecordType: Hashable, Sendable {
    /// IPv4 addresses.
    case a
    /// IPv6 addresses.
    case aaaa
    /// Free text.
    case txt
    /// Hosts and ports of a service.
    case srv
}

/// A record of a name.
public enum NameRecord: Hashable, Sendable {
    /// The answer to `a` and `aaaa`.
    case address(IPAddress)
    /// The answer to `txt`: the strings of one record, joined.
    case text(Bytes)
    /// The answer to `srv`.
    case service(target: String, port: UInt16, priority: UInt16, weight: UInt16)
}

/// Why a name could not be looked up.
public enum NameError: Error, Hashable, Sendable {
    /// There is no such name.
    case notFound
    /// The name has no record of this type.
    case noRecords
    /// The text is no name.
    case malformed
    /// No server answered by the deadline.
    case timedOut
    /// No server could be asked, or it refused or failed.
    case unavailable(String)
    /// The conversation was cancelled, or the environment has been shut down.
    case cancelled
}
