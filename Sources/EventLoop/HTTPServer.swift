// A small HTTP server on libevent's evhttp, for a few readers on the same machine or network. It
// answers GET and HEAD, takes no bodies, and closes each connection behind its answer.

internal import CLibevent
internal import Glibc

/// One request. It must be answered once, now or later, on the thread of the loop.
package final class HTTPRequest {
    package let path: String
    /// The part behind the question mark, as it came; empty if there is none.
    package let query: String
    private let isHead: Bool
    private var request: OpaquePointer?

    fileprivate init(_ request: OpaquePointer, isHead: Bool) {
        self.request = request
        self.isHead = isHead
        let uri = evhttp_request_get_evhttp_uri(request)
        path = uri.flatMap { evhttp_uri_get_path($0) }.map { String(cString: $0) } ?? "/"
        query = uri.flatMap { evhttp_uri_get_query($0) }.map { String(cString: $0) } ?? ""
    }

    /// The value of a parameter of the query; nil if there is none. Nothing in it is decoded.
    package func parameter(_ name: String) -> String? {
        for pair in query.split(separator: "&") where pair.hasPrefix(name + "=") {
            return String(pair.dropFirst(name.utf8.count + 1))
        }
        return nil
    }

    /// Answers. The client may have left meanwhile.
    package func answer(
        _ status: Int32, _ reason: String, type: String = "text/plain; charset=utf-8",
        headers: [(String, String)] = [], _ body: [UInt8]
    ) {
        guard let request else { return }
        self.request = nil
        let output = evhttp_request_get_output_headers(request)
        for (name, value) in headers + [
            ("Content-Type", type), ("Content-Length", "\(body.count)"), ("Connection", "close"),
            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
        ] {
            evhttp_add_header(output, name, value)
        }
        let buffer = evbuffer_new()
        if !isHead { evbuffer_add(buffer, body, body.count) }
        evhttp_send_reply(request, status, reason, buffer)
        evbuffer_free(buffer)
    }

    deinit { answer(500, "Internal Server Error", Array("no answer\n".utf8)) }
}

