import MartletRuntime
import MartletWire

/// Moves bytes, dials and time between a mesh's machine and the environment. It belongs to the environment's loop.
final class MeshDriver {
    /// How much is read from one peer before the others have their turn.
    private static let mostReadAtOnce = 256 << 10
    /// How long what is queued may take to leave when the node stops.
    private static let flushLimit = Duration.seconds(5)

    private let environment: any Environment
    private let loop: EventLoop
    private let configuration: MeshConfiguration
    private let events: MeshEvents
    private let upgrade: MeshTransport.Upgrade?
    private let buffer: UnsafeMutableRawBufferPointer
    private var mesh: Mesh<RandomSource>
    private var listeners: [TCPListener] = []
    private var watch: InterfaceWatch?
    private var streams: [Int: ByteStream] = [:]
    private var closing: [ByteStream] = []
    private var making: [Int: Task<Void, Never>] = [:]
    private var waiters: [MeshAddress: [Waiter]] = [:]
    private var settling: [Signal] = []
    private var timer: LoopTimer!
    private var isDraining = false
    /// What is wrong with the node itself and has not been told.
    private var problems: [String] = []

    /// Someone who waits for what comes of a dial.
    private final class Waiter {
        let signal: Signal
        var outcome: MeshFailure?

        init(on loop: EventLoop) { signal = Signal(on: loop) }
    }

    /// Listens on `port`, or any that is free where it is 0, of all addresses of the host.
    init(
        port: UInt16, configuration: MeshConfiguration, events: MeshEvents, environment: any Environment
    ) throws(NetworkError) {
        self.environment = environment
        self.configuration = configuration
        self.events = events
        loop = environment.loop
        upgrade = configuration.transport.makeUpgrade?(environment)
        let listener = try environment.listenTCP(SocketAddress(.anyV4, port: port), options: TCPOptions())
        listeners = [listener]
        buffer = .allocate(byteCount: 64 << 10, alignment: 16)
        let bound = listener.localAddress.port
        mesh = Mesh(
            port: bound, own: [], configuration: configuration, random: environment.random, at: loop.now)
        lookAtInterfaces()
        do throws(NetworkError) {
            listeners.append(
                try environment.listenTCP(SocketAddress(.anyV6, port: bound), options: TCPOptions()))
        } catch {
            // A host without IPv6 is in order.
            if mesh.vantage.own.contains(where: \.isV6) {
                problems.append("port \(bound) cannot be listened on by IPv6: \(error.reason)")
            }
        }
        timer = LoopTimer(on: loop, label: "mesh") { [weak self] in
            guard let self else { return }
            mesh.handleTimeout(at: loop.now)
            drain()
        }
    }

    deinit { buffer.deallocate() }

    /// Learns which addresses this host has.
    private func lookAtInterfaces() {
        do throws(NetworkError) {
            mesh.handleInterfaces(Set(try environment.interfaces().map(\.address.unmapped)))
        } catch {
            problems.append("this host's addresses cannot be looked up: \(error.reason)")
        }
    }

    private func watchInterfaces() {
        do throws(NetworkError) {
            watch = try environment.watchInterfaces { [weak self] in
                guard let self else { return }
                lookAtInterfaces()
                reportProblems()
            }
        } catch {
            problems.append("changes of this host's addresses will not be noticed: \(error.reason)")
        }
    }

    private func reportProblems() {
        for problem in problems { events.append(.failed(problem)) }
        problems = []
    }

    // MARK: For the node

    var port: UInt16 { mesh.vantage.port }

    var peers: [MeshPeer] { mesh.order.compactMap { mesh.connections[$0]?.peer } }

    var known: Int { mesh.book.count }

    func start(at addresses: [MeshAddress]) {
        watchInterfaces()
        for listener in listeners {
            listener.onConnection = { [weak self] stream in
                if let self { accept(stream) } else { stream.reset() }
            }
        }
        mesh.start(at: addresses, now: loop.now)
        drain()
        reportProblems()
    }

    func say(_ text: String) throws(MeshLine.Unsayable) -> Int {
        let count = try mesh.say(text)
        drain()
        return count
    }

    func discover() {
        mesh.discover(at: loop.now)
        drain()
    }

    func connect(to address: MeshAddress) async throws(MeshFailure) {
        let waiter = Waiter(on: loop)
        let address = mesh.connect(to: address, at: loop.now)
        waiters[address, default: []].append(waiter)
        drain()
        do {
            try await waiter.signal.wait()
        } catch {
            waiters[address]?.removeAll { $0 === waiter }
            throw .network(.cancelled)
        }
        if let outcome = waiter.outcome { throw outcome }
    }

    /// Waits until nothing is under way that could bring new peers, at most until `deadline`.
    func settle(by deadline: Instant) async {
        while !mesh.isSettled(at: loop.now), loop.now < deadline {
            let signal = Signal(on: loop)
            settling.append(signal)
            let timer = LoopTimer(on: loop, label: "mesh settles") { signal.signal() }
            timer.arm(at: deadline)
            guard (try? await signal.wait()) != nil else { return }
        }
    }

