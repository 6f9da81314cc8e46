// Socket addresses: parsing, printing, and the calls that need the raw form.

internal import CLibevent
internal import Glibc

/// An address to connect to or to listen on: IPv4, IPv6 or a unix path.
package struct SocketAddress: Sendable {
    private var storage = sockaddr_storage()
    private var length: socklen_t = 0

    package var isUnix: Bool { Int32(storage.ss_family) == AF_UNIX }

    private init() {}

    /// The address of a unix socket; nil when the path is empty or longer than 107 bytes.
    package init?(unixPath: String) {
        guard redpool_unix_address(unixPath, &storage, &length) == 0 else { return nil }
    }

    /// The address for a numeric IPv4 or IPv6 address, `*` (any) or `localhost`. Does not ask a
    /// name server.
    package init?(numericHost host: String, port: UInt16) {
        let text = host == "*" ? "0.0.0.0" : (host == "localhost" ? "127.0.0.1" : host)
        guard
            let found = SocketAddress.lookUp(text, port: port, flags: Int32(AI_NUMERICHOST))
                .addresses.first
        else { return nil }
        self = found
    }

    /// Asks the system's resolver. It blocks: never call it on an event loop.
    package static func resolve(_ host: String, port: UInt16) -> NameAnswer {
        lookUp(host, port: port, flags: 0)
    }

    private static func lookUp(_ host: String, port: UInt16, flags: Int32) -> NameAnswer {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, String(port), &hints, &list)
        guard result == 0, let list else { return .failed(result, errno) }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var next: UnsafeMutablePointer<addrinfo>? = list
        while let entry = next {
            next = entry.pointee.ai_next
            let length = Int(entry.pointee.ai_addrlen)
            guard let source = entry.pointee.ai_addr,
                length <= MemoryLayout<sockaddr_storage>.size
            else { continue }
            var address = SocketAddress()
            address.length = entry.pointee.ai_addrlen
            memcpy(&address.storage, source, length)
            found.append(address)
        }
        return NameAnswer(addresses: found, problem: found.isEmpty ? "it has no address" : "")
    }

    /// `127.0.0.1:6379`, `[::1]:6379` or `unix:/path`. CLIENT LIST shows unix addresses
    /// differently.
    package var description: String {
        if isUnix { return "unix:" + path }
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var service = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let failed = withUnsafePointer(to: storage) { raw in
            raw.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getnameinfo(
                    $0, length, &host, socklen_t(host.count), &service, socklen_t(service.count),
                    NI_NUMERICHOST | NI_NUMERICSERV)
            }
        }
        if failed != 0 { return "?" }
        let name = String(
            decoding: host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let port = String(
            decoding: service.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return Int32(storage.ss_family) == AF_INET6 ? "[\(name)]:\(port)" : "\(name):\(port)"
    }

    /// The numeric host of a TCP address, without brackets.
    package var hostText: String {
        let text = description
        guard let colon = text.lastIndex(of: ":") else { return text }
        return String(text[..<colon].drop { $0 == "[" }.prefix { $0 != "]" })
    }

    /// Appends `description` for IPv4, without making a string. False for other addresses.
    package func append(to output: inout [UInt8]) -> Bool {
        guard Int32(storage.ss_family) == AF_INET else { return false }
        withUnsafeBytes(of: storage) { raw in
            let start = MemoryLayout<sockaddr_in>.offset(of: \.sin_addr) ?? 4
            for index in 0..<4 {
                if index > 0 { output.append(UInt8(ascii: ".")) }
                output.append(contentsOf: String(raw[start + index]).utf8)
            }
        }
        output.append(UInt8(ascii: ":"))
        output.append(contentsOf: String(port).utf8)
        return true
    }

    /// 0 for a unix address.
    package var port: UInt16 {
        guard [AF_INET, AF_INET6].contains(Int32(storage.ss_family)) else { return 0 }
        // The offset is the same for IPv4 and IPv6.
        let start = MemoryLayout<sockaddr_in>.offset(of: \.sin_port) ?? 2
        return withUnsafeBytes(of: storage) {
            UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: start, as: UInt16.self))
        }
    }

    private var path: String {
        withUnsafeBytes(of: storage) { raw in
            let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
            let bytes = raw[start..<max(start, min(Int(length), raw.count))]
            return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// Starts a non-blocking connect. Returns a descriptor that becomes writable when the connect
    /// has finished, or -errno. Any error but EINPROGRESS fails at once (EAGAIN on unix: the
    /// backlog is full).
    package func connect(keepaliveSeconds: Int32, userTimeoutMilliseconds: Int32) -> Int32 {
        let fd = redpool_socket(Int32(storage.ss_family))
        guard fd >= 0 else { return fd }
        if !isUnix {
            SocketAddress.tune(fd, keepaliveSeconds: keepaliveSeconds)
            if userTimeoutMilliseconds > 0 {
                _ = redpool_set_option(
                    fd, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, userTimeoutMilliseconds)
            }
        }
        var copy = storage
        let result = redpool_connect(fd, &copy, length)
        if result < 0 && result != -EINPROGRESS {
            _ = Glibc.close(fd)
            return result
        }
        return fd
    }

    /// No delay, and keepalive after `keepaliveSeconds` of silence (then 3 probes, 10 s apart); 0 =
    /// off.
    package static func tune(_ fd: Int32, keepaliveSeconds: Int32) {
        let tcp = Int32(IPPROTO_TCP)
        _ = redpool_set_option(fd, tcp, TCP_NODELAY, 1)
        _ = redpool_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, keepaliveSeconds > 0 ? 1 : 0)
        guard keepaliveSeconds > 0 else { return }
        _ = redpool_set_option(fd, tcp, TCP_KEEPIDLE, keepaliveSeconds)
        _ = redpool_set_option(fd, tcp, TCP_KEEPINTVL, 10)
        _ = redpool_set_option(fd, tcp, TCP_KEEPCNT, 3)
    }

    /// Binds and listens. Returns the descriptor or -errno.
    package func listen(backlog: Int32) -> Int32 {
        let fd = bind()
        guard fd >= 0 else { return fd }
        let result = SocketAddress.listen(on: fd, backlog: backlog)
        if result < 0 {
            _ = Glibc.close(fd)
            return result
        }
        return fd
    }

    /// Returns the descriptor of a socket with this address or -errno.
    func bind() -> Int32 {
        let fd = redpool_socket(Int32(storage.ss_family))
        guard fd >= 0 else { return fd }
        if !isUnix { _ = redpool_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) }
        if Int32(storage.ss_family) == AF_INET6 {
            _ = redpool_set_option(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
        }
        var copy = storage
        let result = redpool_bind(fd, &copy, length)
        if result < 0 {
            _ = Glibc.close(fd)
            return result
        }
        return fd
    }

    /// Returns 0 or -errno.
    static func listen(on descriptor: Int32, backlog: Int32) -> Int32 {
        redpool_listen(descriptor, backlog)
    }
}

