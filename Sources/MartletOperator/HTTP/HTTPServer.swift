internal import CHTTP
internal import Glibc
internal import MartletRuntime
internal import MartletWire

/// An HTTP/1.1 server on the loop of this machine's environment, by libmicrohttpd.
///
/// Each request is answered by a conversation. The library turns whenever its descriptor tells the loop; it has no
/// thread. Everything that a client can make grow is bounded by `HTTPLimits`, and each refusal is counted.
///
/// It belongs to its loop, listens until `stop`, and stops by itself when its environment shuts down.
final class HTTPServer {
    /// Answers a request. It is cancelled when the server stops.
    typealias Handler = nonisolated(nonsending) (HTTPRequest) async -> HTTPAnswer

    let environment: SystemEnvironment
    let limits: HTTPLimits
    let metrics: HTTPMetrics
    private let handler: Handler
    /// Says at once, with only the request's head known, that it will not be answered.
    private let refuse: (HTTPRequest) -> HTTPAnswer?
    private var daemon: OpaquePointer?
    private var watch: DescriptorWatch?
    private var timer: LoopTimer?
    private var sweep: LoopTimer?
    private var connections: [OpaquePointer: HTTPConnection] = [:]
    private var places: [IPAddress: Int] = [:]
    private var streams = 0
    private var isTurningSoon = false

    private var loop: EventLoop { environment.loop }

    /// Serves those who connect to the listening socket `descriptor`, which is this server's from now on.
    init(
        on environment: SystemEnvironment, listener descriptor: Int32, limits: HTTPLimits, metrics: HTTPMetrics,
        refuse: @escaping (HTTPRequest) -> HTTPAnswer?, handler: @escaping Handler
    ) throws(NetworkError) {
        self.environment = environment
        self.limits = limits
        self.metrics = metrics
        self.refuse = refuse
        self.handler = handler
        environment.loop.preconditionCurrent()
        var callbacks = Self.callbacks
        // Clients over the limit are taken and turned away at once, by `accept`; the library's own limit is above it.
        daemon = chttp_start(
            descriptor, UInt32(limits.connections + 1), limits.connectionBytes, &callbacks,
            Unmanaged.passUnretained(self).toOpaque())
        guard let daemon else {
            close(descriptor)
            throw NetworkError(.exhausted, "MHD_start_daemon")
        }
        do throws(NetworkError) {
            watch = try DescriptorWatch(chttp_descriptor(daemon), on: environment, activity: "http") { [weak self] in
                self?.turn()
            } ended: { [weak self] in
                self?.stop()
            }
        } catch {
            MHD_stop_daemon(daemon)
            self.daemon = nil
            throw error
        }
        timer = LoopTimer(on: loop, label: "http") { [weak self] in self?.turn() }
        sweep = LoopTimer(on: loop, label: "http") { [weak self] in self?.cutOverdue() }
    }

    deinit { precondition(daemon == nil, "an HTTP server was released that was not stopped") }

    /// Closes every connection and the listening socket. What is being answered is cancelled.
    func stop() {
        guard let daemon else { return }
        self.daemon = nil
        watch?.cancel()
        timer = nil
        sweep = nil
        for connection in connections.values {
            connection.task?.cancel()
            connection.stream?.close()
            // The library can't end what it was told not to look at.
            connection.resume()
        }
        MHD_stop_daemon(daemon)
        connections = [:]
    }

    // MARK: Turning

    private func turnSoon() {
        guard !isTurningSoon else { return }
        isTurningSoon = true
        loop.afterThis { [self] in
            isTurningSoon = false
            turn()
        }
    }

    private func turn() {
        guard let daemon else { return }
        MHD_run(daemon)
        let milliseconds = chttp_timeout(daemon)
        if milliseconds < 0 { timer?.cancel() } else { timer?.arm(after: .milliseconds(milliseconds)) }
    }

    private func cutOverdue() {
        for connection in connections.values {
            guard !connection.isCut, let reason = connection.isOverdue(at: loop.now, limits) else { continue }
            if !(connection.hasSpoken && reason == .silent) { metrics.refused[reason].increment() }
            connection.isCut = true
            // The library finds the end and closes the descriptor itself.
            shutdown(connection.descriptor, Int32(SHUT_RDWR))
            connection.stream?.close()
            connection.resume()
        }
        if !connections.isEmpty { sweep?.arm(after: .seconds(1)) }
    }

    // MARK: What the library calls

    private static let callbacks = chttp_callbacks(
        accept: { server, address, _ in
            HTTPServer.from(server).accepts(HTTPServer.place(of: address)) ? .YES : .NO
        },
        connection: { server, handle, _, code in
            let server = HTTPServer.from(server)
            if chttp_is_start(code) != 0 { server.opened(handle) } else { server.closed(handle) }
        },
        begun: { server, _, handle in
            HTTPServer.from(server).begun(handle)
            return nil
        },
        request: { server, handle, path, method, _, bytes, count, _ in
            HTTPServer.from(server).received(
                handle, path: path, method: method, bytes: bytes, count: count.unsafelyUnwrapped)
        },
        completed: { server, handle, _, _ in HTTPServer.from(server).completed(handle) })