    /// Closes everything, and waits until what is queued has left.
    func stop() async {
        mesh.stop()
        for listener in listeners { listener.close() }
        watch = nil
        drain()
        timer.cancel()
        let deadline = loop.now + Self.flushLimit
        while closing.contains(where: { $0.queued > 0 && $0.failure == nil }), loop.now < deadline {
            guard (try? await loop.sleep(for: .milliseconds(2))) != nil else { break }
        }
        closing = []
        events.finish()
    }

    // MARK: Actions

    /// Does what the machine wants done, and sets the timer for when it wants to be called.
    private func drain() {
        guard !isDraining else { return }
        isDraining = true
        while let action = mesh.nextAction() { perform(action) }
        isDraining = false
        timer.arm(at: mesh.deadline < .never ? mesh.deadline : nil)
        guard !settling.isEmpty, mesh.isSettled(at: loop.now) || mesh.isStopped else { return }
        for signal in settling { signal.signal() }
        settling = []
    }

    private func perform(_ action: Mesh<RandomSource>.Action) {
        switch action {
        case .send(let number, let bytes): send(number, bytes)
        case .report(let event): events.append(event)
        case .dial(let number, let address):
            making[number] = loop.spawn("mesh dial") { [self] in await dial(number, address) }
        case .close(let number):
            making.removeValue(forKey: number)?.cancel()
            guard let stream = streams.removeValue(forKey: number) else { return }
            stream.close()
            closing.removeAll { $0.queued == 0 || $0.failure != nil }
            if stream.queued > 0 { closing.append(stream) }
        case .ended(let address, let failure):
            for waiter in waiters.removeValue(forKey: address) ?? [] {
                waiter.outcome = failure
                waiter.signal.signal()
            }
        }
    }

    private func send(_ number: Int, _ bytes: Bytes) {
        guard let stream = streams[number] else { return }
        stream.write(bytes)
        guard stream.queued > configuration.maximumQueued else { return }
        streams[number] = nil
        stream.reset()
        mesh.handleEnd(number, .noPeer("it does not read what it is sent"), at: loop.now)
    }

    // MARK: Connections

    private func accept(_ stream: ByteStream) {
        guard let remote = stream.remoteAddress, let local = stream.localAddress,
            let number = mesh.handleAccepted(from: remote, local: local, at: loop.now)
        else { return stream.reset() }
        guard let upgrade else {
            attach(stream, number)
            return drain()
        }
        let deadline = loop.now + configuration.connectionTimeout
        making[number] = loop.spawn("mesh accept") { [self] in
            do throws(MeshFailure) {
                let link = try await upgrade(stream, false, deadline)
                guard making.removeValue(forKey: number) != nil else { return link.stream.reset() }
                mesh.handleFingerprint(number, link.fingerprint)
                attach(link.stream, number)
            } catch {
                guard making.removeValue(forKey: number) != nil else { return }
                mesh.handleEnd(number, error, at: loop.now)
            }
            drain()
        }
        drain()
    }

    private func dial(_ number: Int, _ address: MeshAddress) async {
        do throws(MeshFailure) {
            let deadline = loop.now + configuration.connectionTimeout
            let stream = try await connect(address, by: deadline)
            var link = MeshTransport.Link(stream)
            if let upgrade { link = try await upgrade(stream, true, deadline) }
            guard making.removeValue(forKey: number) != nil, let remote = link.stream.remoteAddress else {
                return link.stream.reset()
            }
            attach(link.stream, number)
            mesh.handleDialled(
                number, remote: remote, local: link.stream.localAddress, fingerprint: link.fingerprint, at: loop.now)
        } catch {
            guard making.removeValue(forKey: number) != nil else { return }
            mesh.handleEnd(number, error, at: loop.now)
        }
        drain()
    }

    private func connect(_ address: MeshAddress, by deadline: Instant) async throws(MeshFailure) -> ByteStream {
        switch address {
        case .ip(let socket):
            do throws(NetworkError) {
                return try await environment.connectTCP(socket, from: nil, options: TCPOptions(), deadline: deadline)
            } catch {
                throw MeshFailure(error)
            }
        case .name(let name, let port):
            do throws(DialError) {
                return try await environment.connectTCP(name: name, port: port, deadline: deadline)
            } catch {
                switch error {
                case .name(let error): throw .name(error)
                case .unreachable(let errors): throw errors.first.map(MeshFailure.init) ?? .timedOut
                case .cancelled: throw .network(.cancelled)
                }
            }
        }
    }

    private func attach(_ stream: ByteStream, _ number: Int) {
        streams[number] = stream
        stream.onReadable = { [weak self] in self?.read(number) }
        // The first lines may have come in behind what made the connection secure.
        stream.readLater()
    }

    private func read(_ number: Int) {
        var left = Self.mostReadAtOnce
        while let stream = streams[number] {
            guard left > 0 else { return stream.readLater() }
            switch stream.read(into: buffer) {
            case .bytes(let count):
                left -= count
                mesh.handleBytes(number, UnsafeRawBufferPointer(rebasing: buffer[..<count]).bytes, at: loop.now)
            case .wouldBlock: return drain()
            case .end: end(number, nil)
            case .failed(let reason): end(number, .network(reason))
            }
            drain()
        }
    }

    private func end(_ number: Int, _ failure: MeshFailure?) {
        streams.removeValue(forKey: number)?.close()
        mesh.handleEnd(number, failure, at: loop.now)
    }
}
