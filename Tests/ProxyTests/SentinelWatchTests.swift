import Config
import EventLoop
import Pool
import TestSupport
import Testing
import Topology

@testable import Proxy

@Suite("SentinelWatch: whom it takes for the primary")
struct SentinelWatchTests {
    @Test("the primary that Sentinels name is adopted, and its role is asked")
    func start() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(3, naming: server)
        try world.start(try world.pool(sentinels))
        #expect(world.watch.report.primary == nil)
        #expect(world.watch.report.problem.hasPrefix("no Sentinel knows mymaster (127.0.0.1:"))
        try world.run(untilPrimary: server)
        #expect(world.events == ["adopted \(server.node.port) 1"])
        #expect(server.count(of: "ROLE") >= 1)
        #expect(world.lines.last("sentinel.primary")?["primary"] == "\(server.node)")
        try world.run(until: "all are connected") {
            world.watch.report.sentinels.allSatisfy {
                $0.state == .connected && $0.claim?.epoch == 1 && $0.heardAt > 0
                    && $0.error.isEmpty && $0.isConfigured
            }
        }
        #expect(world.watch.report.failovers == 0 && world.watch.report.lastFailover == nil)
    }

    @Test("while no Sentinel names a primary, the handler is told why, and is told no more then")
    func unknown() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(2, naming: server)
        for sentinel in sentinels { sentinel.claim = nil }
        try world.start(try world.pool(sentinels))
        try world.run(until: "it is told twice") { world.problems.count >= 2 }
        let problem = "ERR No such master with that name"
        #expect(
            world.problems.last
                == "no Sentinel knows mymaster (\(sentinels[0].node): \(problem); "
                + "\(sentinels[1].node): \(problem))")
        for sentinel in sentinels { sentinel.claim = PrimaryClaim(address: server.node, epoch: 0) }
        try world.run(untilPrimary: server)
        let told = world.problems.count
        for sentinel in sentinels { sentinel.claim = nil }
        try world.runOneRound(sentinels)
        #expect(world.problems.count == told)
        #expect(world.watch.primary?.address == .tcp(host: "127.0.0.1", port: server.node.port))
    }

    @Test("a switch is learnt by a message, the old primary is left first, and nothing waits")
    func switched() throws {
        let world = try WatchWorld()
        let (old, new) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(3, naming: old)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: old)
        for sentinel in sentinels {
            sentinel.claim = PrimaryClaim(address: new.node, epoch: 2)
        }
        sentinels[1].publish(
            "+switch-master",
            "mymaster 127.0.0.1 \(old.node.port) 127.0.0.1 \(new.node.port)")
        let began = EventLoop.now()
        try world.run(untilPrimary: new)
        #expect(EventLoop.now() - began < .seconds(5))
        #expect(world.events.suffix(2) == ["left \(old.node.port)", "adopted \(new.node.port) 2"])
        let failover = try #require(world.watch.report.lastFailover)
        #expect(failover.old == old.node && failover.new == new.node && failover.epoch == 2)
        #expect(failover.sign == .message && failover.duration < .seconds(5))
        #expect(world.watch.report.failovers == 1)
        let line = try #require(world.lines.last("failover"))
        #expect(line["old"] == "\(old.node)" && line["primary"] == "\(new.node)")
        #expect(line["epoch"] == "2" && line["sign"] == "message" && line["ms"] != nil)
    }

    @Test("signs of trouble have all Sentinels asked", arguments: [0, 1, 2, 3])
    func trouble(_ number: Int) throws {
        let world = try WatchWorld()
        let (old, new) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(3, naming: old)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: old)
        try world.runOneRound(sentinels)
        for sentinel in sentinels {
            sentinel.claim = PrimaryClaim(address: new.node, epoch: 2)
        }
        old.role = array(["slave", "127.0.0.1", "\(new.node.port)", "connected", "1"])
        let trouble = [PrimaryTrouble.readOnly, .lost, .wrongRole, .dialFailed][number]
        let told = world.events
        // Another server's trouble means nothing.
        world.watch.trouble(trouble, at: new.node)
        world.watch.trouble(trouble, at: old.node)
        #expect(world.events == told, "the handler is never called from within")
        try world.run(untilPrimary: new)
        #expect(world.events.suffix(2).first == "left \(old.node.port)")
        let sign = [SentinelFailover.Sign.readonly, .lost, .role, .dial][number]
        #expect(world.watch.report.lastFailover?.sign == sign)
    }

    @Test("a primary that was a replica for a moment is adopted again, which is no failover")
    func replicaForAMoment() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(3, naming: server)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: server)
        let primary = server.role
        server.role = array(["slave", "127.0.0.1", "1", "connect", "0"])
        world.watch.trouble(.readOnly, at: server.node)
        try world.run(until: "it is left") {
            world.events.last == "left \(server.node.port)"
        }
        server.role = primary
        try world.run(until: "it is adopted") {
            world.events.last == "adopted \(server.node.port) 1"
        }
        #expect(world.events.count == 3)
        #expect(world.watch.report.isVerified && world.watch.report.failovers == 0)
        #expect(world.lines.count(of: "sentinel.primary") == 2)
        #expect(world.lines.count(of: "failover") == 0)
    }

    @Test("a stale Sentinel with a lower epoch changes nothing")
    func stale() throws {
        let world = try WatchWorld()
        let (old, new) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(3, naming: new, epoch: 7)
        sentinels[0].claim = PrimaryClaim(address: old.node, epoch: 6)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: new)
        sentinels[0].publish("+switch-master", "mymaster 127.0.0.1 1 127.0.0.1 2")
        world.watch.trouble(.readOnly, at: new.node)
        try world.runOneRound(sentinels)
        try world.run(untilPrimary: new)
        #expect(world.events == ["adopted \(new.node.port) 7"])
        #expect(world.row(of: sentinels[0])?.claim?.epoch == 6)
    }

    @Test("a higher epoch of one Sentinel alone is believed when the server says so, else not")
    func proof() throws {
        let world = try WatchWorld()
        let (old, new) = (try world.speaker(), try world.speaker())
        new.role = array(["slave", "127.0.0.1", "1", "connect", "0"])
        let sentinels = try world.sentinels(3, naming: old)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: old)
        sentinels[2].claim = PrimaryClaim(address: new.node, epoch: 2)
        sentinels[2].publish("+promoted-slave", "slave x 127.0.0.1 1 @ mymaster 127.0.0.1 2")
        let asked = new.count(of: "ROLE")
        try world.run(until: "its role was asked twice") { new.count(of: "ROLE") >= asked + 2 }
        #expect(world.watch.primary?.node == old.node)
        new.role = array(["master", "0"])
        try world.run(untilPrimary: new)
    }

    @Test("Sentinels that others name are asked as well, and one that is known twice is one")
    func discovery() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(3, naming: server)
        for sentinel in sentinels {
            sentinel.peers = sentinels.map(\.peer).filter { $0 != sentinel.peer }
        }
        try world.start(try world.pool([sentinels[0]]))
        try world.run(until: "three Sentinels that have answered") {
            world.watch.report.sentinels.count { $0.claim != nil } == 3
        }
        #expect(world.watch.report.sentinels.count(where: \.isConfigured) == 1)
    }

    @Test("a Sentinel that goes away is told of once, and when it is back; the primary stays")
    func lost() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(1, naming: server)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: server)
        sentinels[0].hangUp()
        try world.run(until: "it is lost") { world.lines.count(of: "sentinel.lost") == 1 }
        let line = world.lines.last("sentinel.lost")
        #expect(line?["sentinel"] == "\(sentinels[0].node)" && line?["connected"] == "0")
        #expect(line?["err"] == "it has closed the connection")
        #expect(world.row(of: sentinels[0])?.error == "it has closed the connection")
        try world.run(until: "it is back") { world.lines.count(of: "sentinel.back") == 1 }
        #expect(world.lines.count(of: "sentinel.lost") == 1)
        #expect(world.events == ["adopted \(server.node.port) 1"])
    }

    @Test("with another login the connections are new; with another name the search begins anew")
    func reconfigure() throws {
        let world = try WatchWorld()
        let (server, other) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(2, naming: server)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: server)
        let before = sentinels.map(\.connections.count)
        for sentinel in sentinels { sentinel.login = ["watcher", "good"] }
        let keys = ["sentinelUsername: watcher", "sentinelPasswordFile: /pw"]
        world.watch.reconfigure(try world.pool(sentinels, keys, files: ["/pw": utf8("good\n")]))
        try world.run(until: "all are connected anew") {
            zip(sentinels, before).allSatisfy {
                $0.connections.count >= $1 + 2 && $0.open.count == 2
            } && world.watch.report.sentinels.allSatisfy { $0.claim != nil }
        }
        #expect(world.events == ["adopted \(server.node.port) 1"])
        #expect(world.lines.count(of: "sentinel.lost") == 0)
        for sentinel in sentinels { sentinel.claim = PrimaryClaim(address: other.node, epoch: 0) }
        let named = keys + ["primaryName: another"]
        world.watch.reconfigure(try world.pool(sentinels, named, files: ["/pw": utf8("good\n")]))
        #expect(world.watch.primary == nil)
        try world.run(untilPrimary: other)
        #expect(world.watch.report.failovers == 0)
    }

    @Test("another list of Sentinels is asked, and what was decided stays")
    func otherSentinels() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(3, naming: server)
        try world.start(try world.pool([sentinels[0]]))
        try world.run(untilPrimary: server)
        world.watch.reconfigure(try world.pool(Array(sentinels[1...])))
        try world.run(until: "the others have answered") {
            world.watch.report.sentinels.count { $0.claim != nil } == 2
        }
        #expect(world.row(of: sentinels[0]) == nil)
        try world.run(until: "the first one is closed") { sentinels[0].open.isEmpty }
        #expect(world.events == ["adopted \(server.node.port) 1"])
    }

    @Test("after stop nothing is said, and all is closed")
    func stop() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(2, naming: server)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: server)
        world.watch.stop()
        world.watch.trouble(.readOnly, at: server.node)
        try world.run(until: "all is closed") { sentinels.allSatisfy(\.open.isEmpty) }
        #expect(world.events.count == 1)
    }

    @Test("the handler may tell of trouble, change the configuration and stop from within")
    func handlerCallsBack() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(2, naming: server)
        let pool = try world.pool(sentinels)
        world.onAdopted = { primary in
            world.watch.trouble(.dialFailed, at: primary.node)
            world.watch.reconfigure(pool)
        }
        try world.start(pool)
        try world.run(untilPrimary: server)
        let asked = server.count(of: "ROLE")
        world.watch.trouble(.lost, at: server.node)
        try world.run(until: "its role was asked again") { server.count(of: "ROLE") > asked }
        try world.run(untilPrimary: server)
        let (last, more) = (try WatchWorld(), try world.speaker())
        more.claim = PrimaryClaim(address: server.node, epoch: 1)
        last.onAdopted = { _ in last.watch.stop() }
        let alone = try last.speaker()
        alone.claim = PrimaryClaim(address: server.node, epoch: 1)
        try last.start(try last.pool([alone]))
        try last.run(until: "it has stopped") { last.events.count == 1 && alone.open.isEmpty }
    }
}
