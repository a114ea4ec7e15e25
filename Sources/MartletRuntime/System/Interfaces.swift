internal import CLinux
internal import Glibc
internal import MartletWire

extension NetworkInterface {
    /// The addresses of this machine's interfaces, by the interfaces' numbers and then by address.
    static func all() throws(NetworkError) -> [NetworkInterface] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { throw NetworkError(.ofErrno(), "getifaddrs") }
        defer { freeifaddrs(first) }
        var interfaces: [NetworkInterface] = []
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let memory = entry.ifa_addr, let ip = SystemAddress.load(memory)?.ip else { continue }
            let name = String(cString: entry.ifa_name)
            let mask = entry.ifa_netmask.flatMap { SystemAddress.load($0)?.ip }
            let isUp = entry.ifa_flags & UInt32(IFF_UP) != 0
            let isRunning = entry.ifa_flags & UInt32(IFF_RUNNING) != 0
            interfaces.append(
                NetworkInterface(
                    name: name, index: if_nametoindex(entry.ifa_name), address: ip,
                    prefixLength: mask?.number.nonzeroBitCount ?? ip.family.size * 8, isUp: isUp && isRunning,
                    isLoopback: entry.ifa_flags & UInt32(IFF_LOOPBACK) != 0))
        }
        return interfaces.sorted { ($0.index, $0.address, $0.prefixLength) < ($1.index, $1.address, $1.prefixLength) }
    }
}

/// Watches the interfaces of this machine through rtnetlink(7).
final class SystemInterfaceWatch: InterfaceWatch {
    private let listener: InterfaceListener

    init(poller: Poller, on loop: EventLoop, change: @escaping () -> Void) throws(NetworkError) {
        listener = try InterfaceListener(poller: poller, on: loop, change: change)
    }

    deinit { listener.shutDown() }
}

/// Hears of changes from the kernel, waits until they settle, and calls back where they amount to something.
private final class InterfaceListener: PollTarget {
    /// One change is often many messages: an interface that comes up tells so, then its addresses, one by one.
    private static let settling = Duration.milliseconds(50)

    let activity: StaticString = "interfaces"
    private let poller: Poller
    private let change: () -> Void
    private var descriptor: Int32
    private var registration: Poller.Registration?
    private var timer: LoopTimer?
    private var known: [NetworkInterface] = []

    init(poller: Poller, on loop: EventLoop, change: @escaping () -> Void) throws(NetworkError) {
        self.poller = poller
        self.change = change
        let type = Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        descriptor = socket(AF_NETLINK, type, NETLINK_ROUTE)
        guard descriptor >= 0 else { throw NetworkError(.ofErrno(), "socket") }
        do throws(NetworkError) {
            try subscribe()
            registration = try poller.register(descriptor, .readable, self)
            known = try NetworkInterface.all()
        } catch {
            shutDown()
            throw error
        }
        timer = LoopTimer(on: loop, label: "interfaces") { [weak self] in self?.settled() }
    }

    func ready(_ readiness: Poller.Readiness) {
        // What the messages say is not used: after a loss, which ENOBUFS tells, it would be wrong.
        withUnsafeTemporaryAllocation(byteCount: 8192, alignment: 8) { buffer in
            var isMore = true
            while isMore {
                let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
                isMore = count > 0 || (count < 0 && (errno == ENOBUFS || errno == EINTR))
            }
        }
        if timer?.deadline == nil { timer?.arm(after: Self.settling) }
    }

    func shutDown() {
        timer?.cancel()
        if let registration { poller.unregister(registration) }
        registration = nil
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
    }

    private func subscribe() throws(NetworkError) {
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        address.nl_groups = UInt32(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
            }
        }
        guard result == 0 else { throw NetworkError(.ofErrno(), "bind") }
    }

    private func settled() {
        guard let now = try? NetworkInterface.all(), now != known else { return }
        known = now
        change()
    }
}