/// What the system's resolver says about a name.
package struct NameAnswer: Sendable {
    /// In the order in which to try them; empty if there is a problem.
    package let addresses: [SocketAddress]
    /// Why there are no addresses, for messages.
    package let problem: String

    /// An answer of the resolver, or a substitute for one.
    package init(addresses: [SocketAddress], problem: String) {
        self.addresses = addresses
        self.problem = problem
    }

    /// The answer for an error of getaddrinfo and the errno behind it.
    fileprivate static func failed(_ result: Int32, _ error: Int32) -> NameAnswer {
        let isSystem = result == EAI_SYSTEM
        let text = gai_strerror(result).map { String(cString: $0) } ?? "error \(result)"
        return NameAnswer(addresses: [], problem: isSystem ? System.errorText(error) : text)
    }
}

extension SocketAddress {
    /// Takes one connection from a listener: a descriptor, or -errno (EAGAIN when there is none).
    package static func accept(_ listener: Int32) -> (descriptor: Int32, peer: SocketAddress) {
        var peer = SocketAddress()
        let fd = redpool_accept(listener, &peer.storage, &peer.length)
        return (fd, peer)
    }

    /// The address a socket is bound to.
    package static func local(of descriptor: Int32) -> SocketAddress? {
        var address = SocketAddress()
        let result = redpool_local_address(descriptor, &address.storage, &address.length)
        return result == 0 ? address : nil
    }

    /// No address, for the peer of a connection that has ended already.
    package static var nowhere: SocketAddress { SocketAddress() }

    /// The address of a connected socket's peer.
    package static func remote(of descriptor: Int32) -> SocketAddress? {
        var address = SocketAddress()
        let result = redpool_peer_address(descriptor, &address.storage, &address.length)
        return result == 0 ? address : nil
    }

    /// The process that has connected a unix socket, and its user. Nil for any other socket. The
    /// process is 0 where it is in a namespace that this one cannot see.
    package static func process(of descriptor: Int32) -> (pid: Int32, uid: UInt32)? {
        guard let local = local(of: descriptor), local.isUnix else { return nil }
        var (pid, uid): (Int32, UInt32) = (0, 0)
        return redpool_peer_process(descriptor, &pid, &uid) == 0 ? (pid, uid) : nil
    }
}
