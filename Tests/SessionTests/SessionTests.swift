import Pool
import RESP
import Testing

import enum Session.Expectation

@testable import Session

private let table = CommandTable()

extension PoolKey {
    /// Of a new client of the default user.
    static let fresh = PoolKey(user: 0, protocolVersion: 2, database: 0)
}

/// One command as bytes, its frame, and what the table finds.
private struct Sent {
    let bytes: [UInt8]
    let frame: CommandFrame
    let command: Command

    init(_ words: [String]) {
        var bytes: [UInt8] = []
        Encode.command(words.map { Array($0.utf8) }, into: &bytes)
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: CommandLimits())
        else { preconditionFailure("not a frame: \(words)") }
        self.bytes = bytes
        self.frame = frame
        command = table.find(bytes.span, frame)
    }

    init(_ text: String) {
        self.init(text.split(separator: " ").map(String.init))
    }

    var plan: Plan { table.plan(command, bytes.span, frame) }

    func held(_ session: inout Session) -> Plan {
        session.planHeld(command, table.info(command), bytes.span, frame)
    }
}

/// A command with its plan for a client that holds nothing, that holds an upstream, and that is in
/// a transaction there.
private struct Row {
    let text: String
    let free: Plan
    let held: Plan
    let queued: Plan

    init(text: String, free: Plan, held: Plan, queued: Plan) {
        (self.text, self.free, self.held, self.queued) = (text, free, held, queued)
    }

    /// The server refuses it, or it changes nothing, wherever it stands.
    static func plain(_ text: String) -> Row {
        Row(text: text, free: .send(.plain), held: .send(.plain), queued: .send(.plain))
    }

    /// It could change the connection, and is not understood to the last word.
    static func unclear(_ text: String) -> Row {
        Row(text: text, free: .oneOff(.plain), held: .oneOff(.plain), queued: .oneOff(.plain))
    }

    static func rewritten(_ text: String, _ what: Expectation) -> Row {
        Row(text: text, free: .send(what), held: .send(what), queued: .queue(what))
    }

    static func turnedOn(_ text: String, _ what: Expectation, _ value: UInt32 = 0) -> Row {
        Row(
            text: text, free: .hold(what, value), held: .send(what, value),
            queued: .queue(what, value))
    }

    static func turnedOff(_ text: String, _ what: Expectation, _ value: UInt32 = 0) -> Row {
        Row(
            text: text, free: .send(.plain), held: .send(what, value), queued: .queue(what, value))
    }
}

