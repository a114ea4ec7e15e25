internal import CLinux
internal import Glibc

/// Something with a descriptor that a `Poller` watches.
protocol PollTarget: AnyObject {
    /// What the watchdog calls it: `tcp`, `names`.
    var activity: StaticString { get }

    /// Something has happened to the descriptor. Called on the loop.
    func ready(_ readiness: Poller.Readiness)

    /// The environment shuts down: close the descriptor and fail whoever waits. Called on the loop.
    func shutDown()
}

/// Tells targets on a loop that their descriptors are ready: Linux's epoll.
///
/// A registration is a place and how often the place has been used, so an event that was fetched before its
/// descriptor was closed finds nobody, even where the place has been taken again within the same batch.
final class Poller {
    /// What a target wants to hear of.
    struct Interest: OptionSet {
        let rawValue: UInt32

        /// Something can be read, or the other side has ended.
        static let readable = Interest(rawValue: EPOLLIN.rawValue | EPOLLRDHUP.rawValue)
        /// There is room to write.
        static let writable = Interest(rawValue: EPOLLOUT.rawValue)
        /// Each change is told once, and the target reads or writes until the system has no more.
        static let edgeTriggered = Interest(rawValue: EPOLLET.rawValue)
    }

    /// What has happened.
    struct Readiness {
        fileprivate let events: UInt32
        /// The target has asked for this call.
        fileprivate(set) var isCalledAgain = false

        /// No event: the target has asked for this call.
        fileprivate static let again = Readiness(events: EPOLLIN.rawValue, isCalledAgain: true)

        /// Something can be read: bytes, an end, an error.
        var isReadable: Bool { events & Self.reading != 0 }
        /// Something can be written, or trying so will tell the error.
        var isWritable: Bool { events & Self.writing != 0 }
        /// The descriptor has an error to tell.
        var isFailed: Bool { events & EPOLLERR.rawValue != 0 }
        /// The other side has ended its direction, or the whole.
        var isPeerEnded: Bool { events & Self.ending != 0 }
        /// Both directions have ended.
        var isHungUp: Bool { events & EPOLLHUP.rawValue != 0 }

        private static let ending = EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
        private static let reading =
            EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
        private static let writing = EPOLLOUT.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
    }

    /// A descriptor's place with the poller.
    struct Registration {
        fileprivate let index: UInt32
        fileprivate let generation: UInt32

        fileprivate init(index: UInt32, generation: UInt32) {
            self.index = index
            self.generation = generation
        }

        fileprivate init(token: UInt64) {
            self.init(
                index: UInt32(truncatingIfNeeded: token), generation: UInt32(truncatingIfNeeded: token >> 32))
        }

        fileprivate var token: UInt64 { UInt64(generation) << 32 | UInt64(index) }
    }

    private struct Place {
        var target: (any PollTarget)?
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        var nextFree = Poller.none
        /// Whether its target stands in `again`.
        var isCallPlanned = false
    }

    /// How many events one wait fetches.
    static let eventsPerWait: Int32 = 256
    private static let none = UInt32.max
    /// The driver's own descriptor, which wakes it from other threads.
    private static let wakeToken = UInt64.max

