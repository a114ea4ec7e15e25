internal import Glibc

/// What this process uses of the machine, as the kernel tells it.
struct ProcessUse {
    /// Bytes that are in memory.
    var residentBytes = 0
    /// The processor's time that it has taken, in seconds.
    var processorSeconds = 0.0
    /// Its open descriptors.
    var descriptors = 0

    /// What it uses now. Takes some tens of microseconds.
    static func now() -> ProcessUse {
        var use = ProcessUse()
        use.residentBytes = residentBytesNow()
        // In microseconds, whatever a tick is (POSIX). `rusage` has structures that several modules define.
        use.processorSeconds = Double(clock()) / 1e6
        if let folder = opendir("/proc/self/fd") {
            while readdir(folder) != nil { use.descriptors += 1 }
            closedir(folder)
            // Not the folder itself, its parent, and the descriptor that it was read by.
            use.descriptors -= 3
        }
        return use
    }

    /// Bytes that are in memory now.
    static func residentBytesNow() -> Int {
        let words = String(decoding: wholeFile("/proc/self/statm"), as: UTF8.self).split(separator: " ")
        guard words.count > 1, let pages = Int(words[1]) else { return 0 }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }
}
