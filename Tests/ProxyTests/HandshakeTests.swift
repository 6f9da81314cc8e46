import Config
import EventLoop
import Pool
import Testing

@testable import Proxy

@Suite("Handshake: a sequence of steps")
struct HandshakeTests {
    private func postpones(_ handshake: inout Handshake) -> Bool { handshake.postponeSelect() }

    @Test("each step has the name of its command, and so has the end")
    func names() {
        var handshake = Handshake(steps: [
            .authenticate(user: 0), .hello(3), .select(1), .fence(.echo), .fence(.ping),
            .fence(.none), .information, .timeout, .outputLimit, .transactions, .clientLine,
            .setName([1]), .setLibrary("LIB-NAME", [1]),
        ])
        var names: [String] = []
        while handshake.current != nil {
            names.append(handshake.currentName)
            handshake.index += 1
        }
        #expect(
            names == [
                "AUTH", "HELLO", "SELECT", "ECHO", "PING", "PING", "INFO", "CONFIG GET timeout",
                "CONFIG GET client-output-buffer-limit", "COMMAND INFO", "CLIENT INFO",
                "CLIENT SETNAME", "CLIENT SETINFO",
            ])
        #expect(handshake.currentName == "the handshake")
    }

    @Test("only a dial is the first handshake of a connection")
    func first() {
        #expect(Handshake().isFirst)
        #expect(!Handshake(purpose: .convert(key(0))).isFirst)
        #expect(!Handshake(purpose: .lookAgain).isFirst)
    }

    @Test("a SELECT that came before the login is tried once more after it")
    func postponed() {
        var handshake = Handshake(steps: [.select(5), .hello(3)], selectsEarly: true)
        #expect(postpones(&handshake))
        #expect(handshake.steps.count == 3)
        handshake.index = 1
        #expect(!postpones(&handshake))
        handshake.index = 2
        #expect(handshake.currentName == "SELECT")
        if case .select(5) = handshake.current {} else { Issue.record("another database") }
        #expect(!postpones(&handshake))
        var late = Handshake(steps: [.select(5)])
        #expect(!postpones(&late))
    }

    @Test("a SELECT before the login is no other step")
    func postponedStep() {
        var handshake = Handshake(steps: [.authenticate(user: 1), .select(5)], selectsEarly: true)
        #expect(!postpones(&handshake))
        handshake.index = 1
        #expect(postpones(&handshake))
        handshake.index = 3
        #expect(!postpones(&handshake))
    }
}

@Suite("NameResolution: where the next connection goes")
struct NameResolutionTests {
    private func address(_ last: Int) throws -> SocketAddress {
        try #require(SocketAddress(numericHost: "10.0.0.\(last)", port: 6379))
    }

    private func upstream(_ slot: UInt32) -> UpstreamID { UpstreamID(slot: slot, generation: 0) }

    @Test(
        "numbers and paths are there from the start, and stay",
        arguments: [
            UpstreamAddress.unix(path: "/run/redis.sock"), .tcp(host: "10.0.0.1", port: 6379),
            .tcp(host: "::1", port: 6379),
        ])
    func fixed(upstream: UpstreamAddress) {
        var names = NameResolution(upstream, refresh: 1)
        let first = names.next()?.description
        #expect(first == upstream.description)
        for _ in 0..<3 { names.failed() }
        #expect(names.next()?.description == first)
    }

    @Test("what is looked up is the host, for people")
    func name() {
        #expect(
            NameResolution(.tcp(host: "redis.example", port: 1), refresh: 0).name == "redis.example"
        )
        #expect(NameResolution(.unix(path: "/x"), refresh: 0).name == "unix:/x")
    }

    @Test("a name has no address before the resolver has answered; dials wait for that")
    func waiting() throws {
        var names = NameResolution(.tcp(host: "redis.example", port: 6379), refresh: 0)
        #expect(names.next() == nil)
        names.failed()
        names.wait(upstream(1), key(0))
        names.wait(upstream(2), key(1))
        // An empty answer: those who wait are to be told.
        let first = names.resolved([]).dials
        #expect(first.map(\.0) == [upstream(1), upstream(2)])
        #expect(first.map(\.1) == [key(0), key(1)])
        #expect(names.next() == nil)
        let second = names.resolved([try address(1)]).dials
        #expect(second.isEmpty)
        #expect(names.next()?.description == "10.0.0.1:6379")
        // An empty answer changes nothing that is known.
        #expect(names.resolved([]).dials.isEmpty)
        #expect(names.next()?.description == "10.0.0.1:6379")
    }

    @Test("addresses are tried in their order, and the name is looked up anew after the last")
    func failed() throws {
        var names = NameResolution(.tcp(host: "redis.example", port: 6379), refresh: 0)
        let all = try (1...3).map { try address($0) }
        for _ in 0..<2 {
            _ = names.resolved(all)
            for address in all {
                #expect(names.next()?.description == address.description)
                #expect(names.next()?.description == address.description)
                names.failed()
            }
            #expect(names.next() == nil)
        }
    }

    @Test("an address is given up after two answers without it, or after one if a node is in doubt")
    func givenUp() throws {
        var names = NameResolution(.tcp(host: "redis.example", port: 6379), refresh: 0)
        let both = [try address(1), try address(2)]
        #expect(names.resolved(both).givenUp.isEmpty)
        #expect(names.resolved([both[0]]).givenUp.isEmpty)
        #expect(names.resolved(both).givenUp.isEmpty)
        #expect(names.resolved([both[0]]).givenUp.isEmpty)
        #expect(names.resolved([both[0]]).givenUp == ["10.0.0.2:6379"])
        names.doubt()
        #expect(names.resolved([try address(3)]).givenUp == ["10.0.0.1:6379"])
    }
}

