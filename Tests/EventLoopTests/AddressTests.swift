import EventLoop
import Glibc
import TestSupport
import Testing

@Suite("SocketAddress")
struct AddressTests {
    @Test(
        "numbers are read and printed",
        arguments: [
            ("127.0.0.1", 6379, "127.0.0.1:6379"), ("0.0.0.0", 1, "0.0.0.0:1"),
            ("255.255.255.255", 65535, "255.255.255.255:65535"), ("*", 6380, "0.0.0.0:6380"),
            ("localhost", 6379, "127.0.0.1:6379"), ("10.1.2.3", 0, "10.1.2.3:0"),
            ("::1", 6379, "[::1]:6379"), ("::", 6379, "[::]:6379"),
            ("2001:db8::0:1", 6379, "[2001:db8::1]:6379"),
            ("::ffff:10.0.0.1", 6379, "[::ffff:10.0.0.1]:6379"),
        ] as [(String, UInt16, String)])
    func numbers(host: String, port: UInt16, text: String) throws {
        let address = try #require(SocketAddress(numericHost: host, port: port))
        #expect(address.description == text)
        #expect(address.port == port)
        #expect(!address.isUnix)
        var bytes: [UInt8] = [7]
        let isShort = address.append(to: &bytes)
        #expect(isShort == !host.contains(":"))
        #expect(bytes == [7] + (isShort ? Array(text.utf8) : []))
    }

    @Test(
        "names and what is no address are not looked up",
        arguments: [
            "redis.example", "", "127.0.0.1:6379", "[::1]", "300.1.1.1", "::g", " 127.0.0.1",
        ])
    func noNumbers(host: String) {
        #expect(SocketAddress(numericHost: host, port: 6379) == nil)
    }

    @Test("random IPv4 addresses and ports are printed as they were given, both ways")
    func random() throws {
        var random = SeededRandom(seed: 4)
        for _ in 0..<500 {
            let host = random.bytes(4).map(String.init).joined(separator: ".")
            let port = UInt16(truncatingIfNeeded: random.next())
            let address = try #require(SocketAddress(numericHost: host, port: port))
            var bytes: [UInt8] = []
            #expect(address.append(to: &bytes))
            try #require(address.description == "\(host):\(port)")
            try #require(bytes == Array(address.description.utf8))
            #expect(address.port == port)
        }
    }

    @Test("unix paths: up to 107 bytes, and not empty")
    func unix() throws {
        let longest = "/" + String(repeating: "x", count: 106)
        for path in ["/run/redpool.sock", "relative", longest] {
            let address = try #require(SocketAddress(unixPath: path))
            #expect(address.isUnix)
            #expect(address.port == 0)
            #expect(address.description == "unix:" + path)
            var bytes: [UInt8] = []
            #expect(!address.append(to: &bytes))
            #expect(bytes.isEmpty)
        }
        #expect(SocketAddress(unixPath: "") == nil)
        #expect(SocketAddress(unixPath: longest + "x") == nil)
    }

    @Test("the resolver answers for numbers as well")
    func resolve() {
        let answer = SocketAddress.resolve("127.0.0.1", port: 6379)
        #expect(answer.addresses.map(\.description) == ["127.0.0.1:6379"])
        #expect(answer.problem == "")
    }

    @Test("both ends of a connection know each other's address")
    func ends() throws {
        let (listener, address) = try loopbackListener()
        defer { close(listener) }
        #expect(address.port != 0)
        #expect(SocketAddress.accept(listener).descriptor == -EAGAIN)
        let near = address.connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        defer { close(near) }
        try awaitReadable(listener)
        let (far, peer) = SocketAddress.accept(listener)
        defer { close(far) }
        #expect(far >= 0)
        #expect(peer.description == SocketAddress.local(of: near)?.description)
        #expect(peer.description == SocketAddress.remote(of: far)?.description)
        #expect(SocketAddress.remote(of: near)?.description == address.description)
        #expect(SocketAddress.local(of: far)?.description == address.description)
        #expect(SocketAddress.remote(of: listener) == nil)
        #expect(SocketAddress.local(of: -1) == nil)
    }

    @Test("a unix socket knows the process at its other end, others do not")
    func process() throws {
        let (near, far) = try connectedPair(.unix)
        defer {
            close(near)
            close(far)
        }
        let found = try #require(SocketAddress.process(of: far))
        #expect(found == (getpid(), getuid()))
        let (one, other) = try connectedPair(.tcp)
        defer {
            close(one)
            close(other)
        }
        #expect(SocketAddress.process(of: one) == nil)
        #expect(SocketAddress.process(of: -1) == nil)
    }

    @Test("the ends of a unix socket have its path, or none")
    func unixEnds() throws {
        let folder = try Folder()
        let path = folder.path("socket")
        let address = try #require(SocketAddress(unixPath: path))
        #expect(
            address.connect(keepaliveSeconds: 1, userTimeoutMilliseconds: 1) == -ENOENT)
        let listener = address.listen(backlog: 1)
        defer { close(listener) }
        #expect(listener >= 0)
        let near = address.connect(keepaliveSeconds: 1, userTimeoutMilliseconds: 1)
        defer { close(near) }
        let far = try acceptOne(listener)
        defer { close(far) }
        #expect(SocketAddress.remote(of: near)?.description == "unix:" + path)
        #expect(SocketAddress.local(of: far)?.description == "unix:" + path)
        #expect(SocketAddress.remote(of: far)?.description == "unix:")
    }

    @Test("an address that is taken cannot be listened on")
    func taken() throws {
        let (listener, address) = try loopbackListener()
        defer { close(listener) }
        #expect(address.listen(backlog: 1) == -EADDRINUSE)
        let elsewhere = try #require(SocketAddress(numericHost: "192.0.2.1", port: 0))
        #expect(elsewhere.listen(backlog: 1) == -EADDRNOTAVAIL)
    }

    @Test("an IPv6 listener leaves IPv4 to others")
    func onlyIPv6() throws {
        let any = try #require(SocketAddress(numericHost: "::1", port: 0))
        let listener = any.listen(backlog: 1)
        // A machine may be without it.
        guard listener >= 0 else { return }
        defer { close(listener) }
        #expect(option(listener, Int32(IPPROTO_IPV6), IPV6_V6ONLY) == 1)
        #expect(SocketAddress.local(of: listener)?.description.hasPrefix("[::1]:") == true)
    }

    private func option(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = -1
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, level, name, &value, &length)
        return value
    }

    @Test("what a connection is set to", arguments: [0, 30] as [Int32])
    func options(seconds: Int32) throws {
        let (listener, address) = try loopbackListener()
        defer { close(listener) }
        let near = address.connect(
            keepaliveSeconds: seconds, userTimeoutMilliseconds: seconds * 1000)
        defer { close(near) }
        let tcp = Int32(IPPROTO_TCP)
        #expect(option(near, tcp, TCP_NODELAY) != 0)
        #expect((option(near, SOL_SOCKET, SO_KEEPALIVE) != 0) == (seconds > 0))
        #expect(option(near, tcp, TCP_USER_TIMEOUT) == seconds * 1000)
        guard seconds > 0 else { return }
        #expect(option(near, tcp, TCP_KEEPIDLE) == seconds)
        #expect(option(near, tcp, TCP_KEEPINTVL) == 10)
        #expect(option(near, tcp, TCP_KEEPCNT) == 3)
    }
}