private let rows: [Row] = [
    Row(text: "GET k", free: .send(.plain), held: .send(.plain), queued: .send(.plain)),
    Row(text: "get k", free: .send(.plain), held: .send(.plain), queued: .send(.plain)),
    Row(text: "SMEMBERS k", free: .sendSlow, held: .send(.plain), queued: .send(.plain)),
    Row(text: "CONFIG GET x", free: .send(.plain), held: .send(.plain), queued: .send(.plain)),
    Row(text: "CONFIG NOSUCH", free: .ask, held: .pipe, queued: .queue(.stranger)),
    Row(text: "NOSUCH", free: .ask, held: .pipe, queued: .queue(.stranger)),
    Row(text: "CLIENT NOSUCH", free: .ask, held: .pipe, queued: .queue(.stranger)),
    Row(text: "CLIENT", free: .send(.plain), held: .send(.plain), queued: .send(.plain)),
    Row(
        text: "BLPOP k 0", free: .exclusive(isBlocking: true), held: .sendBlocking,
        queued: .sendBlocking),
    Row(
        text: "FLUSHALL", free: .exclusive(isBlocking: false), held: .sendBlocking,
        queued: .send(.plain)),
    Row(
        text: "XREAD STREAMS k 0", free: .send(.plain), held: .send(.plain), queued: .send(.plain)),
    Row(
        text: "XREAD block 0 STREAMS k $", free: .exclusive(isBlocking: true), held: .sendBlocking,
        queued: .sendBlocking),
    Row(text: "MULTI x", free: .oneOff(.plain), held: .oneOff(.plain), queued: .send(.multi)),
    Row(text: "EXEC", free: .send(.plain), held: .send(.exec), queued: .send(.exec)),
    Row(text: "EXEC x", free: .send(.plain), held: .send(.exec), queued: .send(.exec)),
    Row(text: "DISCARD", free: .send(.plain), held: .send(.discard), queued: .send(.discard)),
    Row(text: "DISCARD x", free: .send(.plain), held: .send(.discard), queued: .send(.discard)),
    Row(text: "WATCH k", free: .hold(.watch), held: .send(.watch), queued: .send(.watch)),
    Row(text: "WATCH", free: .oneOff(.plain), held: .oneOff(.plain), queued: .send(.watch)),
    Row(text: "UNWATCH", free: .send(.plain), held: .send(.unwatch), queued: .send(.unwatch)),
    Row(
        text: "SUBSCRIBE a b", free: .hold(.subscribe, 2), held: .send(.subscribe, 2),
        queued: .pipe),
    Row.unclear("SUBSCRIBE"),
    Row(
        text: "PSUBSCRIBE a", free: .hold(.subscribe, 1), held: .send(.subscribe, 1),
        queued: .pipe),
    Row(
        text: "UNSUBSCRIBE", free: .hold(.unsubscribeChannels), held: .send(.unsubscribeChannels),
        queued: .pipe),
    Row(
        text: "PUNSUBSCRIBE a b", free: .hold(.unsubscribePatterns, 2),
        held: .send(.unsubscribePatterns, 2), queued: .pipe),
    Row(
        text: "SUNSUBSCRIBE a", free: .hold(.unsubscribeShards, 1),
        held: .send(.unsubscribeShards, 1), queued: .pipe),
    Row(text: "SELECT 5", free: .select(5), held: .select(5), queued: .queue(.select, 5)),
    Row.unclear("SELECT 99999999999"), Row.unclear("SELECT abc"), Row.unclear("SELECT -1"),
    Row.unclear("SELECT 05"), Row.unclear("SELECT 1 2"),
    Row(text: "AUTH pw", free: .authenticate, held: .authenticate, queued: .pipe),
    Row(text: "AUTH bob pw", free: .authenticate, held: .authenticate, queued: .pipe),
    Row.unclear("AUTH"), Row.unclear("AUTH a b c"),
    Row(text: "HELLO", free: .send(.hello), held: .send(.hello), queued: .queue(.hello)),
    Row(text: "HELLO 2", free: .hello(2), held: .hello(2), queued: .queue(.hello, 2)),
    Row(text: "HELLO 3", free: .hello(3), held: .hello(3), queued: .queue(.hello, 3)),
    Row.unclear("HELLO 4"),
    Row(text: "HELLO 3 SETNAME n", free: .helloChange, held: .helloChange, queued: .pipe),
    Row(text: "CLIENT REPLY ON", free: .replyMode(.on), held: .replyMode(.on), queued: .pipe),
    Row(text: "CLIENT REPLY off", free: .replyMode(.off), held: .replyMode(.off), queued: .pipe),
    Row(
        text: "CLIENT REPLY SKIP", free: .replyMode(.skipNext), held: .replyMode(.skipNext),
        queued: .pipe),
    Row.unclear("CLIENT REPLY x"), Row.unclear("CLIENT REPLY"),
    Row(text: "CLIENT SETNAME n", free: .mirror, held: .mirror, queued: .queue(.mirrorName)),
    Row(
        text: "CLIENT SETINFO LIB-NAME n", free: .mirror, held: .mirror,
        queued: .queue(.mirrorInfo)),
    Row.rewritten("CLIENT ID", .rewriteID), Row.rewritten("CLIENT GETNAME", .rewriteName),
    Row.rewritten("CLIENT INFO", .rewriteInfo), Row.rewritten("CLIENT LIST", .rewriteList),
    Row.turnedOn("CLIENT TRACKING ON", .trackingOn),
    Row.turnedOn("client tracking on OPTIN noloop", .trackingOn),
    Row.turnedOn("CLIENT TRACKING ON bcast PREFIX a PREFIX b", .trackingOn, 1),
    Row.turnedOn("CLIENT TRACKING ON PREFIX bcast", .trackingOn),
    Row(
        text: "CLIENT TRACKING ON BCAST REDIRECT 5", free: .hold(.trackingOn, 3),
        held: .send(.trackingOn, 3), queued: .pipe),
    Row.turnedOff("CLIENT TRACKING OFF", .trackingOff),
    Row.turnedOff("CLIENT TRACKING off BCAST", .trackingOff),
    Row(
        text: "CLIENT TRACKING OFF REDIRECT 5", free: .send(.trackingOff, 2),
        held: .send(.trackingOff, 2), queued: .pipe),
    Row.unclear("CLIENT TRACKING"), Row.unclear("CLIENT TRACKING MAYBE"),
    Row.plain("CLIENT CACHING YES"),
    Row(
        text: "CLIENT GETREDIR", free: .send(.plain), held: .send(.redirection),
        queued: .queue(.redirection)),
    Row(
        text: "CLIENT TRACKINGINFO", free: .send(.plain), held: .send(.redirection),
        queued: .queue(.redirection)),
    Row.turnedOn("CLIENT NO-EVICT on", .flagOn, 1),
    Row.turnedOff("CLIENT NO-EVICT OFF", .flagOff, 1),
    Row.turnedOn("CLIENT NO-TOUCH ON", .flagOn, 2),
    Row.turnedOff("CLIENT NO-TOUCH off", .flagOff, 2),
    Row.unclear("CLIENT NO-EVICT MAYBE"), Row.unclear("CLIENT NO-EVICT"),
    Row.unclear("CLIENT NO-EVICT ON x"),
    Row.turnedOn("READONLY", .flagOn, 4), Row.turnedOff("READWRITE", .flagOff, 4),
    Row.unclear("READONLY x"), Row.unclear("READWRITE x"),
    Row.turnedOn("CLIENT IMPORT-SOURCE ON", .flagOn, 8),
    Row.turnedOn("CLIENT CAPA redirect", .bind), Row.unclear("CLIENT CAPA"),
    Row.turnedOn("ASKING", .bind), Row.unclear("ASKING x"),
    Row.turnedOn("MONITOR", .monitor), Row.unclear("MONITOR x"),
    Row(text: "WAIT 0 0", free: .waitForReplicas, held: .waitForReplicas, queued: .sendBlocking),
    Row(
        text: "CLUSTER SETSLOT 5 NODE x", free: .exclusive(isBlocking: true), held: .sendBlocking,
        queued: .sendBlocking),
    Row(text: "SYNC", free: .pipe, held: .pipe, queued: .pipe),
    Row(
        text: "CLIENT KILL ID 5", free: .controlClients, held: .controlClients,
        queued: .controlClients),
    Row(text: "EVAL x 0", free: .runScript, held: .runScript, queued: .runScript),
    Row(text: "FCALL f 0", free: .runScript, held: .runScript, queued: .runScript),
    Row(text: "EVAL #!lua 0", free: .fenced, held: .fenced, queued: .fenced),
    Row(text: "EVALSHA #!lua 0", free: .runScript, held: .runScript, queued: .runScript),
    Row(text: "DEBUG SLEEP 0", free: .fenced, held: .fenced, queued: .fenced),
    Row(text: "MODULE LOAD x", free: .fenced, held: .fenced, queued: .fenced),
    Row(text: "SCRIPT LOAD x", free: .fenced, held: .fenced, queued: .fenced),
    Row(text: "FUNCTION LOAD x", free: .fenced, held: .fenced, queued: .fenced),
    Row(text: "FUNCTION LIST x", free: .fenced, held: .fenced, queued: .fenced),
    Row(text: "SCRIPT KILL", free: .control, held: .send(.plain), queued: .send(.plain)),
    Row(
        text: "CLIENT PAUSE 10 write", free: .control, held: .send(.pause, 10),
        queued: .queue(.pause, 10)),
    Row(
        text: "CLIENT PAUSE 9000000000000000", free: .control, held: .send(.pause, .max),
        queued: .queue(.pause, .max)),
    Row(
        text: "CLIENT PAUSE 9223372036854775807", free: .control, held: .send(.plain),
        queued: .send(.plain)),
    Row(text: "CLIENT PAUSE 0", free: .control, held: .send(.plain), queued: .send(.plain)),
    Row(text: "CLIENT PAUSE -1", free: .control, held: .send(.plain), queued: .send(.plain)),
    Row.unclear("CLIENT PAUSE x"), Row.unclear("CLIENT PAUSE 1 READ"),
    Row(text: "CLIENT UNPAUSE", free: .control, held: .send(.unpause), queued: .queue(.unpause)),
    Row(text: "QUIT", free: .quit, held: .quit, queued: .quit),
    Row(text: "QUIT x", free: .quit, held: .quit, queued: .quit),
    Row(text: "RESET", free: .reset, held: .reset, queued: .reset),
    Row(text: "POST /", free: .vanish, held: .vanish, queued: .vanish),
    Row(text: "Host: x", free: .vanish, held: .vanish, queued: .vanish),
]

