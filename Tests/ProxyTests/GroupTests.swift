import Config
import EventLoop
import Pool
import Session
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// A configuration of so many threads and one pool, with these lines in it.
func configuration(threads: Int = 1, head: String = "", _ lines: String...) throws -> Config {
    try configuration(threads: threads, head: head, lines: lines)
}

/// `files` are those that the lines name.
func configuration(
    threads: Int = 1, head: String = "", lines: [String], files: [String: [UInt8]] = [:]
) throws -> Config {
    var text = "threads: \(threads)\n\(head)pools:\n  main:\n    listen: 127.0.0.1:6380\n"
    if !lines.contains(where: isSource) {
        text += "    upstream: 127.0.0.1:6379\n"
    }
    for line in lines { text += "    \(line)\n" }
    let result = Config.parse(text: text, file: "test.yaml") { path throws(Config.FileError) in
        if let bytes = files[path] { return bytes }
        throw Config.FileError(message: "no such file")
    }
    switch result {
    case .valid(let config, _): return config
    case .invalid(let problems):
        throw TestFailure("\(problems.map { $0.rendered(file: "test.yaml") })")
    }
}

/// A line that says where the pool's servers come from.
private func isSource(_ line: String) -> Bool {
    ["upstream:", "sentinels:", "cluster:"].contains { line.hasPrefix($0) }
}