@Suite("Small values of the shell")
struct SmallValueTests {
    @Test("a turn is over after so many commands, weighted, or so many bytes")
    func turn() {
        var turn = Turn()
        var commands = 0
        while !turn.isOver(at: 0) { commands += 1 }
        #expect(commands == 4096)
        turn = Turn()
        commands = 0
        while !turn.isOver(at: 0) {
            turn.spend(Turn.special)
            commands += 1
        }
        #expect(commands == 4096 / Turn.special)
        turn = Turn()
        let ends = [1, 0].map { turn.isOver(at: ClientConnection.inputLimit - $0) }
        #expect(ends == [false, true])
    }

    @Test(
        "questions are put again as often as PING, within bounds",
        arguments: [
            (0, 30), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (5_000_000_000, 5),
            (30_000_000_000, 30), (31_000_000_000, 30), (.max, 30),
        ] as [(Int64, Int64)])
    func looks(pings: Int64, seconds: Int64) {
        var looks = Looks()
        #expect(looks.interval == 30_000_000_000)
        looks.setInterval(pings)
        #expect(looks.interval == seconds * 1_000_000_000)
        looks.isTimeoutDoubtful = true
        looks.asked(now: at(3))
        #expect(looks.lastAsked == at(3))
        #expect(!looks.isTimeoutDoubtful)
    }

    @Test("what scripts can do: known, refused for a while, or never known of the anonymous")
    func scripts() {
        var trust = ScriptTrust()
        #expect(trust.verdict(for: 1, now: at(0)) == .unknown)
        trust.refused(1, until: at(60))
        #expect(trust.verdict(for: 1, now: at(59)) == .splits)
        #expect(trust.verdict(for: 1, now: at(60)) == .unknown)
        #expect(trust.verdict(for: 2, now: at(0)) == .unknown)
        trust.learn(.clean)
        #expect(trust.verdict(for: 1, now: at(0)) == .clean)
        trust.note(1, isAnonymous: true)
        #expect(trust.verdict(for: 1, now: at(0)) == .splits)
        #expect(trust.verdict(for: 2, now: at(0)) == .clean)
        trust.refused(2, until: at(60))
        #expect(trust.verdict(for: 2, now: at(0)) == .clean)
        trust.forget()
        #expect(trust.verdict(for: 2, now: at(0)) == .unknown)
        #expect(trust.verdict(for: 1, now: at(0)) == .splits)
        trust.note(1, isAnonymous: false)
        trust.refused(1, until: at(60))
        trust.refused(2, until: at(60))
        trust.keep([2])
        #expect(trust.verdict(for: 1, now: at(0)) == .unknown)
        #expect(trust.verdict(for: 2, now: at(0)) == .splits)
        for user in 10..<4200 as Range<UInt32> { trust.refused(user, until: at(60)) }
        #expect(trust.verdict(for: 2, now: at(0)) == .unknown)
        #expect(trust.verdict(for: 4199, now: at(0)) == .splits)
    }

    @Test("the question about scripts is one command")
    func question() {
        #expect(
            ScriptTrust.question == array(["EVAL", "error('redpool\\r\\n+redpool')", "0"]))
        #expect(OwnCommand.text(of: utf8("*1\r\n$4\r\nPING\r\n")) == utf8("\"PING\""))
        #expect(OwnCommand.text(of: utf8("*1\r\n$4\r\nPI")) == [])
    }

    @Test("every reason has its own word")
    func words() {
        let words = ClientCloseReason.allCases.map(\.word)
        #expect(Set(words).count == words.count)
        #expect(ClientCloseReason.client_closed.word == "client_closed")
    }

    @Test("who is not logged in may be owed a few errors")
    func strangers() {
        #expect(Strangers.cost(isQuoting: false) < Strangers.cost(isQuoting: true))
        // The server's own limit, with a fence's reply on top.
        #expect(Strangers.mostOwed + Fence.replyLength <= 1024)
    }
}
