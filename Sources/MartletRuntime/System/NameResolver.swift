internal import CCares
internal import Glibc
internal import MartletWire

/// Looks names up with c-ares, on the loop: the system's servers, search list and hosts file, or servers of one's own.
///
/// c-ares can't take back a single question. One that nobody waits for any more therefore counts as in flight until
/// c-ares gives it up; when nobody waits at all, all are taken back at once.
final class NameResolver {
    private let loop: EventLoop
    private let poller: Poller
    private let options: NameOptions
    private var channel: ares_channel?
    private var configured = ConfigurationStamp()
    private var sockets: [Int32: NameSocket] = [:]
    private var timer: LoopTimer?
    private var waiting = Ring<NameLookup>()
    private var inFlight = 0
    /// How many of those in flight somebody waits for.
    private var wanted = 0
    private var isTidyingSoon = false
    private var isShutDown = false

    init(poller: Poller, on loop: EventLoop, options: NameOptions) {
        self.poller = poller
        self.loop = loop
        self.options = options
    }

    deinit {
        // Nothing is in flight, or a question would keep the resolver, and so there are no sockets.
        if let channel { ares_destroy(channel) }
    }

    /// The records of `name`. Fails with `timedOut` at `deadline`, and not before.
    nonisolated(nonsending) func lookUp(
        _ name: String, _ type: RecordType, deadline: Instant
    ) async throws(NameError) -> [NameRecord] {
        if let known = try DomainName.known(name, type) { return known }
        if isShutDown { throw .cancelled }
        if waiting.count >= options.maximumWaiting {
            dropUnwanted()
            if waiting.count >= options.maximumWaiting { throw .unavailable("too many names are looked up") }
        }
        let lookup = NameLookup(name: name, type: type, resolver: self, on: loop)
        waiting.append(lookup)
        tidySoon()
        let timer = LoopTimer(on: loop, label: "name") { lookup.finish(.failure(.timedOut)) }
        timer.arm(at: deadline)
        defer { timer.cancel() }
        do {
            try await lookup.signal.wait()
        } catch {
            lookup.finish(.failure(.cancelled))
        }
        return try (lookup.outcome ?? .failure(.cancelled)).get()
    }

    /// Takes every question back; those who wait are told `cancelled`.
    func shutDown() {
        isShutDown = true
        timer = nil
        while let lookup = waiting.popFirst() { lookup.finish(.failure(.cancelled)) }
        closeChannel()
    }

    // MARK: Questions

    private func tidySoon() {
        guard !isTidyingSoon else { return }
        isTidyingSoon = true
        loop.afterThis { [self] in
            isTidyingSoon = false
            tidy()
        }
    }

    /// Takes back what nobody waits for and asks what waits. Never from within c-ares, which does not bear that.
    private func tidy() {
        if let channel, wanted == 0, inFlight > 0 { ares_cancel(channel) }
        while inFlight < options.maximumInFlight, !isShutDown, let lookup = waiting.popFirst() {
            if lookup.outcome == nil { ask(lookup) }
        }
        rearm()
    }

    private func ask(_ lookup: NameLookup) {
        guard let channel = openChannel() else {
            return lookup.finish(.failure(.unavailable("the servers of names can't be configured")))
        }
        inFlight += 1
        wanted += 1
        lookup.isInFlight = true
        let argument = Unmanaged.passRetained(lookup).toOpaque()
        switch lookup.type {
        case .a, .aaaa:
            var hints = ares_addrinfo_hints()
            hints.ai_family = lookup.type == .a ? AF_INET : AF_INET6
            // Sorting would open a socket for each address.
            hints.ai_flags = ARES_AI_NOSORT
            ares_getaddrinfo(channel, lookup.name, nil, &hints, NameAnswer.addresses, argument)
        case .txt:
            ares_query(channel, lookup.name, NameAnswer.internetClass, 16, NameAnswer.text, argument)
        case .srv:
            ares_query(channel, lookup.name, NameAnswer.internetClass, 33, NameAnswer.services, argument)
        }
    }

    /// c-ares is done with `lookup`.
    fileprivate func answered(_ lookup: NameLookup, _ outcome: Result<[NameRecord], NameError>) {
        inFlight -= 1
        lookup.isInFlight = false
        if lookup.outcome == nil {
            wanted -= 1
            if case .failure(.timedOut) = outcome, !isShutDown {
                // The deadline alone decides when it is too late.
                waiting.append(lookup)
            } else {
                lookup.finish(outcome)
            }
        }
        if !isShutDown { tidySoon() }
    }

    /// Nobody waits for `lookup` any more, which is in flight.
    fileprivate func abandoned(_ lookup: NameLookup) {
        wanted -= 1
        if !isShutDown { tidySoon() }
    }

    private func dropUnwanted() {
        for _ in 0..<waiting.count {
            if let lookup = waiting.popFirst(), lookup.outcome == nil { waiting.append(lookup) }
        }
    }

    // MARK: The channel of c-ares

    private static let isLibraryReady = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS

