import EventLoop
import Pool
import TestSupport
import Testing

@testable import Proxy

/// A world whose pool an operator pauses.
final class PausedWorld {
    let world: World
    private let box: Mailbox<OperatorMail>
    private var token: UInt64 = 0
    private(set) var answers: [OperatorAnswer] = []

    init(_ lines: String...) throws {
        world = try World(lines: lines)
        box = try #require(Mailbox<OperatorMail>())
    }

    var server: FakeServer { world.server }

    func post(_ command: OperatorCommand) {
        token += 1
        world.worker.mailbox.post(.operate(command, token: token, to: box))
    }

    /// Begins a pause, and has the worker take note of it.
    func pause(_ length: Int64 = .seconds(60), closing: Bool = false) {
        answers = []
        post(
            .pause(
                pool: "main", until: MonotonicTime(nanoseconds: EventLoop.now() + length),
                closesHolders: closing))
        turn()
    }

    func resume() {
        post(.resume(pool: "main"))
        turn()
    }

    func turn() {
        world.turn()
        answers += box.takeAll().map(\.answer)
    }

    func settle() { for _ in 0..<8 { turn() } }

    func run(until what: String, _ condition: () -> Bool) throws {
        try eventually(what) {
            if condition() { return true }
            turn()
            return condition()
        }
    }

    /// The answer to the last pause.
    func answer() throws -> OperatorAnswer {
        try run(until: "an answer") { !answers.isEmpty }
        return answers[0]
    }

    /// Waits until the pool is quiet, with these uses of what is left.
    func expectQuiet(_ held: UpstreamUses.Use..., at location: SourceLocation = #_sourceLocation)
        throws
    {
        var uses = UpstreamUses()
        for use in held { uses.count(use) }
        #expect(try answer() == .quiet(uses), sourceLocation: location)
        #expect(world.census.open == held.count, sourceLocation: location)
    }

    /// How often a command has been sent, on any connection.
    func count(_ words: String...) -> Int {
        server.links.reduce(0) { $0 + $1.commands.count { $0 == words } }
    }

    /// A client whose GET is in flight until the link is released.
    func busyClient() throws -> (TestClient, Link) {
        let client = try world.connect()
        _ = try world.ask(client, "GET", "a")
        let link = try #require(server.openLinks.first)
        link.withheld = "slow"
        client.send("GET", "slow")
        try run(until: "it is there") { link.count(of: "GET", "slow") == 1 }
        return (client, link)
    }
}

/// Replies of the server.
let slowReply = "$13\r\nvalue of slow\r\n"
let aReply = "$10\r\nvalue of a\r\n"
