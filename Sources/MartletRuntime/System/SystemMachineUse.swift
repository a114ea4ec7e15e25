internal import Glibc

extension MachineUse {
    /// How busy this machine is now; `nil` if its system does not say. The kernel answers out of its memory, within some
    /// ten microseconds.
    static func now() -> MachineUse? {
        guard let stat = beginning(of: "/proc/stat"), let meminfo = beginning(of: "/proc/meminfo") else { return nil }
        return MachineUse(stat: stat, meminfo: meminfo)
    }

    /// The first lines of a file of the kernel's.
    private static func beginning(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
