import EventLoop
import Pool
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// The main thread of a world: it asks the worker, which turns on the same thread.
private final class MainThread {
    let world: World
    let loop: EventLoop
    let collector: ReportCollector

    init(_ world: World) throws {
        self.world = world
        loop = try #require(EventLoop())
        collector = try #require(ReportCollector(loop: loop, group: world.group))
    }

    func turn() { #expect(loop.runOnce(waiting: false)) }

    /// What comes for a report while the worker turns.
    func ask(_ kind: ReportKind, isWorkerAwake: Bool = true) throws -> CollectedReports {
        var found: [CollectedReports] = []
        collector.collect(kind) { found.append($0) }
        #expect(found.isEmpty)
        try eventually("an answer to \(kind)") {
            if isWorkerAwake { world.turn() }
            turn()
            return !found.isEmpty
        }
        #expect(found.count == 1)
        return found[0]
    }

    func clients(
        _ rank: ClientRank? = nil, pool: String? = nil, limit: Int = .max
    ) throws -> [ClientReport] {
        let selection = ClientSelection(pool: pool, rank: rank, limit: limit)
        let found = try ask(.clients(selection))
        #expect(found.silent.isEmpty)
        return found.clients(selection)
    }
}

@Suite("Reports: what workers tell the main thread")
struct ReportTests {
    @Test("a pool's clients, upstreams, commands in flight and waiters")
    func pools() throws {
        let world = try World("maxOpen: 2", "maxPinned: 1")
        let main = try MainThread(world)
        var pool = try #require(try main.ask(.pools).pools.first)
        #expect(pool.pool == "main" && pool.upstream == "127.0.0.1:\(world.server.port)")
        #expect(pool.address == pool.upstream && pool.clients == 0 && pool.lastError == nil)
        #expect((pool.maxOpen, pool.maxPinned) == (2, 1))
        let (quick, blocked, next) = (
            try world.connect(), try world.connect(), try world.connect()
        )
        #expect(try world.ask(quick, "GET", "a") == "$10\r\nvalue of a\r\n")
        blocked.send("BLPOP", "q", "0")
        try world.run(until: "a pin") { world.census.pinned == 1 }
        next.send("BLPOP", "q", "0")
        for link in world.server.openLinks { link.withheld = "slow" }
        quick.send("GET", "slow")
        world.settle()
        pool = try #require(try main.ask(.pools).pools.first)
        #expect(pool.clients == 3)
        #expect((pool.census.pinned, pool.census.shared, pool.census.open) == (1, 1, 2))
        #expect((pool.census.waiting, pool.sight.waiting, pool.sight.inFlight) == (1, 1, 1))
    }

    @Test("what clients do, since when and why, and no argument of theirs")
    func states() throws {
        let world = try World("maxOpen: 4", "maxPinned: 3")
        let main = try MainThread(world)
        let clients = try (0..<5).map { _ in try world.connect() }
        #expect(try world.ask(clients[0], "CLIENT", "SETNAME", "one") == "+OK\r\n")
        #expect(try world.ask(clients[0], "GET", "canary") == "$15\r\nvalue of canary\r\n")
        #expect(try world.ask(clients[1], "MULTI") == "+OK\r\n")
        #expect(try world.ask(clients[2], "SUBSCRIBE", "canary").contains("subscribe"))
        clients[3].send("BLPOP", "canary", "0")
        try world.run(until: "three pins") { world.census.pinned == 3 }
        clients[4].send("BLPOP", "canary", "0")
        world.settle()
        let found = try main.clients()
        #expect(found.map(\.id) == [1, 2, 3, 4, 5])
        #expect(found.map(\.state) == [.idle, .pinned, .pinned, .blocked, .waiting])
        #expect(found.map(\.reason) == [nil, "multi", "subscribe", nil, "pin"])
        #expect(found.map(\.command) == ["get", "multi", "subscribe", "blpop", "blpop"])
        #expect(found.map { text($0.name) } == ["one", "", "", "", ""])
        #expect(found.map(\.commands) == [2, 1, 1, 1, 0])
        #expect(found.allSatisfy { $0.bytesIn > 0 && text($0.user) == "default" })
        #expect(found[0].bytesOut > 20 && found[4].bytesWaiting > 0)
        let own = found.compactMap(\.upstream)
        #expect(own.count == 3 && Set(own).count == 3)
        let upstreams = try main.ask(.upstreams(pool: nil)).upstreams
        #expect(upstreams.count { $0.state == "pinned" } == 3)
        #expect(Set(upstreams.compactMap(\.client)) == [2, 3, 4])
        #expect(Set(upstreams.compactMap(\.command)) == ["multi", "subscribe", "blpop"])
        #expect(try main.ask(.upstreams(pool: "other")).upstreams.isEmpty)
        #expect(try main.clients(pool: "other").isEmpty)
    }