/// Answers requests on a listening socket.
///
/// evhttp of libevent 2.1 limits neither the number of connections nor the time of one: its timeout
/// begins again with each byte. So each connection is made here and is held by a reference of ours
/// until evhttp has dropped it, which shows in its callbacks. At the limit the listener rests, and
/// those that come wait in the kernel's queue.
package final class HTTPServer {
    /// The most connections at once.
    package static let mostConnections = 32
    /// The longest request line and headers, in bytes.
    package static let longestHeaders = 8192
    /// The longest time of a connection, in nanoseconds.
    package static let longestTime: Int64 = 5_000_000_000
    /// Between two looks at the connections that there are, in nanoseconds.
    private static let interval: Int64 = 50_000_000
    /// The same while there are none.
    private static let rest: Int64 = 1_000_000_000

    private struct Connection {
        let event: OpaquePointer
        let since: Int64
    }

    private let loop: EventLoop
    private let http: OpaquePointer
    private var listeners: [OpaquePointer] = []
    private var connections: [Connection] = []
    private var timer: Timer?
    private let handle: (HTTPRequest) -> Void

    /// Takes over sockets that listen. Nil if there is no memory; then they are closed.
    package init?(
        loop: EventLoop, sockets: [Int32], handle: @escaping (HTTPRequest) -> Void
    ) {
        guard let http = evhttp_new(loop.base) else {
            for socket in sockets { Glibc.close(socket) }
            return nil
        }
        self.loop = loop
        self.http = http
        self.handle = handle
        let me = Unmanaged.passUnretained(self).toOpaque()
        evhttp_set_max_headers_size(http, HTTPServer.longestHeaders)
        evhttp_set_max_body_size(http, 0)
        evhttp_set_timeout(http, Int32(HTTPServer.longestTime / 1_000_000_000))
        let all =
            EVHTTP_REQ_GET.rawValue | EVHTTP_REQ_HEAD.rawValue | EVHTTP_REQ_POST.rawValue
            | EVHTTP_REQ_PUT.rawValue | EVHTTP_REQ_DELETE.rawValue | EVHTTP_REQ_OPTIONS.rawValue
            | EVHTTP_REQ_PATCH.rawValue
        evhttp_set_allowed_methods(http, UInt16(all))
        evhttp_set_gencb(http, httpRequested, me)
        evhttp_set_bevcb(http, httpConnected, me)
        for (index, socket) in sockets.enumerated() {
            guard let bound = evhttp_accept_socket_with_handle(http, socket),
                let listener = evhttp_bound_socket_get_listener(bound)
            else {
                evhttp_free(http)
                for left in sockets[index...] { Glibc.close(left) }
                return nil
            }
            // Without descriptors it rests until the next look. Otherwise libevent would try and
            // complain without end.
            evconnlistener_set_error_cb(listener) { listener, _ in
                evconnlistener_disable(listener)
            }
            listeners.append(listener)
        }
        timer = Timer(loop: loop, owner: me, callback: httpTimer)
        timer?.start(after: HTTPServer.rest)
    }

    deinit {
        timer = nil
        // Frees the listener and closes the connections.
        evhttp_free(http)
        for connection in connections { bufferevent_decref(connection.event) }
    }

    /// A connection has been accepted: makes its buffers.
    fileprivate func connected() -> OpaquePointer? {
        guard
            let event = bufferevent_socket_new(
                loop.base, -1, Int32(BEV_OPT_CLOSE_ON_FREE.rawValue))
        else { return nil }
        bufferevent_incref(event)
        connections.append(Connection(event: event, since: EventLoop.now()))
        if connections.count == 1 { timer?.start(after: HTTPServer.interval) }
        if connections.count >= HTTPServer.mostConnections {
            for listener in listeners { evconnlistener_disable(listener) }
        }
        return event
    }

    /// Forgets connections that are gone, and ends those whose time is over.
    fileprivate func look() {
        let now = EventLoop.now()
        connections.removeAll { connection in
            if HTTPServer.isDropped(connection.event) {
                bufferevent_decref(connection.event)
                return true
            }
            if now - connection.since >= HTTPServer.longestTime {
                // evhttp sees the end and drops it.
                shutdown(bufferevent_getfd(connection.event), Int32(SHUT_RDWR))
            }
            return false
        }
        if connections.count < HTTPServer.mostConnections {
            for listener in listeners { evconnlistener_enable(listener) }
        }
        timer?.start(after: connections.isEmpty ? HTTPServer.rest : HTTPServer.interval)
    }

    /// evhttp takes its callbacks away when it drops a connection.
    private static func isDropped(_ event: OpaquePointer) -> Bool {
        var read: bufferevent_data_cb?
        var write: bufferevent_data_cb?
        var other: bufferevent_event_cb?
        bufferevent_getcb(event, &read, &write, &other, nil)
        return other == nil
    }

    fileprivate func requested(_ request: OpaquePointer) {
        let method = evhttp_request_get_command(request)
        let isHead = method == EVHTTP_REQ_HEAD
        let found = HTTPRequest(request, isHead: isHead)
        guard isHead || method == EVHTTP_REQ_GET else {
            found.answer(
                405, "Method Not Allowed", headers: [("Allow", "GET, HEAD")],
                Array("only GET and HEAD\n".utf8))
            return
        }
        // evhttp would read a body behind a GET as the next request.
        guard !HTTPServer.hasBody(request) else {
            found.answer(413, "Content Too Large", Array("a body is not taken\n".utf8))
            return
        }
        handle(found)
    }

    private static func hasBody(_ request: OpaquePointer) -> Bool {
        let headers = evhttp_request_get_input_headers(request)
        if evhttp_find_header(headers, "Transfer-Encoding") != nil { return true }
        guard let length = evhttp_find_header(headers, "Content-Length") else { return false }
        return strcmp(length, "0") != 0
    }
}

private func httpRequested(_ request: OpaquePointer?, _ server: UnsafeMutableRawPointer?) {
    guard let request, let server else { return }
    Unmanaged<HTTPServer>.fromOpaque(server).takeUnretainedValue().requested(request)
}

private func httpConnected(
    _: OpaquePointer?, _ server: UnsafeMutableRawPointer?
) -> OpaquePointer? {
    guard let server else { return nil }
    return Unmanaged<HTTPServer>.fromOpaque(server).takeUnretainedValue().connected()
}

private func httpTimer(_: Int32, _: Int16, _ server: UnsafeMutableRawPointer?) {
    guard let server else { return }
    Unmanaged<HTTPServer>.fromOpaque(server).takeUnretainedValue().look()
}
