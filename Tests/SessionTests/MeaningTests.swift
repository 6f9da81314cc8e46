// Scripts of commands and replies: "this command, then this reply, gives this".

import Pool
import RESP
import Testing

import enum Session.Expectation

@testable import Session

private let table = CommandTable()
private let upstream = UpstreamID(slot: 3, generation: 1)

private func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

/// The facts of one complete reply.
private func facts(_ reply: String) -> ReplyFacts {
    var scanner = ReplyScanner()
    let bytes = utf8(reply)
    guard case .complete(let end) = scanner.scan(bytes.span, from: 0), end == bytes.count else {
        preconditionFailure("not one reply: \(reply)")
    }
    return ReplyFacts(scanner)
}

/// One client, as the shell drives it: on an upstream of its own, one command at a time.
private struct Script {
    var session = Session(key: .fresh)
    var hold = HeldState()
    /// What the client has lost as the target of a redirection.
    var released: UInt64 = 0

    /// Sends a command and takes its reply. Returns what the reply means.
    @discardableResult
    mutating func play(
        _ text: String, _ reply: String, isBelieved: Bool = true
    ) throws -> Meaning {
        let words = text.split(separator: " ").map { utf8(String($0)) }
        let (expectation, value) = try send(words)
        let facts = facts(reply)
        hold.replied(to: expectation, facts, value: value)
        let meaning = Meaning(expectation, value: value, facts, isBelieved: isBelieved)
        released = session.take(meaning, over: upstream)
        return meaning
    }

    private mutating func send(_ words: [[UInt8]]) throws -> (Expectation, UInt32) {
        let (bytes, frame) = try framed(words)
        let command = table.find(bytes.span, frame)
        switch session.planHeld(command, table.info(command), bytes.span, frame) {
        case .send(.plain, _) where CommandTable.provesWrite(command, frame): return (.write, 0)
        case .send(let expectation, let value): return (expectation, value)
        case .select(let database): return (.select, database)
        case .hello(let version): return (.hello, UInt32(version))
        case .mirror:
            let change = try #require(IdentityChange(words))
            session.sent(change)
            return (change.expectation, 0)
        case .authenticate:
            session.sends(PendingLogin(authenticate: words))
            return (.authenticate, 0)
        case .helloChange:
            session.sends(PendingLogin(hello: words))
            return (.helloChange, 3)
        case .queue(let expectation, let value):
            let index = Int(session.memberCount) - 1
            session.queued(
                QueuedMember(index, expectation, value, words, behind: session.members.last))
            return (.plain, 0)
        case let other:
            Issue.record("a plan that this test does not follow: \(other)")
            return (.plain, 0)
        }
    }
}

@Suite("Scripts: a command, then a reply")
struct ScriptTests {
    @Test("SELECT moves the client when the server accepts it, and only then")
    func select() throws {
        var script = Script()
        #expect(try script.play("SELECT 5", "+OK\r\n") == .database(5))
        #expect(script.session.key.database == 5)
        #expect(try script.play("SELECT 99", "-ERR DB index is out of range\r\n") == .nothing)
        #expect(script.session.key.database == 5)
    }

    @Test("HELLO changes the protocol with a map or an array")
    func hello() throws {
        var script = Script()
        #expect(try script.play("HELLO 3", "%1\r\n+proto\r\n:3\r\n") == .protocolVersion(3))
        #expect(script.session.key.protocolVersion == 3)
        #expect(try script.play("HELLO 2", "-NOAUTH HELLO must be called\r\n") == .nothing)
        #expect(script.session.key.protocolVersion == 3)
        #expect(try script.play("HELLO 2", "*2\r\n+proto\r\n:2\r\n") == .protocolVersion(2))
        #expect(script.session.key.protocolVersion == 2)
        #expect(try script.play("HELLO", "*0\r\n") == .nothing)
    }