@Suite("WorkerGroup and PoolGroup: what the workers of a process share")
struct GroupTests {
    @Test("clients are admitted up to the limit, and their ids only grow")
    func admit() throws {
        let group = try #require(WorkerGroup(try configuration()))
        var serials: [UInt64] = []
        for _ in 0..<3 { serials.append(try #require(group.admit(3, to: "main")).serial) }
        #expect(group.admit(3, to: "main") == nil)
        #expect(group.clientCount == 3)
        group.left(0)
        let last = try #require(group.admit(3, to: "main"))
        #expect(last.worker == 0)
        serials.append(last.serial)
        #expect(serials == serials.sorted())
        #expect(Set(serials).count == 4)
    }

    @Test(
        "a pool that comes to a cluster, leaves one or goes to another one is another pool",
        arguments: [
            ("upstream: h:1", "cluster: h:1", true), ("cluster: h:1", "upstream: h:1", true),
            ("cluster: h:1", "cluster: i:1", true), ("cluster: h:1", "cluster: [i:1, h:1]", false),
            ("upstream: h:1", "upstream: i:1", false),
        ])
    func otherPool(old: String, new: String, isOther: Bool) throws {
        let group = try #require(WorkerGroup(try configuration(old)))
        let before = try #require(group.pool("main"))
        let settings = WorkerSettings(
            config: try configuration(new), table: CommandTable(), listeners: [], maxClients: 10)
        group.replace(settings, removing: []) { _ in }
        #expect((group.pool("main") !== before) == isOther)
    }

    @Test("a client goes to the worker with the fewest, and to one that hangs only if all do")
    func leastLoaded() throws {
        let group = try #require(WorkerGroup(try configuration(threads: 4)))
        #expect(group.workers == 4)
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        for worker in 0..<4 { group.seen(worker, at: now) }
        func admitted() throws -> Int { try #require(group.admit(1000, to: "main")).worker }
        var counts = [0, 0, 0, 0]
        for _ in 0..<40 { counts[try admitted()] += 1 }
        #expect(counts == [10, 10, 10, 10])
        for _ in 0..<3 { group.left(2) }
        #expect(try [admitted(), admitted(), admitted()] == [2, 2, 2])
        // Worker 1 has not come round for long.
        group.seen(1, at: MonotonicTime(nanoseconds: now.nanoseconds - 2_000_000_000))
        for _ in 0..<10 { group.left(1) }
        var others: Set<Int> = []
        for _ in 0..<12 { others.insert(try admitted()) }
        #expect(others == [0, 2, 3])
        for worker in 0..<4 { group.seen(worker, at: MonotonicTime(nanoseconds: 0)) }
        #expect(try admitted() == 1)
    }

    @Test(
        "few connections are not spread over many workers",
        arguments: [
            ("maxOpen: 1", 1), ("maxOpen: 3", 1), ("maxOpen: 4", 2), ("maxOpen: 5", 2),
            ("maxOpen: 7", 3), ("maxOpen: 8", 4), ("maxOpen: 100", 4),
        ])
    func members(line: String, count: Int) throws {
        let group = try #require(WorkerGroup(try configuration(threads: 4, line)))
        let pool = try #require(group.pool("main"))
        #expect(pool.members == Array(0..<count))
        #expect((pool.firstNode.budget == nil) == (count == 1))
        #expect(pool.desks.count == count)
    }

    @Test("fewer idle connections than workers are not spread over all of them")
    func idleMembers() throws {
        let group = try #require(
            WorkerGroup(try configuration(threads: 4, "maxOpen: 100", "maxIdle: 2")))
        #expect(group.pool("main")?.members == [0, 1])
    }

    @Test("what is split over workers adds up", arguments: 1...7)
    func limits(members: Int) throws {
        let pool = try configuration("maxOpen: 50", "maxIdle: 23", "minIdle: 9").pools[0]
        let parts = (0..<members).map { pool.limits(member: $0, of: members) }
        #expect(parts.reduce(0) { $0 + $1.maxIdle } == 23)
        #expect(parts.reduce(0) { $0 + $1.minIdle } == 9)
        #expect(parts.allSatisfy { $0.maxOpen == 50 })
        let spread = parts.map(\.minIdle)
        #expect((spread.max() ?? 0) - (spread.min() ?? 0) <= 1)
        // Where as many may be idle as open, permits alone bound them.
        let all = try configuration("maxOpen: 50", "maxIdle: 50").pools[0]
        #expect(all.limits(member: 0, of: members).maxIdle == 50)
    }

    @Test("what happens once in a process, and what is counted over all workers")
    func counters() throws {
        let group = try #require(WorkerGroup(try configuration(threads: 2)))
        let pool = try #require(group.pool("main"))
        #expect(pool.isFirstWithoutFence())
        #expect(!pool.isFirstWithoutFence())
        pool.countRejected()
        pool.countRejected()
        #expect(pool.rejectedCount == 2)
        #expect(!pool.isMonitored)
        pool.desks[1].watchers.add(1, ordering: .relaxed)
        #expect(pool.isMonitored)
        let node = pool.firstNode.id
        pool.wake(0b10, for: node)
        #expect(group.mailboxes[0].takeAll().isEmpty)
        let messages = group.mailboxes[1].takeAll()
        #expect(messages.count == 1)
        guard case .permits(pool: "main", node: node) = messages.first else {
            Issue.record("another message: \(messages)")
            return
        }
    }
}

@Suite("PoolBudget: what the workers of a pool tell of themselves")
struct PoolBudgetTests {
    private let budget: PoolBudget

    init() throws {
        let pool = try configuration("maxOpen: 10").pools[0]
        budget = PoolBudget(pool.limits(member: 0, of: 3), members: 3)
    }

    @Test("the latest numbers of all are added")
    func use() {
        var census = PoolCensus()
        census.idle = 2
        census.pinned = 1
        census.waiting = 4
        budget.report(census, clients: 5, of: 0)
        budget.report(census, clients: 2, of: 2)
        census.pinned = 3
        budget.report(census, clients: 2, of: 2)
        #expect((budget.use.open, budget.use.pinned, budget.use.waiting) == (8, 4, 8))
        #expect(budget.use.clients == 7)
    }

    @Test("a pool is down when its last worker is, also one that does not dial")
    func down() {
        budget.connected(0)
        budget.connected(1)
        #expect(!budget.disconnected(0))
        #expect(budget.disconnected(1))
        budget.connected(2)
        #expect(!budget.disconnected(1))
        budget.report(PoolCensus(), clients: 0, of: 2)
        #expect(budget.disconnected(1))
    }

    @Test("the book has the permits of the pool, once for all its workers")
    func permits() throws {
        let group = try #require(WorkerGroup(try configuration(threads: 3, "maxOpen: 10")))
        let book = try #require(group.pool("main")?.firstNode.budget).permits
        let all = book.take(PoolPermits(open: 100, control: 100, pins: 100))
        #expect(all.open + all.control == 10)
        #expect(book.take(PoolPermits(open: 1)) == PoolPermits())
        book.putBack(PoolPermits(open: 1))
        #expect(book.take(PoolPermits(open: 5)) == PoolPermits(open: 1))
    }

    @Test("a cell changes only from the number that it has")
    func cell() {
        let cell = AtomicCell(5)
        #expect(cell.compareExchange(expected: 4, desired: 9) == 5)
        #expect(cell.load() == 5)
        #expect(cell.compareExchange(expected: 5, desired: 9) == 5)
        #expect(cell.load() == 9)
        cell.store(1)
        #expect(cell.load() == 1)
    }
}