    private static func from(_ pointer: UnsafeMutableRawPointer?) -> HTTPServer {
        // The library is given nothing else, and is stopped before the server goes away.
        Unmanaged<HTTPServer>.fromOpaque(pointer.unsafelyUnwrapped).takeUnretainedValue()
    }

    /// Where a client counts: its address, or the network that it can have any address of.
    private static func place(of address: UnsafePointer<sockaddr>?) -> IPAddress? {
        guard let address else { return nil }
        // Several modules define `sockaddr`, so its family and what follows are read as the bytes that Linux says they are.
        let raw = UnsafeRawPointer(address)
        switch Int32(raw.load(as: UInt16.self)) {
        case AF_INET: return IPAddress(v4: UInt32(bigEndian: raw.load(fromByteOffset: 4, as: UInt32.self)))
        case AF_INET6:
            let bytes = UnsafeRawBufferPointer(start: raw + 8, count: 16)
            let ip = (try? IPAddress(bytes: RawSpan(_unsafeBytes: bytes)))?.unmapped
            return ip.map { $0.isV6 ? $0.prefix(64) : $0 }
        default: return nil
        }
    }

    private func accepts(_ place: IPAddress?) -> Bool {
        if connections.count >= limits.connections {
            metrics.refused[.connections].increment()
            return false
        }
        if let place, places[place, default: 0] >= limits.connectionsPerAddress {
            metrics.refused[.address].increment()
            return false
        }
        return true
    }

    private func opened(_ handle: OpaquePointer?) {
        guard let handle else { return }
        let place = Self.place(of: chttp_client(handle))
        if let place { places[place, default: 0] += 1 }
        connections[handle] = HTTPConnection(handle, place: place, at: loop.now) { [weak self] in self?.turnSoon() }
        metrics.connections.record(Int64(connections.count))
        if sweep?.deadline == nil { sweep?.arm(after: .seconds(1)) }
    }

    private func closed(_ handle: OpaquePointer?) {
        guard let handle, let connection = connections.removeValue(forKey: handle) else { return }
        if let place = connection.place {
            let left = places[place, default: 1] - 1
            places[place] = left > 0 ? left : nil
        }
        metrics.connections.record(Int64(connections.count))
        if !connection.isCut, connection.isHeadOpen {
            metrics.refused[.head].increment()
        } else if !connection.isCut, !connection.hasSpoken, connection.state == .waiting {
            metrics.refused[.silent].increment()
        }
        finish(connection)
    }

    /// The request's line has come.
    private func begun(_ handle: OpaquePointer?) {
        guard let handle, let connection = connections[handle] else { return }
        connection.isHeadOpen = true
        connection.enter(.arriving, at: loop.now)
    }

    /// The request's head has come, or some of its body, or its end, or an answer has been made.
    private func received(
        _ handle: OpaquePointer?, path: UnsafePointer<CChar>?, method: UnsafePointer<CChar>?,
        bytes: UnsafePointer<CChar>?, count: UnsafeMutablePointer<Int>
    ) -> MHD_Result {
        guard let handle, let connection = connections[handle], daemon != nil else { return .NO }
        if let answer = connection.answer { return send(answer, on: connection) }
        guard let request = connection.request else {
            connection.hasSpoken = true
            connection.isHeadOpen = false
            return begin(head(of: handle, path: path, method: method), on: connection)
        }
        if count.pointee > 0 {
            let room = limits.bodyBytes - request.body.count
            if count.pointee > room { connection.isBodyTooLarge = true }
            if !connection.isBodyTooLarge, let bytes {
                connection.request?.body += UnsafeRawBufferPointer(start: bytes, count: count.pointee)
            }
            count.pointee = 0
            return .YES
        }
        answer(request, on: connection)
        return .YES
    }

    private func completed(_ handle: OpaquePointer?) {
        guard let handle, let connection = connections[handle] else { return }
        finish(connection)
        if connection.isHeadOpen, !connection.isCut { metrics.refused[.head].increment() }
        connection.isHeadOpen = false
        connection.request = nil
        connection.answer = nil
        connection.isBodyTooLarge = false
        connection.enter(.waiting, at: loop.now)
    }

    private func finish(_ connection: HTTPConnection) {
        connection.task?.cancel()
        connection.task = nil
        if let stream = connection.stream {
            connection.stream = nil
            streams -= 1
            metrics.streams.record(Int64(streams))
            stream.close()
        }
    }

    // MARK: Requests and answers

    private func head(
        of handle: OpaquePointer, path: UnsafePointer<CChar>?, method: UnsafePointer<CChar>?
    ) -> HTTPRequest {
        let word = method.map { String(cString: $0) } ?? ""
        var request = HTTPRequest(method: word == "HEAD" ? "GET" : word, path: path.map { String(cString: $0) } ?? "/")
        request.authorization = chttp_field(handle, "Authorization").map { String(cString: $0) }
        request.host = chttp_field(handle, "Host").map { String(cString: $0) }
        let query = QueryWords(limit: limits.queryWords)
        chttp_query(
            handle,
            { query, _, name, value in
                let query = Unmanaged<QueryWords>.fromOpaque(query.unsafelyUnwrapped).takeUnretainedValue()
                return query.take(name.map { String(cString: $0) } ?? "", value.map { String(cString: $0) } ?? "")
            }, Unmanaged.passUnretained(query).toOpaque())
        request.query = query.words
        return request
    }