    @Test("names and libraries hold from their +OK on, each reply for its own command")
    func identity() throws {
        var script = Script()
        try script.play("CLIENT SETNAME web", "+OK\r\n")
        #expect(
            try script.play("CLIENT SETNAME b\u{e9}", "-ERR Client names cannot contain\r\n")
                == .identity(isAccepted: false))
        try script.play("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n")
        try script.play("CLIENT SETINFO lib-ver 5", "+OK\r\n")
        #expect(
            script.session.identity
                == ClientIdentity(
                    name: utf8("web"), libraryName: utf8("redis-py"), libraryVersion: utf8("5")))
        #expect(script.session.pendingChanges == 0)
        #expect(script.session.size == 12)
    }

    @Test("RESET gives a new connection, which keeps its library")
    func reset() throws {
        var script = Script()
        try script.play("CLIENT SETNAME web", "+OK\r\n")
        try script.play("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n")
        try script.play("SELECT 5", "+OK\r\n")
        script.session.setReplyMode(.off)
        script.session.reset(to: .fresh)
        #expect(script.session.key == .fresh)
        #expect(script.session.hasReset)
        #expect(script.session.replyMode == .on)
        #expect(script.session.identity == ClientIdentity(libraryName: utf8("redis-py")))
    }

    @Test("a login is judged by its reply")
    func login() throws {
        var script = Script()
        let accepted = try script.play("AUTH bob pw", "+OK\r\n")
        #expect(accepted == .login(.accepted(protocolVersion: nil)))
        #expect(script.session.takeLogin()?.user == utf8("bob"))
        #expect(script.session.takeLogin() == nil)
        script.session.logIn(as: 7, protocolVersion: nil, name: nil)
        #expect(script.session.key.user == 7)

        let refused = try script.play("AUTH bob no", "-WRONGPASS invalid\r\n")
        #expect(refused == .login(.refused(.wrongPassword)))
        #expect(script.session.key.user == 7)

        let hello = try script.play("HELLO 3 AUTH eve pw SETNAME e", "%0\r\n")
        #expect(hello == .login(.accepted(protocolVersion: 3)))
        let login = script.session.takeLogin()
        script.session.logIn(as: 8, protocolVersion: 3, name: login?.name)
        #expect(script.session.key == PoolKey(user: 8, protocolVersion: 3, database: 0))
        #expect(script.session.identity.name == utf8("e"))

        // +QUEUED: it takes effect later, unobserved.
        let queued = try script.play("AUTH bob pw", "+QUEUED\r\n")
        #expect(queued == .login(.unknown(protocolVersion: nil)))
        #expect(script.hold.isTainted)
    }

    @Test("where replies cannot be matched, they change only their own client")
    func disbelieved() throws {
        var script = Script()
        let auth = try script.play("AUTH bob pw", "+OK\r\n", isBelieved: false)
        #expect(auth == .login(.unknown(protocolVersion: nil)))
        let hello = try script.play("HELLO 3 AUTH eve pw", "%0\r\n", isBelieved: false)
        #expect(hello == .login(.unknown(protocolVersion: 3)))
        #expect(script.session.key == PoolKey(user: 0, protocolVersion: 3, database: 0))
        #expect(try script.play("SET a b", "+OK\r\n", isBelieved: false) == .nothing)
        #expect(script.session.writes == WriteTrail())
    }

    @Test("a proven write brings a spread trail together")
    func writes() throws {
        var script = Script()
        script.session.writes.add(UpstreamID(slot: 1, generation: 1))
        script.session.writes.add(UpstreamID(slot: 2, generation: 1))
        #expect(script.session.writes.isSpread)
        try script.play("SET a b", "-READONLY You can't\r\n")
        #expect(script.session.writes.isSpread)
        #expect(try script.play("SET a b", "+OK\r\n") == .ran(pause: 0, isWrite: true))
        #expect(!script.session.writes.isSpread)
        #expect(script.session.writes.upstream == upstream)
    }

    @Test("tracking: the redirection follows the replies, and gives up old targets")
    func tracking() throws {
        var script = Script()
        script.session.asksRedirection(to: 5)
        #expect(try script.play("CLIENT TRACKING ON", "+OK\r\n") == .trackingBegun)
        #expect(script.session.redirection.current == 5)
        #expect(script.released == 0)
        script.session.asksRedirection(to: 6)
        #expect(try script.play("CLIENT TRACKING ON", "-ERR no\r\n") == .trackingRefused)
        #expect((script.session.redirection.current, script.released) == (5, 6))
        script.session.asksRedirection(to: 6)
        try script.play("CLIENT TRACKING ON", "+OK\r\n")
        #expect((script.session.redirection.current, script.released) == (6, 5))
        #expect(try script.play("CLIENT TRACKING OFF", "+OK\r\n") == .trackingEnded)
        #expect((script.session.redirection.current, script.released) == (0, 6))
        #expect(!script.hold.isTracking)
    }

    @Test("members change the client when EXEC has run them")
    func transaction() throws {
        var script = Script()
        try script.play("MULTI", "+OK\r\n")
        #expect(script.hold.isInTransaction)
        try script.play("GET a", "+QUEUED\r\n")
        try script.play("SELECT 3", "+QUEUED\r\n")
        try script.play("CLIENT SETNAME web", "+QUEUED\r\n")
        #expect(script.session.key.database == 0)
        #expect(script.session.memberCount == 3)
        let members = script.session.takeMembers()
        #expect(members.map(\.index) == [1, 2])
        for member in members {
            let meaning = Meaning(
                member.expectation, value: member.value, facts("+OK\r\n"), isBelieved: true)
            #expect(script.session.take(member, meaning, over: upstream) == 0)
        }
        try script.play("EXEC", "*3\r\n$-1\r\n+OK\r\n+OK\r\n")
        #expect(script.hold.isClean)
        #expect(script.session.key.database == 3)
        #expect(script.session.identity.name == utf8("web"))
    }

    @Test("a withdrawn command leaves the transaction as it was")
    func withdrawn() throws {
        var script = Script()
        try script.play("MULTI", "+OK\r\n")
        let before = script.session.transaction
        try script.play("GET a", "+QUEUED\r\n")
        script.session.withdraw(to: before)
        #expect(script.session.transaction == before)
        script.session.released()
        #expect(!script.session.isSendingTransaction)
    }

    @Test("what an upstream that is gone owed is forgotten")
    func lost() {
        var session = Session(key: .fresh)
        session.forgetQuestions()
        session.sent(.name(utf8("web")))
        session.sends(PendingLogin(authenticate: [utf8("AUTH"), utf8("pw")]))
        session.asksRedirection(to: 5)
        #expect(session.redirect(to: 5) == 0)
        session.forgetQuestions()
        session.forgetRedirection()
        #expect(session.pendingChanges == 0)
        #expect(session.login == nil)
        #expect(session.redirection.current == 0)
    }
}

