import MartletRuntime
public import MartletWire

/// A computer in a simulated world.
///
/// Code runs on it by `start`, over an `Environment` of its own. It can be paused, killed and restarted with its disk
/// kept, and moved to another network, at any time.
public final class Host {
    /// The code that a host runs, from its start on.
    public typealias Program = nonisolated(nonsending) (SimulatedEnvironment) async throws -> Void

    /// What a host is doing.
    public enum State: Hashable, Sendable {
        /// It runs.
        case up
        /// It stands still: nothing runs and nothing is lost, but what comes in beyond what its buffers hold.
        case paused
        /// It is off.
        case down
    }

    // What every packet looks at stands first, and together: with many hosts, memory that is far is what takes time.

    /// Which of the world's hosts it is.
    public let number: Int
    // A world owns its hosts, and is never used through them once it is gone.
    unowned(unsafe) let world: World
    /// The environment of what runs on it now.
    public private(set) var environment: SimulatedEnvironment! = nil
    /// The first of `addresses`, and whether there are others.
    private var firstAddress = IPAddress.anyV4
    private var hasOthers = false
    /// Whether it runs.
    public private(set) var state = State.up
    /// Its line to its network. The direction to the host is the world's, by number, so that whoever sends to it need
    /// not touch the host.
    @exclusivity(unchecked) var up = Line(LinkConditions())
    /// The network that it was attached to last, which it sends to.
    public private(set) var network: Network?
    /// Its name, which stands in log lines.
    public let name: String
    /// What it keeps when it is killed.
    public let disk: SimulatedDisk
    /// What the faults of a schedule do to its line now.
    var trouble: LineTrouble?
    /// How far its calendar clock is ahead of the world's.
    public var wallClockOffset = Duration.zero
    /// How long the host has been asleep.
    public private(set) var sleptFor = Duration.zero
    /// How many bytes of a TCP stream it keeps for a reader.
    public var tcpReceiveBuffer = 6 << 20

    /// Has the host wake from a sleep of `duration`: its calendar clock and the time since its start go on, its loop's clock,
    /// which stood still, does not.
    public func wake(after duration: Duration) {
        sleptFor += duration
        wallClockOffset += duration
    }
    private(set) var addresses: [NetworkInterface] = [] {
        didSet {
            firstAddress = addresses.first?.address ?? .anyV4
            hasOthers = addresses.count > 1
        }
    }
    /// In which network each of the addresses is.
    private var networks: [Network] = []
    private var interfacesMade: UInt32 = 0
    private var programs: [Program] = []
    private var held: [Packet] = []
    private var heldTimers: [LoopTimer] = []
    private var isHeld = false
    private var owesInterfaceChange = false

    /// How many packets wait for a paused host at the most.
    static let heldPackets = 1024

    init(name: String, number: Int, world: World) {
        self.name = name
        self.number = number
        self.world = world
        world.downLines.append(Line(LinkConditions()))
        disk = SimulatedDisk(random: world.random.split())
        environment = SimulatedEnvironment(host: self)
    }

    /// What its line does, both ways. Packets between two hosts pass over the lines of both.
    public var line: LinkConditions {
        get { up.conditions }
        set {
            up.conditions = newValue
            world.downLines[number].conditions = newValue
        }
    }

    /// What its line does with what it sends.
    public var upLine: LinkConditions {
        get { up.conditions }
        set { up.conditions = newValue }
    }

    /// What its line does with what comes to it.
    public var downLine: LinkConditions {
        get { world.downLines[number].conditions }
        set { world.downLines[number].conditions = newValue }
    }

    /// Its first address.
    public var address: IPAddress {
        precondition(!addresses.isEmpty, "\(name) has no address")
        return addresses[0].address
    }

    func owns(_ address: IPAddress) -> Bool {
        if address == firstAddress { return true }
        return hasOthers && addresses.contains { $0.address == address }
    }

    /// The address from which it sends to `destination`: of those of its family, the one it was given last.
    func sourceAddress(for destination: IPAddress) -> IPAddress? {
        guard hasOthers else {
            return firstAddress.isV4 == destination.isV4 && !firstAddress.isUnspecified ? firstAddress : nil
        }
        return addresses.last { $0.address.isV4 == destination.isV4 }?.address
    }

    /// The network in which it has `address`.
    func network(of address: IPAddress) -> Network? {
        if address == firstAddress, !hasOthers { return network }
        return addresses.firstIndex { $0.address == address }.map { networks[$0] }
    }

    // MARK: Where it is