    /// The channel, made anew where the system's configuration has changed and nothing is in flight.
    private func openChannel() -> ares_channel? {
        let current = options.servers.isEmpty ? ConfigurationStamp.ofSystem() : ConfigurationStamp()
        if inFlight == 0, channel != nil, current != configured { closeChannel() }
        if let channel { return channel }
        guard Self.isLibraryReady else { return nil }
        var settings = ares_options()
        settings.timeout = Int32(clamping: options.firstTimeout.nanoseconds / 1_000_000)
        settings.tries = Int32(clamping: options.tries)
        settings.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
        settings.sock_state_cb = { resolver, descriptor, isReading, isWriting in
            // The resolver destroys the channel before it goes away itself.
            let resolver = Unmanaged<NameResolver>.fromOpaque(resolver.unsafelyUnwrapped).takeUnretainedValue()
            resolver.watch(descriptor, isReading: isReading != 0, isWriting: isWriting != 0)
        }
        var made: ares_channel?
        guard ares_init_options(&made, &settings, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) == 0
        else { return nil }
        if !options.servers.isEmpty {
            let servers = options.servers.map(\.description).joined(separator: ",")
            guard ares_set_servers_ports_csv(made, servers) == ARES_SUCCESS else {
                ares_destroy(made)
                return nil
            }
        }
        channel = made
        configured = current
        return made
    }

    private func closeChannel() {
        guard let channel else { return }
        self.channel = nil
        ares_destroy(channel)
    }

    /// c-ares tells what it wants to hear of one of its sockets; nothing means that it is about to close it.
    private func watch(_ descriptor: Int32, isReading: Bool, isWriting: Bool) {
        var interest: Poller.Interest = []
        if isReading { interest.insert(.readable) }
        if isWriting { interest.insert(.writable) }
        // What can't be watched is not heard from, and the question times out.
        if let socket = sockets[descriptor] {
            if interest.isEmpty {
                sockets[descriptor] = nil
                poller.unregister(socket.registration)
            } else {
                try? poller.change(socket.registration, to: interest)
            }
        } else if !interest.isEmpty {
            sockets[descriptor] = try? NameSocket(descriptor, interest, resolver: self, poller: poller)
        }
    }

    fileprivate func process(reading: Int32, writing: Int32) {
        guard let channel else { return }
        ares_process_fd(channel, reading, writing)
        rearm()
    }

    /// Has c-ares called again when it wants to be.
    private func rearm() {
        guard let channel, !isShutDown else { return }
        let microseconds = cc_timeout_microseconds(channel)
        guard microseconds >= 0 else {
            timer?.cancel()
            return
        }
        let timer =
            timer
            ?? LoopTimer(on: loop, label: "names") { [weak self] in
                self?.process(reading: ARES_SOCKET_BAD, writing: ARES_SOCKET_BAD)
            }
        self.timer = timer
        timer.arm(after: .microseconds(microseconds))
    }
}

/// One of c-ares's sockets, which c-ares closes itself.
private final class NameSocket: PollTarget {
    let activity: StaticString = "names"
    private let descriptor: Int32
    private weak var resolver: NameResolver?
    private(set) var registration: Poller.Registration! = nil

    init(
        _ descriptor: Int32, _ interest: Poller.Interest, resolver: NameResolver, poller: Poller
    ) throws(NetworkError) {
        self.descriptor = descriptor
        self.resolver = resolver
        registration = try poller.register(descriptor, interest, self)
    }

    func ready(_ readiness: Poller.Readiness) {
        resolver?.process(
            reading: readiness.isReadable ? descriptor : ARES_SOCKET_BAD,
            writing: readiness.isWritable ? descriptor : ARES_SOCKET_BAD)
    }

    func shutDown() { resolver?.shutDown() }
}

/// A question on its way.
final class NameLookup {
    let name: String
    let type: RecordType
    let signal: Signal
    fileprivate var isInFlight = false
    private(set) var outcome: Result<[NameRecord], NameError>?
    private let resolver: NameResolver

    fileprivate init(name: String, type: RecordType, resolver: NameResolver, on loop: EventLoop) {
        self.name = name
        self.type = type
        self.resolver = resolver
        signal = Signal(on: loop)
    }

    /// Takes the outcome, unless there is one already.
    fileprivate func finish(_ outcome: Result<[NameRecord], NameError>) {
        guard self.outcome == nil else { return }
        self.outcome = outcome
        if isInFlight { resolver.abandoned(self) }
        signal.signal()
    }

    /// What c-ares was given with the question, back from it.
    static func returned(_ argument: UnsafeMutableRawPointer?) -> NameLookup {
        Unmanaged<NameLookup>.fromOpaque(argument.unsafelyUnwrapped).takeRetainedValue()
    }

    /// c-ares has answered.
    func answer(_ outcome: Result<[NameRecord], NameError>) { resolver.answered(self, outcome) }
}

/// What the system's configuration of names looked like: a change of its file is a change of the network.
private struct ConfigurationStamp: Equatable {
    var inode: UInt = 0
    var modified: [UInt8] = []

    static func ofSystem() -> ConfigurationStamp {
        var status = stat()
        guard stat("/etc/resolv.conf", &status) == 0 else { return ConfigurationStamp() }
        // As bytes: which module Swift takes the members of this structure to be of depends on what else it has read.
        return ConfigurationStamp(inode: status.st_ino, modified: withUnsafeBytes(of: status.st_mtim) { Array($0) })
    }
}