@Suite struct SessionTests {
    @Test func everyKindOfCommandInEveryState() {
        for row in rows {
            let sent = Sent(row.text)
            #expect(sent.plan == row.free, "\(row.text), holding nothing")
            var session = Session(key: .fresh)
            let held = sent.held(&session)
            #expect(held == row.held, "\(row.text), holding an upstream")
            var queueing = Session(key: .fresh)
            _ = Sent("MULTI").held(&queueing)
            let queued = sent.held(&queueing)
            #expect(queued == row.queued, "\(row.text), in a transaction")
        }
    }

    @Test func everyCommandOfTheTableIsFoundAndHasAPlanInEveryState() {
        for info in table.all {
            // Behind a container, anything is the name of a subcommand.
            let arguments = info.hasSubcommands ? [] : ["1", "2"]
            let sent = Sent(info.name.split(separator: "|").map(String.init) + arguments)
            #expect(table.info(sent.command)?.name == info.name)
            #expect(sent.plan != .ask, "\(info.name)")
            var queueing = Session(key: .fresh)
            _ = Sent("MULTI").held(&queueing)
            let queued = sent.held(&queueing)
            // What may stand in a block is an element like any other. What is piped there is what
            // brings more or fewer replies than elements, or what nobody can follow.
            let ends = [
                "exec", "discard", "multi", "watch", "unwatch", "quit", "reset", "post", "host:",
            ]
            if !ends.contains(info.name), info.mayStandInBlock {
                let isScript = CommandTable.runsScript(sent.command)
                #expect(queued == (isScript ? .runScript : .send(.plain)), "\(info.name)")
            }
            if queued == .pipe {
                let isPiped: Set<CommandClass> = [.pinSubscribe, .unsubscribe, .deny, .state]
                let isLogin = info.name == "auth" || info.name == "hello"
                #expect(isPiped.contains(info.commandClass) || isLogin, "\(info.name)")
            }
        }
    }