    /// Gives it one more address in `network`, which becomes the one it sends to.
    public func attach(to network: Network, as address: IPAddress) {
        network.add(.host(number), at: address)
        self.network = network
        interfacesMade += 1
        addresses.append(
            NetworkInterface(
                name: "eth\(interfacesMade - 1)", index: interfacesMade + 1, address: address,
                prefixLength: address.isV4 ? 24 : 64))
        networks.append(network)
        interfacesChanged()
    }

    /// Takes an address away.
    public func detach(_ address: IPAddress) {
        guard let index = addresses.firstIndex(where: { $0.address == address }) else { return }
        leave(index)
        network = networks.last
        interfacesChanged()
    }

    /// Moves it to another network, where it has `address` alone.
    public func move(to network: Network, as address: IPAddress) {
        while !addresses.isEmpty { leave(addresses.count - 1) }
        attach(to: network, as: address)
    }

    private func leave(_ index: Int) {
        networks[index].remove(addresses[index].address)
        addresses.remove(at: index)
        networks.remove(at: index)
    }

    private func interfacesChanged() {
        guard state != .paused else { return owesInterfaceChange = true }
        environment.interfacesChanged()
    }

    // MARK: What it runs

    /// Runs `program` on it, now and after each restart. An error that it throws is the world's failure.
    ///
    /// A closure that is written in code of the main actor, as `static func main` is, belongs to the main actor and
    /// never runs in a world: write it in a function of its own.
    public func start(_ program: @escaping Program) {
        programs.append(program)
        if state != .down { launch(program) }
    }

    private func launch(_ program: @escaping Program) {
        let environment = environment!
        world.deliver(to: environment.loop) {
            environment.loop.spawn(name) {
                do {
                    try await program(environment)
                } catch {
                    // What a killed host's code says of its end interests nobody.
                    guard let host = environment.livingHost else { return }
                    host.world.fail("\(host.name): \(error)")
                }
            }
        }
    }

    /// Stops it in the middle of whatever it does, until `resume`.
    public func pause() {
        guard state == .up else { return }
        state = .paused
        told()
    }

    /// Goes on after `pause`.
    public func resume() {
        guard state == .paused else { return }
        state = .up
        told()
        let timers = heldTimers
        let packets = held
        heldTimers = []
        held = []
        if owesInterfaceChange {
            owesInterfaceChange = false
            environment.interfacesChanged()
        }
        // By way of the clock, so that what one of them cancels does not happen.
        for timer in timers { timer.arm(at: world.now) }
        for packet in packets { world.schedule.add(.arrival(packet, at: number), at: world.now) }
        if isHeld {
            isHeld = false
            world.makeReady(environment.loop)
        }
    }

    /// Switches it off without a word to anyone: sockets vanish, what runs ends, the disk stays as it is.
    public func kill() {
        guard state != .down else { return }
        state = .down
        let lost = held
        held = []
        heldTimers = []
        isHeld = false
        owesInterfaceChange = false
        told()
        for packet in lost { world.drop(packet, .hostDown) }
        environment.die()
    }

    private func told() {
        for watcher in world.watchers { watcher.changed(self) }
    }

    /// Switches it on again after `kill`, or off and on; its programs start anew.
    public func restart() {
        kill()
        state = .up
        told()
        environment = SimulatedEnvironment(host: self)
        for program in programs { launch(program) }
    }

    /// Lets go of what it runs when its world is over. Programs may hold the host in their turn.
    func dissolve() { programs = [] }

    // MARK: What the world does with it

    /// Whether `loop` may run now; if not, it is remembered for later or never.
    func mayRun(_ loop: EventLoop) -> Bool {
        guard loop === environment.loop, state == .paused else { return true }
        isHeld = true
        return false
    }

    func fire(_ timer: LoopTimer) {
        // What a killed host left behind may still unwind, but no time passes for it any more.
        guard timer.loop === environment.loop, state != .down else { return }
        guard state == .up else { return heldTimers.append(timer) }
        let loop = timer.loop
        let hadWork = loop.hasWork
        loop.fire(timer)
        if !hadWork, loop.hasWork { world.makeReady(loop) }
    }

    func arrive(_ packet: Packet) {
        switch state {
        case .up:
            environment.arrive(packet)
        case .paused where held.count < Self.heldPackets:
            held.append(packet)
        case .paused:
            world.drop(packet, .queueFull)
        case .down:
            world.drop(packet, .hostDown)
        }
    }

    /// How many packets wait until it is resumed.
    var waitingPackets: Int { held.count }

    func lost(_ packet: Packet, _ report: LossReport) {
        guard state != .down else { return }
        environment.tcp.lost(packet, report)
    }
}
