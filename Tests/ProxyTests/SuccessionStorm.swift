// Clients with commands of all kinds, while primaries change, upstreams end and the pool is paused,
// in an order that a seed decides.

import Config
import EventLoop
import Glibc
import Pool
import Session
import TestSupport
import Testing

@testable import Proxy

/// A client that knows what it has to be told.
private final class StormClient {
    let client: TestClient
    /// What it gets, in order, for all that it has sent whole.
    var wanted: [UInt8] = []
    /// The rest of a large command.
    var unsent: [UInt8] = []
    /// Something of it ends only when another one acts: it says nothing more.
    var isWaiting = false
    var checked = 0

    init(_ client: TestClient) { self.client = client }

    /// What has come is the beginning of what it has to get.
    var isRight: Bool {
        let received = client.received
        guard received.count <= wanted.count else { return false }
        let isSame = received[checked...] == wanted[checked..<received.count]
        checked = received.count
        return isSame
    }

    var isDone: Bool { client.received.count == wanted.count && unsent.isEmpty }
}

/// One run of a storm.
private final class Storm {
    let seed: UInt64
    private var random: SeededRandom
    private let world: World
    private let servers: [FakeServer]
    private var clients: [StormClient] = []
    private var lastKey = 0
    private let box: Mailbox<OperatorMail>

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededRandom(seed: seed)
        let narrow = random.chance(50)
        world = try World.unnamed(
            "maxOpen: \(narrow ? 2 : 6)", "maxPipeline: \(narrow ? 1 : 8)", "poolTimeout: 60s",
            "onUpstreamLoss: close", "minIdle: \(random.below(2))")
        servers = try [world.server, FakeServer(), FakeServer()]
        box = try #require(Mailbox<OperatorMail>())
        try world.succeed(to: servers[0])
        for _ in 0..<6 { try connect() }
    }

    private var pool: PoolFront { world.worker.pools[0] }

    private func connect() throws { clients.append(StormClient(try world.connect())) }

    private func key() -> String {
        lastKey += 1
        return "\(random.chance(30) ? "slow" : "key"):\(lastKey)"
    }

    func run(_ steps: Int) throws {
        for _ in 0..<steps {
            try step()
            if random.chance(70) { turn() }
            for client in clients { #expect(client.isRight, "seed \(seed): \(client.client.text)") }
            let gone = clients.count { $0.client.isClosed }
            clients.removeAll { $0.client.isClosed }
            for _ in 0..<gone { try connect() }
        }
        try end()
    }

    private func turn() {
        for server in servers { server.serve() }
        world.turn()
    }

    private func step() throws {
        switch random.below(100) {
        case 0..<60: speak(clients[random.below(clients.count)])
        case 60..<72:
            for _ in 0...random.below(3) {
                try world.succeed(to: random.chance(15) ? nil : servers[random.below(3)])
            }
        case 72..<78: world.tick()
        case 78..<84:
            for link in links where random.chance(50) { link.release() }
        case 84..<89:
            for link in links where random.chance(30) { link.withheld = "slow" }
        case 89..<92: anyLink?.close()
        case 92..<94: anyLink?.reset()
        case 94..<96: clients[random.below(clients.count)].client.finish()
        case 96..<98:
            pool.beginHalt(
                until: world.worker.now + .seconds(60), closesHolders: random.chance(20),
                for: OperatorAsker(token: 1, box: box))
            world.finish()
        default:
            pool.endHalt(.resumed)
            world.finish()
        }
    }

    private var links: [Link] { servers.flatMap(\.openLinks) }

    private var anyLink: Link? {
        let links = links
        return links.isEmpty ? nil : links[random.below(links.count)]
    }

    private func speak(_ client: StormClient) {
        if !client.unsent.isEmpty {
            let part = client.unsent.prefix(60_000)
            client.unsent.removeFirst(part.count)
            client.client.send(Array(part))
            return
        }
        if client.isWaiting { return }
        func say(_ words: String..., wanting reply: [UInt8]) {
            client.wanted += reply
            client.client.send(array(words))
        }
        let name = key()
        switch random.below(20) {
        case 0..<8: say("GET", name, wanting: bulk("value of \(name)"))
        case 8: say("ECHO", name, wanting: bulk(name))
        case 9: say("SET", name, "1", wanting: utf8("+OK\r\n"))
        case 10:
            say("MULTI", wanting: utf8("+OK\r\n"))
            if random.chance(50) { turn() }
            say("GET", name, wanting: utf8("+QUEUED\r\n"))
            if random.chance(50) { turn() }
            say("EXEC", wanting: utf8("*1\r\n") + bulk("value of \(name)"))
        case 11:
            say("EVAL", "return 1", "0", wanting: utf8("+OK\r\n"))
        case 12 where random.chance(40):
            client.isWaiting = true
            client.client.send(array(["BLPOP", name, "0"]))
        case 13 where random.chance(40):
            client.isWaiting = true
            say(
                "SUBSCRIBE", name,
                wanting: utf8("*3\r\n") + bulk("subscribe") + bulk(name) + utf8(":1\r\n"))
        case 14:
            let whole = array(["SET", name, String(repeating: "y", count: 200_000)])
            client.wanted += utf8("+OK\r\n")
            client.client.send(Array(whole.prefix(60_000)))
            client.unsent = Array(whole.dropFirst(60_000))
        case 15: say("GET", "big:70000", wanting: bulk(String(repeating: "x", count: 70_000)))
        case 16: say("SELECT", "\(random.below(3))", wanting: utf8("+OK\r\n"))
        case 17: say("WAIT", "0", "0", wanting: utf8("+OK\r\n"))
        case 18: say("CLIENT", "SETNAME", "n\(random.below(3))", wanting: utf8("+OK\r\n"))
        default: say("PING", wanting: utf8("+PONG\r\n"))
        }
    }

    /// Everybody gets what is theirs, one server is left, and everything adds up.
    private func end() throws {
        pool.endHalt(.resumed)
        world.finish()
        try world.succeed(to: servers[random.below(3)])
        for client in clients where client.isWaiting { client.client.finish() }
        func serve() {
            for link in links { link.release() }
            for client in clients where !client.unsent.isEmpty {
                client.client.send(client.unsent)
                client.unsent = []
            }
            for server in servers { server.serve() }
        }
        try world.run(until: "every reply of seed \(seed)") {
            serve()
            world.tick()
            for client in clients { #expect(client.isRight, "seed \(seed)") }
            return clients.allSatisfy { $0.client.isClosed || $0.isDone }
                && world.servers == 1
        }
        for client in clients { client.client.finish() }
        try world.run(until: "the end of every client of seed \(seed)") {
            serve()
            world.tick()
            return pool.traffic.clients == 0 && world.census.pinned == 0
        }
        let counters = pool.counters
        #expect(pool.census.waiting == 0, "seed \(seed)")
        #expect(counters.opens == counters.allCloses + UInt64(world.census.open), "seed \(seed)")
        for number in 1...max(1, lastKey) {
            for name in ["key:\(number)", "slow:\(number)"] {
                let count = servers.reduce(0) { $0 + $1.count(of: "GET", name) }
                #expect(count <= 1, "seed \(seed): \(name) has run \(count) times")
            }
        }
    }
}

/// With REDPOOL_STORMS=N in the environment there are N runs, each of 2000 steps.
@Suite("Primaries change while clients do everything")
struct SuccessionStormTests {
    private static let runs = getenv("REDPOOL_STORMS").flatMap { UInt64(String(cString: $0)) }

    @Test("every client gets its own replies in order, and no command runs twice")
    func storm() throws {
        let first = getenv("REDPOOL_SEED").flatMap { UInt64(String(cString: $0)) } ?? 1
        for seed in first..<first + (Self.runs ?? 6) {
            let storm = try Storm(seed: seed)
            try storm.run(Self.runs == nil ? 200 : 2000)
        }
    }
}
