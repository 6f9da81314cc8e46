import Config
import EventLoop
import Glibc
import TestSupport
import Testing
import Topology

@testable import Proxy

/// A redis-server of the PATH, or the one that REDPOOL_SERVER names, in a folder of its own.
private final class RealServer {
    let port: UInt16
    private let folder: Folder
    private var process: pid_t = 0

    init(_ lines: [String], isSentinel: Bool = false) throws {
        let (probe, address) = try loopbackListener()
        port = address.port
        close(probe)
        folder = try Folder()
        let path = folder.path("conf")
        let head = [
            "port \(port)", "bind 127.0.0.1", "logfile /dev/null", "dir \(folder.path(""))",
        ]
        let file = try #require(fopen(path, "w"))
        for line in head + (isSentinel ? [] : ["save \"\""]) + lines { fputs(line + "\n", file) }
        fclose(file)
        let program = getenv("REDPOOL_SERVER").map { String(cString: $0) } ?? "redis-server"
        var words: [UnsafeMutablePointer<CChar>?] = [strdup(program), strdup(path)]
        if isSentinel { words.append(strdup("--sentinel")) }
        words.append(nil)
        defer { for word in words { free(word) } }
        let noEnvironment: [UnsafeMutablePointer<CChar>?] = [nil]
        let error = posix_spawnp(&process, program, nil, nil, words, noEnvironment)
        guard error == 0 else { throw TestFailure("\(program): \(System.errorText(error))") }
        try eventually("a server on \(port)") { (try? ask("PING")) == "+PONG\r\n" }
    }

    deinit {
        kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    var node: NodeAddress? { NodeAddress(host: utf8("127.0.0.1"), port: port) }

    /// The first bytes of the reply to a command.
    func ask(_ words: String...) throws -> String {
        let deadline = BlockingSocket.now + Patience.nanoseconds
        let address = try #require(SocketAddress(numericHost: "127.0.0.1", port: port))
        let socket = try BlockingSocket(address, until: deadline)
        try socket.send(array(words), until: deadline)
        var reply: [UInt8] = []
        _ = try socket.receive(into: &reply, until: deadline)
        return text(reply)
    }
}

@Suite("SentinelWatch with real Sentinels")
struct RealSentinelTests {
    @Test("a failover that SENTINEL FAILOVER begins is followed, and the old primary is left first")
    func failover() throws {
        let first = try RealServer([])
        let second = try RealServer([
            "replicaof 127.0.0.1 \(first.port)", "repl-diskless-sync-delay 0",
        ])
        try eventually("a replica") { try first.ask("ROLE").contains("\(second.port)") }
        let sentinels = try (0..<3).map { _ in
            try RealServer(
                [
                    "sentinel monitor mymaster 127.0.0.1 \(first.port) 2",
                    "sentinel down-after-milliseconds mymaster 5000",
                ], isSentinel: true)
        }
        let world = try WatchWorld()
        // The others are named by the first one.
        try world.start(try world.pool(places: ["127.0.0.1:\(sentinels[0].port)"]))
        try world.run(until: "the first primary") {
            world.watch.primary?.node == first.node && world.watch.report.isVerified
        }
        try eventually("a failover") {
            try sentinels[0].ask("SENTINEL", "FAILOVER", "mymaster") == "+OK\r\n"
        }
        try world.run(until: "the second primary") {
            world.watch.primary?.node == second.node && world.watch.report.isVerified
        }
        #expect(
            world.events.map { $0.split(separator: " ").prefix(2).joined(separator: " ") } == [
                "adopted \(first.port)", "left \(first.port)", "adopted \(second.port)",
            ])
        let failover = try #require(world.watch.report.lastFailover)
        #expect(failover.epoch >= 1 && failover.new == second.node)
        try world.run(until: "all three have been found") {
            world.watch.report.sentinels.count { $0.claim?.address == second.node } == 3
        }
    }
}
