import Config
import EventLoop
import Pool
import Synchronization
import TestSupport
import Testing
import Topology

@testable import Proxy

@Suite("Watcher: what Sentinels may say, and how they are reached")
struct WatcherTests {
    /// A world with one good Sentinel and one of which the test has its will.
    private struct Pair {
        let world: WatchWorld
        let server: SentinelSpeaker
        let good: SentinelSpeaker
        let bad: SentinelSpeaker

        init(_ lines: [String] = [], _ prepare: (SentinelSpeaker) -> Void) throws {
            world = try WatchWorld()
            server = try world.speaker()
            let made = try world.sentinels(2, naming: server)
            (good, bad) = (made[0], made[1])
            prepare(bad)
            try world.start(try world.pool(made, lines))
        }

        /// Turns until the bad one's problem is this.
        func run(until text: String) throws {
            try world.run(until: text) { world.row(of: bad)?.error == text }
            try world.run(untilPrimary: server)
            #expect(world.events == ["adopted \(server.node.port) 1"])
        }
    }

    @Test(
        "what is no answer closes the connection, and the others count",
        arguments: [
            ("hello\r\n", "it does not speak RESP: unknown reply type byte 104"),
            ("*x\r\n", "it does not speak RESP: malformed header of a reply of type byte 42"),
            ("-NOPERM no\u{1B}[1m\r\n", "SUBSCRIBE: NOPERM no?[1m"),
            ("+OK\r\n", "a message that is none"),
            ("*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n*0\r\n", "a message that is none"),
        ])
    func garbage(_ bytes: String, _ problem: String) throws {
        let pair = try Pair { bad in
            bad.instead = { $0[0] == "SUBSCRIBE" ? utf8(bytes) : nil }
        }
        try pair.run(until: problem)
    }

    @Test("an answer too many closes the connection")
    func unasked() throws {
        let pair = try Pair { bad in
            bad.instead = { $0 == ["SENTINEL", "MYID"] ? bulk("x") + bulk("y") : nil }
        }
        try pair.run(until: "a reply that nobody has asked for")
    }

    @Test("answers of another kind say nothing, and keep the connection")
    func otherAnswers() throws {
        for reply in ["-ERR unknown command 'SENTINEL'\r\n", "*0\r\n", "$-1\r\n", ":7\r\n"] {
            let pair = try Pair { bad in
                bad.instead = { $0[0] == "SENTINEL" ? utf8(reply) : nil }
            }
            let isError = reply.hasPrefix("-")
            try pair.run(
                until: isError ? "ERR unknown command 'SENTINEL'" : "it names no primary")
            #expect(pair.world.row(of: pair.bad)?.state == .connected)
            #expect(pair.world.lines.count(of: "sentinel.unknowing") == 1)
        }
    }

    @Test(
        "an address that is none, and one where the pool listens, are not taken",
        arguments: [
            ("*", 6379, "it names *:6379, which is no address"),
            ("0x7f.1", 6379, "it names 0x7f.1:6379, which is no address"),
            ("127.0.0.1", 6380, "it names 127.0.0.1:6380, where this pool listens"),
        ] as [(String, UInt16, String)])
    func addresses(_ host: String, _ port: UInt16, _ problem: String) throws {
        let pair = try Pair { bad in
            bad.claim = NodeAddress(host: utf8(host), port: port).map {
                PrimaryClaim(address: $0, epoch: 99)
            }
        }
        try pair.run(until: problem)
    }

    @Test("a reply without an end is not kept")
    func huge() throws {
        let pair = try Pair { bad in
            bad.instead = {
                guard $0[0] == "SENTINEL", $0[1] == "MASTER" else { return nil }
                return utf8("$500000000\r\n") + [UInt8](repeating: 120, count: 300_000)
            }
        }
        try pair.run(until: "a reply is longer than 256 KB")
    }

    @Test("half a reply, and no reply, end at the deadline")
    func silence() throws {
        let half = try Pair(["connectTimeout: 200ms"]) { bad in
            bad.instead = { $0 == ["SENTINEL", "MYID"] ? utf8("$40\r\n0123") : nil }
        }
        try half.run(until: "no answer in time")
        let mute = try Pair(["connectTimeout: 200ms"]) { $0.isMute = true }
        try mute.run(until: "no answer to SUBSCRIBE")
        #expect(mute.world.lines.count(of: "sentinel.lost") == 1)
    }