    /// The loop on which targets are called.
    private(set) unowned(unsafe) var loop: EventLoop! = nil
    private var epoll: Int32
    private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Int(eventsPerWait))
    private var places: [Place] = []
    private var firstFree = none
    /// Who asked to be called again, and will be by the next `deliver`.
    private var again: [Registration] = []
    private var hasNanosecondWait = true
    private var isClosed = false

    /// How many descriptors are registered.
    private(set) var count = 0
    /// How many bytes came in, and how many left over TCP, since the driver last asked.
    var traffic = 0
    /// TCP connections that nobody owns any more and that still send.
    var lingering: LingeringSockets<SystemTCPStream>

    /// A poller that is woken through `wakeDescriptor`.
    init(wakeDescriptor: Int32, lingering: LingerLimits) throws(NetworkError) {
        self.lingering = LingeringSockets(lingering)
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw NetworkError(.ofErrno(), "epoll_create1") }
        var event = epoll_event(events: Interest.readable.rawValue, data: epoll_data_t(u64: Self.wakeToken))
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, wakeDescriptor, &event) == 0 else {
            let reason = NetworkError.Reason.ofErrno()
            Glibc.close(epoll)
            throw NetworkError(reason, "epoll_ctl")
        }
    }

    deinit {
        if epoll >= 0 { Glibc.close(epoll) }
        events.deallocate()
    }

    func adopt(_ loop: EventLoop) { self.loop = loop }

    // MARK: Registrations

    /// Watches `descriptor` for `target`, which is kept until `unregister`.
    func register(
        _ descriptor: Int32, _ interest: Interest, _ target: any PollTarget
    ) throws(NetworkError) -> Registration {
        loop.preconditionCurrent()
        guard !isClosed else { throw NetworkError(.closed, "epoll_ctl") }
        let index = firstFree == Self.none ? UInt32(places.count) : firstFree
        let generation = firstFree == Self.none ? 0 : places[Int(index)].generation
        let registration = Registration(index: index, generation: generation)
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(u64: registration.token))
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
            throw NetworkError(.ofErrno(), "epoll_ctl")
        }
        if firstFree == Self.none { places.append(Place()) } else { firstFree = places[Int(index)].nextFree }
        places[Int(index)].target = target
        places[Int(index)].descriptor = descriptor
        count += 1
        return registration
    }

    /// Watches for `interest` from now on.
    func change(_ registration: Registration, to interest: Interest) throws(NetworkError) {
        precondition(isCurrent(registration), "not registered")
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(u64: registration.token))
        guard epoll_ctl(epoll, EPOLL_CTL_MOD, places[Int(registration.index)].descriptor, &event) == 0 else {
            throw NetworkError(.ofErrno(), "epoll_ctl")
        }
    }

    /// Watches no longer, and lets go of the target. Before the descriptor is closed.
    func unregister(_ registration: Registration) {
        precondition(isCurrent(registration), "not registered")
        let index = Int(registration.index)
        epoll_ctl(epoll, EPOLL_CTL_DEL, places[index].descriptor, nil)
        places[index] = Place(generation: registration.generation &+ 1, nextFree: firstFree)
        firstFree = registration.index
        count -= 1
    }

    /// Calls the target once more as readable, after everything else has had its turn: for one that stops before the
    /// system has no more, so that one busy descriptor does not hold up the rest. However often it asks, it is called
    /// once: an event may come as well, and calls that add up would give a flood an ever larger share.
    func callAgain(_ registration: Registration) {
        precondition(isCurrent(registration), "not registered")
        guard !places[Int(registration.index)].isCallPlanned else { return }
        places[Int(registration.index)].isCallPlanned = true
        again.append(registration)
    }

    private func isCurrent(_ registration: Registration) -> Bool {
        places[Int(registration.index)].generation == registration.generation
    }

    /// Has every target close its descriptor, and takes no more.
    func shutDown() {
        isClosed = true
        var index = 0
        while index < places.count {
            places[index].target?.shutDown()
            index += 1
        }
        precondition(count == 0, "a target did not unregister when it was shut down")
    }

    /// Closes the poller's own descriptor.
    func close() {
        Glibc.close(epoll)
        epoll = -1
    }

    // MARK: For the driver

    /// Waits for events until `deadline`, or as long as nothing comes; says how many came. `now` is what the clock shows.
    func wait(until deadline: Instant?, now: Instant) -> Int {
        let left = deadline.map { $0 > now ? $0.nanoseconds - now.nanoseconds : 0 }
        let nanoseconds = again.isEmpty ? left : 0
        if hasNanosecondWait {
            let came = waitExactly(nanoseconds)
            if came >= 0 { return Int(came) }
            // An old kernel has no such call, and a sandbox may not know it.
            guard errno == ENOSYS || errno == EPERM else { return 0 }
            hasNanosecondWait = false
        }
        let milliseconds = nanoseconds.map { Int32(min(($0 + 999_999) / 1_000_000, 1 << 30)) } ?? -1
        return Int(max(0, epoll_wait(epoll, events, Self.eventsPerWait, milliseconds)))
    }

    /// Whether somebody asked to be called again.
    var hasCallsWaiting: Bool { !again.isEmpty }

    /// How many events there are now.
    func look() -> Int { wait(until: .start, now: .start) }

    /// Has waits measured in milliseconds from now on, as on a kernel that has no better.
    func waitInMilliseconds() { hasNanosecondWait = false }

    private func waitExactly(_ nanoseconds: UInt64?) -> Int32 {
        let limit = nanoseconds.map { Int64(clamping: $0) } ?? -1
        return cl_epoll_wait_nanoseconds(epoll, events, Self.eventsPerWait, limit)
    }

    /// Calls the targets of the first `count` events, and those that asked to be called again. Says whether the driver
    /// was woken by another thread.
    func deliver(_ count: Int, watchdog: Watchdog?) -> Bool {
        var isWoken = false
        var again: [Registration] = []
        swap(&again, &self.again)
        for position in 0..<count {
            let event = events[position]
            let token = event.data.u64
            if token == Self.wakeToken {
                isWoken = true
            } else {
                call(Registration(token: token), Readiness(events: event.events), watchdog)
            }
        }
        for registration in again where isCurrent(registration) {
            places[Int(registration.index)].isCallPlanned = false
            call(registration, .again, watchdog)
        }
        if self.again.isEmpty {
            again.removeAll(keepingCapacity: true)
            swap(&again, &self.again)
        }
        return isWoken
    }

    private func call(_ registration: Registration, _ readiness: Readiness, _ watchdog: Watchdog?) {
        guard isCurrent(registration), let target = places[Int(registration.index)].target else { return }
        loop.activity = target.activity
        target.ready(readiness)
        watchdog?.finished(loop.activity, on: loop)
    }
}