@Suite("Meaning: what a reply is to Redpool")
struct MeaningTests {
    @Test(
        "by the reply",
        arguments: [
            (.unknown, 0, "+OK\r\n", .strangerRan), (.unknown, 0, "-ERR unknown\r\n", .nothing),
            (.unknown, 0, "+QUEUED\r\n", .nothing),
            (.stranger, 0, "+QUEUED\r\n", .strangerQueued),
            (.stranger, 1, "+QUEUED\r\n", .subcommandQueued),
            (.stranger, 0, "-ERR unknown command 'x'\r\n", .nothing),
            (.ofModule, 0, "-ERR unknown command 'x'\r\n", .moduleGone),
            (.ofModule, 0, "-ERR wrong number\r\n", .nothing),
            (.unclear, 0, "-ERR Unknown subcommand or wrong\r\n", .subcommandUnknown),
            (.unclear, 0, "-NOPERM no\r\n", .nothing),
            (
                .beforeLogin, 0, "-NOAUTH Authentication required.\r\n",
                .beforeLogin(isServed: false)
            ),
            (.beforeLogin, 1, "$1\r\nx\r\n", .beforeLogin(isServed: true)),
            (.monitor, 0, "-NOPERM no\r\n", .monitorRefused), (.monitor, 0, "+OK\r\n", .nothing),
            (.pause, 250, "+OK\r\n", .pauseBegun(250)), (.pause, 250, "-ERR x\r\n", .nothing),
            (.unpause, 0, "+OK\r\n", .pauseEnded),
            (.heldUp, 9, ":1\r\n", .ran(pause: 9, isWrite: false)),
            (.heldUp, 9, "-ERR x\r\n", .nothing),
            (.write, 9, "+QUEUED\r\n", .ran(pause: 9, isWrite: false)),
            (.blockEnd, 0, "*0\r\n", .nothing), (.blockEnd, 0, "_\r\n", .nothing),
            (.blockEnd, 0, "*-1\r\n", .nothing), (.blockEnd, 0, "-EXECABORT x\r\n", .nothing),
            (.blockEnd, 0, "+QUEUED\r\n", .blockOpen),
            (.blockEnd, 0, "-ERR unknown command 'exec'\r\n", .blockOpen),
            (.scriptQuestion, 0, "-ERR x\r\n", .scriptAnswer),
            (.trackingOff, 0, "+QUEUED\r\n", .nothing), (.plain, 0, "+OK\r\n", .nothing),
            (.hello, 0, "*0\r\n", .nothing), (.hello, 3, "+QUEUED\r\n", .nothing),
        ] as [(Expectation, UInt32, String, Meaning)])
    func table(expectation: Expectation, value: UInt32, reply: String, wanted: Meaning) {
        #expect(
            Meaning(expectation, value: value, facts(reply), isBelieved: true) == wanted)
    }

    @Test(
        "what does not count where replies cannot be matched",
        arguments: [
            (.pause, 250, "+OK\r\n"), (.unpause, 0, "+OK\r\n"), (.heldUp, 9, ":1\r\n"),
            (.write, 0, "+OK\r\n"), (.unclear, 0, "-ERR Unknown subcommand\r\n"),
        ] as [(Expectation, UInt32, String)])
    func disbelieved(expectation: Expectation, value: UInt32, reply: String) {
        let facts = facts(reply)
        #expect(Meaning(expectation, value: value, facts, isBelieved: true) != .nothing)
        #expect(Meaning(expectation, value: value, facts, isBelieved: false) == .nothing)
    }

    @Test(
        "what HELLO has changed before it was refused",
        arguments: [
            ("HELLO 3 AUTH bob pw SETNAME x", ErrorKind.wrongPassword, nil, nil),
            ("HELLO 3 SETNAME x AUTH bob pw", .wrongPassword, "x", nil),
            ("HELLO 3 AUTH bob pw SETNAME x", .badName, nil, "bob"),
            ("HELLO 3 SETNAME x AUTH bob pw", .badName, nil, nil),
            ("HELLO 3 AUTH bob pw NOSUCH", .badOption, nil, "bob"),
            ("HELLO 3 AUTH bob pw SETNAME x", .other, nil, nil),
            ("HELLO 3 AUTH bob pw SETNAME x", .noLogin, nil, nil),
        ] as [(String, ErrorKind, String?, String?)])
    func part(text: String, error: ErrorKind, name: String?, user: String?) {
        let login = PendingLogin(
            hello: text.split(separator: " ").map { utf8(String($0)) })
        switch login.part(before: error) {
        case .nothing: #expect(name == nil && user == nil)
        case .name(let found): #expect(found == name.map(utf8))
        case .login(let part):
            #expect(part.user == user.map(utf8))
            #expect(error != .badName || part.name == nil)
        }
        #expect(login.part(before: nil) == .nothing)
    }
}