    @Test("a subscription that has died silently is noticed with the next round")
    func deadSubscription() throws {
        let pair = try Pair(["connectTimeout: 200ms"]) { bad in
            bad.instead = { $0 == ["PING"] ? [] : nil }
        }
        try pair.run(until: "no answer in time")
    }

    @Test("what comes byte by byte is the same")
    func pieces() throws {
        let world = try WatchWorld()
        let (old, new) = (try world.speaker(), try world.speaker())
        let sentinels = try world.sentinels(2, naming: old)
        for speaker in sentinels + [old, new] { speaker.pace = 1 }
        try world.start(try world.pool(sentinels, ["connectTimeout: 60s"]))
        try world.run(untilPrimary: old)
        for sentinel in sentinels {
            sentinel.claim = PrimaryClaim(address: new.node, epoch: 2)
            sentinel.publish("+switch-master", "mymaster 127.0.0.1 1 127.0.0.1 2")
        }
        try world.run(untilPrimary: new)
        #expect(world.lines.count(of: "sentinel.lost") == 0)
    }

    @Test("user and password are sent, never logged; a refusal is said")
    func login() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(2, naming: server)
        sentinels[0].login = ["watcher", "hunter2"]
        sentinels[1].login = ["watcher", "other"]
        server.login = ["app", "swordfish"]
        let pool = try world.pool(
            sentinels,
            [
                "sentinelUsername: watcher", "sentinelPasswordFile: /sentinel", "username: app",
                "passwordFile: /server",
            ], files: ["/sentinel": utf8("hunter2\n"), "/server": utf8("swordfish\n")])
        try world.start(pool)
        try world.run(untilPrimary: server)
        try world.run(until: "a refusal") {
            world.row(of: sentinels[1])?.error == "AUTH: WRONGPASS no"
        }
        #expect(server.commands.contains(["AUTH", "app", "swordfish"]))
        let all = "\(world.lines.all) \(world.watch.report)"
        #expect(!all.contains("hunter2") && !all.contains("swordfish"))
    }

    @Test("a Sentinel that wants a login and gets none is told of")
    func noLogin() throws {
        let pair = try Pair { $0.login = ["x"] }
        try pair.run(until: "SUBSCRIBE: NOAUTH Authentication required.")
    }

    @Test("a primary that does not let Redpool ask for its role is taken at the Sentinels' word")
    func refusedRole() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        server.login = ["x"]
        let sentinels = try world.sentinels(2, naming: server)
        try world.start(try world.pool(sentinels))
        try world.run(untilPrimary: server)
        #expect(
            world.lines.last("sentinel.role_refused")?["err"]
                == "ROLE: NOAUTH Authentication required.")
    }

    @Test("with TLS the certificate must have the name that is dialled")
    func tls() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        func secure(_ identity: Identity) throws -> SentinelSpeaker {
            let made = try world.speaker(
                tls: TLSContext.shared(
                    TLSSettings(
                        side: .server, verification: .none, certificate: identity.certificate,
                        key: identity.key)))
            made.claim = PrimaryClaim(address: server.node, epoch: 1)
            return made
        }
        let good = try secure(.server)
        let other = try secure(Identity("other", names: "DNS:other.test", by: .authority))
        let strange = try secure(Identity("stranger", isAuthority: true))
        let plain = try world.speaker()
        let all = [good, other, strange, plain]
        let pool = try world.pool(
            all, ["sentinelTls: true", "tlsCaFile: /ca", "connectTimeout: 500ms"],
            files: ["/ca": Identity.authority.certificate])
        try world.start(pool)
        try world.run(untilPrimary: server)
        try world.run(until: "three problems") {
            all[1...].allSatisfy { world.row(of: $0)?.error.isEmpty == false }
        }
        let error = { world.row(of: $0)?.error ?? "" } as (SentinelSpeaker) -> String
        #expect(error(good) == "")
        #expect(
            error(other)
                == "TLS: certificate verify failed: the certificate is not for 127.0.0.1")
        #expect(error(strange).hasPrefix("TLS: certificate verify failed: "))
        #expect(error(plain).contains("speak TLS?"))
    }

    /// A resolver in the test's hand.
    private final class Names: Sendable {
        let found = Mutex<[String: [SocketAddress]]>([:])
        let asked = Mutex(0)

        func lookup(_ loop: EventLoop) throws -> NameLookup {
            try #require(
                NameLookup(loop: loop) { question in
                    self.asked.withLock { $0 += 1 }
                    let addresses = self.found.withLock { $0[question.host] ?? [] }
                    return NameAnswer(
                        addresses: addresses, problem: addresses.isEmpty ? "no such name" : "")
                })
        }
    }

    @Test("a name that is being looked up is no reason to say that there is no primary")
    func beingLookedUp() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinel = try world.sentinels(1, naming: server)[0]
        let names = Names()
        let address = try #require(
            SocketAddress(numericHost: "127.0.0.1", port: sentinel.node.port))
        names.found.withLock { $0["one.test"] = [address] }
        let place = "one.test:\(sentinel.node.port)"
        let pool = try world.pool(places: [place])
        try world.start(pool, names: try names.lookup(world.loop))
        #expect(world.problems.isEmpty)
        #expect(world.watch.report.sentinels.map(\.address) == [place])
        #expect(world.watch.report.sentinels.map(\.state) == [.connecting])
        try world.run(untilPrimary: server)
    }

    @Test("a name stands for all its addresses; one that stands for none is looked up again")
    func names() throws {
        let world = try WatchWorld()
        let server = try world.speaker()
        let sentinels = try world.sentinels(2, naming: server)
        let names = Names()
        func addresses(_ speakers: [SentinelSpeaker]) -> [SocketAddress] {
            speakers.compactMap { SocketAddress(numericHost: "127.0.0.1", port: $0.node.port) }
        }
        let pool = try world.pool(
            places: ["sentinel.test:26379", "gone.test"], ["dnsRefresh: 1s"])
        try world.start(pool, names: names.lookup(world.loop))
        try world.run(until: "a problem") {
            world.watch.report.problem
                == "no Sentinel knows mymaster (sentinel.test:26379: cannot look up: no such name; "
                + "gone.test:26379: cannot look up: no such name)"
        }
        names.found.withLock { $0["sentinel.test"] = addresses(sentinels) }
        try world.run(untilPrimary: server)
        try world.run(until: "both are asked") {
            world.watch.report.sentinels.count { $0.claim != nil } == 2
        }
        names.found.withLock { $0["sentinel.test"] = addresses([sentinels[0]]) }
        try world.run(until: "the other one is given up") { sentinels[1].open.isEmpty }
        #expect(!sentinels[0].open.isEmpty)
    }

    @Test("Sentinels and servers may be named by name, which is looked up for each dial")
    func namedNodes() throws {
        let world = try WatchWorld()
        let server = try world.speaker(host: "server.test")
        let sentinels = try world.sentinels(2, naming: server)
        let hidden = try world.speaker(host: "sentinel.test")
        hidden.claim = sentinels[0].claim
        sentinels[0].peers = [hidden.peer]
        let names = Names()
        let local = try #require(
            SocketAddress(numericHost: "127.0.0.1", port: server.node.port))
        let other = try #require(
            SocketAddress(numericHost: "127.0.0.1", port: hidden.node.port))
        names.found.withLock { $0 = ["server.test": [local], "sentinel.test": [other]] }
        try world.start(try world.pool(sentinels), names: names.lookup(world.loop))
        try world.run(untilPrimary: server)
        #expect(world.watch.primary?.node.description.hasPrefix("server.test:") == true)
        try world.run(until: "the named one answers") { world.row(of: hidden)?.claim != nil }
    }

    @Test("many messages cost the Sentinel few questions and Redpool no memory")
    func flood() throws {
        let pair = try Pair { _ in }
        try pair.world.run(untilPrimary: pair.server)
        try pair.world.runOneRound([pair.bad, pair.good])
        let before = pair.bad.count(of: "SENTINEL")
        for _ in 0..<2000 {
            pair.bad.publish("+sdown", "slave x 127.0.0.1 1 @ mymaster 127.0.0.1 2")
            pair.bad.publish("+sdown", "slave x 127.0.0.1 1 @ other 127.0.0.1 2")
        }
        try pair.world.runOneRound([pair.bad])
        #expect(pair.bad.count(of: "SENTINEL") - before <= 15)
        #expect(pair.world.lines.count(of: "sentinel.lost") == 0)
    }
}