    @Test("the first of a ranking is the one that it is about")
    func ranks() throws {
        let world = try World("maxOpen: 4")
        let main = try MainThread(world)
        let clients = try (0..<5).map { _ in try world.connect() }
        for client in clients { #expect(try world.ask(client, "PING") == "+PONG\r\n") }
        #expect(try world.ask(clients[1], "MULTI") == "+OK\r\n")
        for _ in 0..<5 { #expect(try world.ask(clients[2], "PING") == "+PONG\r\n") }
        clients[3].send("GET", "big:5000")
        try world.run(until: "a long reply") { clients[3].received.count >= 5000 }
        for link in world.server.openLinks { link.withheld = "slow" }
        clients[4].send("GET", "slow")
        world.settle()
        let expected: [(ClientRank, UInt64)] = [
            (.idle, 1), (.pinned, 2), (.commands, 3), (.bytes, 4), (.wait, 5),
        ]
        for (rank, id) in expected {
            let all = try main.clients(rank)
            #expect(all.first?.id == id && all.count == 5, "by \(rank)")
            #expect(try main.clients(rank, limit: 1).map(\.id) == [id], "by \(rank)")
        }
        #expect(try main.clients(limit: 2).map(\.id) == [1, 2])
    }

    @Test("a long report comes in parts; each slice makes progress, and who leaves is left out")
    func slices() throws {
        let world = try World("maxOpen: 4")
        let clients = try (0..<3).map { _ in try world.connect() }
        world.settle()
        let box = try #require(Mailbox<ReportPart>())
        let job = ReportJob(token: 7, box: box, worker: 0)
        job.tellClients(ClientSelection())
        var found: [UInt64] = []
        var parts = 0
        while !job.isDone {
            if parts == 5 {
                clients[2].finish()
                world.settle()
            }
            // The time is up at once.
            job.work(until: 0, world.worker)
            let came = box.takeAll()
            #expect(came.count == 1 && came.allSatisfy { $0.token == 7 })
            #expect(came.allSatisfy { $0.isLast == job.isDone })
            for part in came {
                if case .clients(let clients) = part.report { found += clients.map(\.id) }
            }
            parts += 1
            #expect(parts < 20)
            if parts >= 20 { return }
        }
        // Four to look at three slots and find the end, then one for each client.
        #expect(parts == 6 && found == [1, 2])
    }

    @Test("names on hubs come in parts, those with most listeners first")
    func subscriptions() throws {
        let world = try World("maxOpen: 4", "pubsub: shared")
        let main = try MainThread(world)
        let selection = SubscriptionSelection()
        #expect(try main.ask(.subscriptions(selection)).subscriptions(selection).isEmpty)
        let clients = try (0..<2).map { _ in try world.connect() }
        #expect(try world.ask(clients[0], "SUBSCRIBE", "a").contains("subscribe"))
        #expect(try world.ask(clients[1], "SUBSCRIBE", "b").contains("subscribe"))
        #expect(try world.ask(clients[0], "SUBSCRIBE", "b").contains("subscribe"))
        let found = try main.ask(.subscriptions(selection)).subscriptions(selection)
        #expect(found.map { text($0.name) } == ["b", "a"] && found.map(\.listeners) == [2, 1])
        #expect(found.allSatisfy { $0.kind == "channel" && text($0.user) == "default" })
        let one = SubscriptionSelection(limit: 1)
        #expect(try main.ask(.subscriptions(one)).subscriptions(one) == [found[0]])
        let other = SubscriptionSelection(pool: "other")
        #expect(try main.ask(.subscriptions(other)).subscriptions(other).isEmpty)
        #expect(try main.ask(.upstreams(pool: nil)).upstreams.count { $0.state == "hub" } == 1)

        let box = try #require(Mailbox<ReportPart>())
        let job = ReportJob(token: 7, box: box, worker: 0)
        job.tellSubscriptions(selection, try [#require(world.worker.pools[0].subscriberDesk)])
        var told = 0
        for part in 1...10 where !job.isDone {
            // The time is up at once.
            job.work(until: 0, world.worker)
            let came = box.takeAll()
            #expect(came.count == 1 && came.allSatisfy { $0.isLast == job.isDone }, "\(part)")
            for case .subscriptions(let names) in came.map(\.report) { told += names.count }
        }
        #expect(job.isDone && told == 2)
    }

    @Test("a worker that does not answer in time is silent, and what it says later is dropped")
    func silence() throws {
        let world = try World()
        let main = try MainThread(world)
        let began = EventLoop.now()
        let missed = try main.ask(.pools, isWorkerAwake: false)
        #expect(missed.silent == [0] && missed.reports.isEmpty)
        #expect(EventLoop.now() - began >= ReportCollector.patience)
        world.settle()
        main.turn()
        let found = try main.ask(.pools)
        #expect(found.silent.isEmpty && found.pools.count == 1)
    }

    @Test("the parts of workers are added, and the youngest error is shown")
    func sums() throws {
        let id = NodeID.next()
        func report(_ clients: Int, error: LastError?) -> PoolReport {
            var census = PoolCensus()
            census.idle = clients
            let node = NodeReport(
                id: id, address: "a", state: .inUse, version: [], role: nil, census: census,
                inFlight: clients, lastError: error)
            return PoolReport(
                pool: "main", upstream: "u", address: nil, maxOpen: 8, maxPinned: 4,
                clients: clients, accepted: 1, commands: 2, refused: 3, census: census,
                sight: PoolSight(), cluster: ClusterCounts(), lastError: error, nodes: [node])
        }
        let late = LastError(text: "late", at: at(2))
        let collection = CollectedReports(reports: [
            .pools([report(1, error: late)]), .pools([report(2, error: nil)]),
            .pools([report(3, error: LastError(text: "early", at: at(1)))]),
        ])
        let pool = try #require(collection.pools.first)
        #expect(collection.pools.count == 1)
        #expect((pool.clients, pool.census.idle, pool.maxOpen) == (6, 6, 8))
        #expect((pool.accepted, pool.commands, pool.refused) == (3, 6, 9))
        #expect(pool.lastError == late)
        let node = try #require(pool.nodes.first)
        #expect(pool.nodes.count == 1)
        #expect((node.census.idle, node.inFlight, node.lastError) == (6, 6, late))
    }
}
