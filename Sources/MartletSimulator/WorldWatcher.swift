public import MartletWire

/// Sees everything that happens in a world: to check it, to write it down, to count it.
public protocol WorldWatcher: AnyObject {
    /// What failures are said to come from.
    var name: String { get }
    /// A host has sent `packet`.
    func sent(_ packet: Packet, by host: Host)
    /// The network has made two of a packet; this is the second.
    func duplicated(_ packet: Packet)
    /// `packet` has come to a host that has a socket for it.
    func delivered(_ packet: Packet, to host: Host)
    /// `packet` will not arrive.
    func dropped(_ packet: Packet, because reason: DropReason)
    /// `host` has written `bytes` to a TCP stream, of which no two have the same number.
    func wrote(_ bytes: Bytes, to stream: UInt64, by host: Host)
    /// `host` has read `bytes`, which the other end wrote to `stream`. They are lent for the length of the call.
    func read(_ bytes: UnsafeRawBufferPointer, from stream: UInt64, by host: Host)
    /// `host` was told that `stream` has ended, with everything before the end read.
    func readEnd(of stream: UInt64, by host: Host)
    /// `host` was started, paused, resumed or killed; its `state` says which.
    func changed(_ host: Host)
    /// Asked whenever `run` ends: what is wrong, or `nil`.
    func verdict(on world: World) -> String?
}

extension WorldWatcher {
    /// Does nothing.
    public func sent(_ packet: Packet, by host: Host) {}
    /// Does nothing.
    public func duplicated(_ packet: Packet) {}
    /// Does nothing.
    public func delivered(_ packet: Packet, to host: Host) {}
    /// Does nothing.
    public func dropped(_ packet: Packet, because reason: DropReason) {}
    /// Does nothing.
    public func wrote(_ bytes: Bytes, to stream: UInt64, by host: Host) {}
    /// Does nothing.
    public func read(_ bytes: UnsafeRawBufferPointer, from stream: UInt64, by host: Host) {}
    /// Does nothing.
    public func readEnd(of stream: UInt64, by host: Host) {}
    /// Does nothing.
    public func changed(_ host: Host) {}
    /// Nothing is wrong.
    public func verdict(on world: World) -> String? { nil }
}

extension World {
    func wrote(_ bytes: Bytes, to stream: UInt64, on host: Int) {
        for watcher in watchers { watcher.wrote(bytes, to: stream, by: hosts[host]) }
    }

    func read(_ bytes: UnsafeRawBufferPointer, from stream: UInt64, on host: Int) {
        for watcher in watchers { watcher.read(bytes, from: stream, by: hosts[host]) }
    }

    func readEnd(of stream: UInt64, on host: Int) {
        for watcher in watchers { watcher.readEnd(of: stream, by: hosts[host]) }
    }
}
