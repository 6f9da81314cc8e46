// A real worker on the test's thread, with clients and a server in the test's hand. What of the
// worker's insides these tests look at is here.

import Config
import EventLoop
import Glibc
import Logging
import Pool
import Session
import TestSupport
import Testing

@testable import Proxy

/// An application's end of a connection.
final class TestClient {
    private let descriptor: Int32
    private(set) var received: [UInt8] = []
    /// The worker has ended the connection.
    private(set) var isClosed = false
    private var unsent: [UInt8] = []
    private var pushed = 0

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    var text: String { String(decoding: received, as: UTF8.self) }

    func send(_ words: String...) { send(array(words)) }

    func send(_ bytes: [UInt8]) {
        unsent += bytes
        push()
    }

    /// Writes what the socket takes.
    func push() {
        while pushed < unsent.count {
            let count = unsent.withUnsafeBytes {
                Glibc.send(
                    descriptor, $0.baseAddress! + pushed, $0.count - pushed,
                    Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return }
            pushed += count
        }
        unsent = []
        pushed = 0
    }

    /// Reads at most `most` bytes.
    func read(_ most: Int = .max) {
        var left = most
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while left > 0, !isClosed {
            let count = recv(descriptor, &buffer, min(left, buffer.count), Int32(MSG_DONTWAIT))
            if count < 0, errno == EAGAIN { return }
            guard count > 0 else {
                isClosed = true
                return
            }
            received += buffer[..<count]
            left -= count
        }
    }

    /// What has come since, which is forgotten.
    func take() -> String {
        defer { received = [] }
        return text
    }

    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }
}

/// The worker, its clients and its server, one step after the other.
final class World {
    let server: FakeServer
    let group: WorkerGroup
    let worker: Worker
    private(set) var clients: [TestClient] = []
    /// Clients read what comes; not so in tests of those who do not.
    var clientsRead = true
    private static let table = CommandTable()

    convenience init(head: String = "", _ lines: String...) throws {
        try self.init(head: head, lines: lines)
    }

    /// - Parameter place: in place of `upstream` with the server's address.
    init(head: String = "", place: String? = nil, lines: [String]) throws {
        server = try FakeServer()
        let config = try configuration(
            head: head, lines: [place ?? "upstream: 127.0.0.1:\(server.port)"] + lines)
        group = try #require(WorkerGroup(config))
        let settings = WorkerSettings(
            config: config, table: World.table, listeners: [], maxClients: 1000)
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        worker = try #require(Worker(settings: settings, index: 0, group: group, log: log))
    }

    deinit {
        // It ends as at the end of the daemon.
        worker.mailbox.post(.stop)
        _ = worker.run(started: {}, drained: { _ in })
    }

    func connect() throws -> TestClient {
        let (near, far) = try connectedPair(.tcp)
        var size: Int32 = 32_768
        setsockopt(near, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        let place = try #require(group.admit(1000, to: "main"))
        let peer = try #require(SocketAddress.remote(of: far))
        worker.take(
            AcceptedClient(pool: "main", descriptor: far, peer: peer, serial: place.serial),
            for: place.worker)
        let client = TestClient(near)
        clients.append(client)
        return client
    }

    /// The first half of a turn: everything that is ready is read.
    func collect() {
        worker.readyCarriedOver()
        #expect(worker.loop.runOnce(waiting: false))
    }

    /// The second half: everything is written.
    func finish() { worker.epilogue() }

    func turn() {
        server.serve()
        for client in clients { client.push() }
        collect()
        finish()
        if clientsRead { for client in clients { client.read() } }
    }

    /// Turns until `condition` holds.
    func run(until what: String, _ condition: () -> Bool) throws {
        try eventually(what) {
            if condition() { return true }
            turn()
            return condition()
        }
    }

    /// Turns in which nothing happens any more.
    func settle() { for _ in 0..<5 { turn() } }

    /// Has the worker run as in the daemon until `condition` holds, then ends it.
    func reallyRun(until what: String, _ condition: @escaping () -> Bool) throws {
        let end = EventLoop.now() + Patience.nanoseconds
        var isTrue = false
        let script = Script(worker.loop) { [unowned self] in
            server.serve()
            for client in clients {
                client.push()
                client.read()
            }
            isTrue = isTrue || condition()
            if isTrue || EventLoop.now() >= end { worker.mailbox.post(.stop) }
        }
        #expect(worker.run(started: {}, drained: { _ in }))
        withExtendedLifetime(script) {}
        if !isTrue { throw TestFailure("never: \(what)") }
    }

    /// What a client gets for a command.
    func ask(_ client: TestClient, _ words: String...) throws -> String {
        client.send(array(words))
        try run(until: "a reply to \(words)") { !client.received.isEmpty || client.isClosed }
        return client.take()
    }
}

/// What the test does in each turn of a worker that runs by itself.
private final class Script {
    private var timer: [Box] = []
    private let body: () -> Void

    private final class Box {
        let timer: Timer
        init(_ loop: EventLoop, _ owner: UnsafeMutableRawPointer) {
            timer = Timer(loop: loop, owner: owner, callback: goOn)
        }
    }

    init(_ loop: EventLoop, _ body: @escaping () -> Void) {
        self.body = body
        timer = [Box(loop, Unmanaged.passUnretained(self).toOpaque())]
        timer[0].timer.start(after: 0)
    }

    fileprivate func run() {
        body()
        timer[0].timer.start(after: 100_000)
    }
}

private func goOn(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Script>.fromOpaque(owner).takeUnretainedValue().run()
}

// MARK: - Insides

extension World {
    private var pool: PoolFront { worker.pools[0] }

    /// Does what each tick does for the pool.
    func tick() {
        worker.clock.isRead = false
        worker.updateNow()
        pool.tick()
        finish()
    }

    /// What the worker knows of the server.
    var facts: ServerFacts { pool.primary.facts }

    /// Bytes of commands that no server's socket has taken.
    var unsent: Int {
        pool.primary.allUpstreams.reduce(0) { $0 + $1.output.unsent }
    }

    /// Has the kernel take little of what a server does not read.
    func shrinkSendBuffers() {
        for upstream in pool.primary.allUpstreams {
            var size: Int32 = 32_768
            setsockopt(
                upstream.channel.descriptor, SOL_SOCKET, SO_SNDBUF, &size,
                socklen_t(MemoryLayout<Int32>.size))
        }
    }

    /// What the worker's side of the connections to the server knows of its peers.
    var peers: [PeerState] { pool.primary.allUpstreams.map { $0.channel.peer } }

    /// Bytes in buffers, and the part of them that is for clients.
    var buffered: Int { worker.chunks.bytesInUse }
    var bufferedForClients: Int { worker.chunks.outputBytes }

    /// Clients and upstreams that are being read.
    var clientsBeingRead: Int { worker.clients.all.count { $0.channel.isReading } }
    var upstreamsBeingRead: Int {
        pool.primary.allUpstreams.count { $0.channel.isReading }
    }

    var census: (open: Int, idle: Int, pinned: Int) {
        let census = pool.primary.machine.census
        return (census.open, census.idle, census.pinned)
    }

    /// Commands that went over shared connections.
    var sharedCommands: UInt64 { pool.traffic.commandsShared }

    /// Times that unreceived commands were sent again.
    var retried: UInt64 { pool.traffic.retried }
}
