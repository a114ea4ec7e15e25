/// What an environment of this machine has beside sockets: names, interfaces, files, threads for long work.
final class SystemResources {
    let names: NameResolver
    let files: DiskFiles
    let workers: Workers

    init(poller: Poller, on loop: EventLoop, directory: String, names options: NameOptions, threads: Int) {
        names = NameResolver(poller: poller, on: loop, options: options)
        files = DiskFiles(directory: directory, on: loop)
        workers = Workers(name: "martlet-worker", threads: threads)
    }

    /// How many threads there are now.
    var threads: Int { workers.threads + files.threads }

    /// Ends every thread: what waits for the disk is written first, other work that waits is given up. Blocks.
    func endThreads() {
        workers.shutdown(.abandon)
        files.shutdown()
    }
}

extension SystemEnvironment: Environment {
    /// Asks the servers of names for the records of `name`, by `deadline`. Addresses come from the hosts file as well,
    /// and a name for them may be short, for the system's search list.
    ///
    /// Names are ASCII: letters, digits, hyphens and underscores. Others are `malformed`; write them as `xn--…`.
    public nonisolated(nonsending) func lookUp(
        _ name: String, _ type: RecordType, deadline: Instant
    ) async throws(NameError) -> [NameRecord] {
        try await resources.names.lookUp(name, type, deadline: deadline)
    }

    /// The addresses that this machine's interfaces have now, by the interfaces' numbers. It asks the kernel, which
    /// takes some ten microseconds.
    public func interfaces() throws(NetworkError) -> [NetworkInterface] {
        try NetworkInterface.all()
    }

    /// Calls `change` some 50 milliseconds after the interfaces or their addresses have changed, as long as the result
    /// is kept.
    public func watchInterfaces(_ change: @escaping () -> Void) throws(NetworkError) -> InterfaceWatch {
        try SystemInterfaceWatch(poller: poller, on: loop, change: change)
    }

    /// How busy this machine is; `nil` if its system does not say.
    public var machineUse: MachineUse? { MachineUse.now() }

    /// How many threads there are now for background work and files; none after `shutdown`.
    public var backgroundThreads: Int { resources.threads }

    /// The files under the environment's directory, which is opened when it is first needed.
    public var files: any FileStore { resources.files }

    /// Runs `work` on one of a few threads and comes back with what it returns or throws.
    ///
    /// Throws `CancellationError` where the conversation is cancelled first; work that has begun is then finished for
    /// nobody. Throws `WorkersError` where too much waits already or the environment has been shut down.
    public nonisolated(nonsending) func background<Result: Sendable>(
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await resources.workers.run(on: loop, work)
    }
}