    @Test func whatCarriesStateNeverSharesAnUpstreamUnlessItIsUnderstood() {
        for info in table.all where info.commandClass.carriesState {
            let name = info.name.split(separator: "|").map(String.init)
            for arguments in [[], ["1"], ["on"], ["1", "2"], ["x", "y", "z"], [""]] {
                if info.hasSubcommands, !arguments.isEmpty { continue }
                let sent = Sent(name + arguments)
                guard case .send(let expectation, _) = sent.plan else {
                    #expect(sent.plan != .sendSlow, "\(info.name) \(arguments)")
                    continue
                }
                #expect(
                    sharing.contains(info.name) && arguments.isEmpty,
                    "\(info.name) \(arguments): \(expectation)")
            }
        }
    }

    @Test func aSubcommandWithANulIsNotUnderstood() {
        for info in table.all where info.isSubcommand {
            let name = info.name.split(separator: "|").map(String.init)
            for tail in ["\0", "\0x", "\0\0"] {
                let sent = Sent([name[0], name[1] + tail, "on"])
                #expect(table.info(sent.command)?.name == info.name)
                guard info.commandClass.carriesState else { continue }
                #expect(sent.plan == .impossible, "\(info.name)")
                for before in [[], ["MULTI"]] {
                    var session = Session(key: .fresh)
                    for text in before { _ = Sent(text).held(&session) }
                    let held = sent.held(&session)
                    #expect(held == .impossible, "\(info.name)")
                }
            }
        }
    }

    @Test func optionsAreReadUpToTheirFirstNul() {
        let pairs: [([String], [String])] = [
            (["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "skip\0x"]),
            (["CLIENT", "REPLY", "OFF"], ["CLIENT", "REPLY", "OFF\0"]),
            (["CLIENT", "NO-EVICT", "ON"], ["CLIENT", "NO-EVICT", "on\0on"]),
            (["CLIENT", "TRACKING", "ON", "BCAST"], ["CLIENT", "TRACKING", "ON\0", "bcast\0"]),
            (["XREAD", "BLOCK", "0"], ["XREAD", "block\0\0", "0"]),
            (
                ["HELLO", "2", "AUTH", "a", "b", "SETNAME", "c"],
                ["HELLO", "2", "AUTH\0", "a", "b", "setname\0x", "c"]
            ),
            (["CLIENT", "SETINFO", "LIB-NAME", "x"], ["CLIENT", "SETINFO", "lib-name\0", "x"]),
            (["CLIENT", "LIST", "TYPE", "normal"], ["CLIENT", "LIST", "TYPE\0", "normal\0"]),
        ]
        for (plain, odd) in pairs {
            #expect(Sent(plain).plan == Sent(odd).plan, "\(odd)")
            var (one, other) = (Session(key: .fresh), Session(key: .fresh))
            #expect(Sent(plain).held(&one) == Sent(odd).held(&other), "\(odd)")
        }
    }

    @Test func numbersAreReadToTheLastByte() {
        for number in ["1\0", " 1", "1 ", "+1", "01", "-0", "1.0", "", "4294967296"] {
            #expect(Sent(["SELECT", number]).plan == .oneOff(.plain), "\(number)")
            #expect(Sent(["HELLO", number]).plan == .oneOff(.plain), "\(number)")
        }
    }

    @Test func aTransactionIsOpenFromMultiToItsEnd() {
        var session = Session(key: .fresh)
        _ = Sent("MULTI x").held(&session)
        #expect(!session.isSendingTransaction)
        _ = Sent("MULTI").held(&session)
        #expect(session.isSendingTransaction)
        for stays in ["MULTI", "WATCH k", "DISCARD x", "GET k", "UNWATCH", "NOSUCH", "SELECT 1"] {
            _ = Sent(stays).held(&session)
            #expect(session.isSendingTransaction, "\(stays)")
        }
        for end in ["EXEC", "EXEC x", "DISCARD"] {
            var ending = session
            _ = Sent(end).held(&ending)
            #expect(!ending.isSendingTransaction, "\(end)")
        }
        session.released()
        #expect(!session.isSendingTransaction)
    }

    @Test func membersAreCountedAsTheServerQueuesThem() {
        var session = Session(key: .fresh)
        _ = Sent("MULTI").held(&session)
        let steps: [(String, Int)] = [
            ("GET k", 1), ("MULTI", 1), ("WATCH k", 1), ("SELECT 1", 2), ("UNWATCH", 3),
            ("NOSUCH", 4), ("CLIENT ID", 5), ("CLIENT KILL ID 5", 6), ("EXEC", 6), ("GET k", 6),
            ("MULTI", 0), ("GET k", 1),
        ]
        for (text, count) in steps {
            _ = Sent(text).held(&session)
            #expect(session.memberCount == count, "\(text)")
        }
        session.released()
        #expect(session.memberCount == 0)
    }

    @Test func aCommandProvesAWriteOnlyIfItsSuccessDoes() {
        let proving = ["SET k v", "MSET a 1", "INCR n", "DECRBY n 1", "RPUSH l a", "XADD s * a b"]
        let others = [
            "SET k v NX", "SET k v PXAT 1", "DEL k", "RENAME k k", "LTRIM l 0 -1", "GET k", "EXEC",
            "SADD s a", "EXPIRE k 1", "BLPOP k 0", "EVAL x 0", "PUBLISH c x",
        ]
        for text in proving + others {
            let sent = Sent(text)
            let isProof = CommandTable.provesWrite(sent.command, sent.frame)
            #expect(isProof == proving.contains(text), "\(text)")
        }
    }

    @Test func openingMarksATransactionOnlyForMultiAlone() {
        for (text, opens) in [("MULTI", true), ("MULTI x", false), ("WATCH k", false)] {
            var session = Session(key: .fresh)
            let sent = Sent(text)
            session.opened(sent.command, sent.frame)
            #expect(session.isSendingTransaction == opens, "\(text)")
        }
    }
}

/// Commands of stateful classes that go to a shared upstream: bare, they show or end what is there.
private let sharing: Set<String> = [
    "hello", "readwrite", "client|id", "client|getname", "client|info", "client|list",
]