    /// Takes a request of which the head is known.
    private func begin(_ request: HTTPRequest, on connection: HTTPConnection) -> MHD_Result {
        connection.request = request
        if let refusal = refuse(request) { return send(refusal, on: connection) }
        let length = chttp_field(connection.handle, "Content-Length").flatMap { Int(String(cString: $0)) }
        if let length, length > limits.bodyBytes { return send(.bodyTooLarge(limits), on: connection) }
        return .YES
    }

    /// Has the answer made while the library does not look at the connection.
    private func answer(_ request: HTTPRequest, on connection: HTTPConnection) {
        connection.enter(.answering, at: loop.now)
        connection.isSuspended = true
        MHD_suspend_connection(connection.handle)
        let isTooLarge = connection.isBodyTooLarge
        connection.task = loop.spawn("http") { [self, handler, limits] in
            let answer = isTooLarge ? .bodyTooLarge(limits) : await handler(request)
            loop.preconditionCurrent()
            // One that is gone meanwhile is no longer looked at, and its handle may be another's.
            guard connections[connection.handle] === connection, daemon != nil else { return answer.abandon() }
            connection.task = nil
            connection.answer = answer
            connection.resume()
        }
    }

    private func send(_ answer: HTTPAnswer, on connection: HTTPConnection) -> MHD_Result {
        var answer = answer
        connection.answer = nil
        if case .stream(let stream) = answer.content, streams >= limits.streams {
            stream.close()
            answer = .text("there are too many readers already\n", status: 503, refusal: .streams)
        }
        if let refusal = answer.refusal { metrics.refused[refusal].increment() }
        metrics.answers[.init(status: answer.status)].increment()
        let response: OpaquePointer?
        switch answer.content {
        case .whole(let bytes):
            response = bytes.withUnsafeBytes { chttp_whole($0.baseAddress, $0.count) }
            connection.enter(.sending, at: loop.now)
        case .stream(let stream):
            response = self.response(of: stream, on: connection)
            connection.enter(.streaming, at: loop.now)
        }
        guard let response else { return .NO }
        defer { MHD_destroy_response(response) }
        MHD_add_response_header(response, "Content-Type", answer.type)
        MHD_add_response_header(response, "Cache-Control", "no-store")
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff")
        for field in answer.fields { MHD_add_response_header(response, field.name, field.value) }
        return MHD_queue_response(connection.handle, UInt32(answer.status), response)
    }

    // MARK: Answers that go on and on

    private func response(of stream: HTTPStream, on connection: HTTPConnection) -> OpaquePointer? {
        streams += 1
        metrics.streams.record(Int64(streams))
        connection.stream = stream
        stream.onChange = { [weak connection] in connection?.resume() }
        let reader = StreamReader(server: self, connection: connection, stream: stream)
        return chttp_stream(
            { reader, _, buffer, count in
                let reader = Unmanaged<StreamReader>.fromOpaque(reader.unsafelyUnwrapped).takeUnretainedValue()
                return reader.read(UnsafeMutableRawBufferPointer(start: buffer, count: count))
            }, Unmanaged.passRetained(reader).toOpaque(),
            { reader in Unmanaged<StreamReader>.fromOpaque(reader.unsafelyUnwrapped).release() })
    }

    /// What the library takes a stream's bytes from.
    private final class StreamReader {
        private let server: HTTPServer
        private let connection: HTTPConnection
        private let stream: HTTPStream

        init(server: HTTPServer, connection: HTTPConnection, stream: HTTPStream) {
            self.server = server
            self.connection = connection
            self.stream = stream
        }

        func read(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
            let count = stream.take(into: buffer)
            if count > 0 {
                connection.moved(at: server.environment.loop.now)
                return count
            }
            if stream.isEnded || stream.isClosed { return chttp_end_of_stream() }
            connection.isSuspended = true
            MHD_suspend_connection(connection.handle)
            return 0
        }
    }
}

/// The words of a query while the library shows them.
private final class QueryWords {
    private let limit: Int
    private(set) var words: [(name: String, value: String)] = []

    init(limit: Int) { self.limit = limit }

    func take(_ name: String, _ value: String) -> MHD_Result {
        guard words.count < limit else { return .NO }
        words.append((name, value))
        return .YES
    }
}

extension HTTPAnswer {
    fileprivate static func bodyTooLarge(_ limits: HTTPLimits) -> HTTPAnswer {
        .text("a body may have \(limits.bodyBytes) bytes\n", status: 413, refusal: .body)
    }

    /// Nobody takes it any more.
    fileprivate func abandon() {
        if case .stream(let stream) = content { stream.close() }
    }
}
