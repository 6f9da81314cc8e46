import Pool
import TestSupport
import Testing

import enum Session.Expectation

@testable import Session

// What another process takes over behaves as the original, however it has come about.

private let key = PoolKey(user: 4, protocolVersion: 3, database: 7)

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A session after random events. A seed from 100 on has none that few sessions have.
private func randomSession(_ random: inout SeededRandom, isPlain: Bool) -> Session {
    var session = Session(key: key)
    for _ in 0..<random.below(12) {
        switch random.below(isPlain ? 6 : 13) {
        case 0: session.writes.add(UpstreamID(slot: UInt32(random.below(3)), generation: 1))
        case 1: session.beginTransaction()
        case 2: session.streamed()
        case 3: session.setReplyMode(ReplyMode.allCases[random.below(3)])
        case 4: session.reset(to: key)
        case 5: session.movesElsewhere()
        case 6: session.rename(random.bytes(random.below(9)))
        case 7: session.select(UInt32(random.below(9)))
        case 8: session.logIn(asClient: bytes("bob"), keepsUpstream: random.chance(50))
        case 9:
            session.queued(
                QueuedMember(
                    random.below(9), .mirrorName, 0, [bytes("client"), random.bytes(9)],
                    login: [bytes("x")], behind: session.members.last))
        case 10: session.queuedStranger()
        case 11: _ = session.redirect(to: UInt64(random.below(4)))
        default: session.take(.libraryName(random.bytes(5)))
        }
    }
    return session
}

struct CarriedSessionTests {
    @Test(arguments: 0..<UInt64(400))
    func aSessionComesBack(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let session = randomSession(&random, isPlain: seed % 2 == 0)
        #expect(session.isCarriable)
        let copy = Session(carried: session.carried)
        #expect(copy.carried == session.carried)
        #expect(copy.key == session.key)
        #expect(copy.writes == session.writes)
        #expect(copy.transaction == session.transaction || !session.isSendingTransaction)
        #expect(copy.isSendingTransaction == session.isSendingTransaction)
        #expect(copy.replyMode == session.replyMode)
        #expect(copy.hasReset == session.hasReset)
        #expect(copy.hasSelected == session.hasSelected)
        #expect(copy.identity == session.identity)
        #expect(copy.members == session.members)
        #expect(copy.redirection == session.redirection)
        #expect(copy.clientUser == session.clientUser)
        #expect(copy.size == session.size)
        #expect((copy.isPlain || copy.state == session.state))
    }

    @Test func aPlainSessionTakesNoMemory() {
        #expect(Session(carried: CarriedSession(key: key)).isPlain)
    }

    /// Each question keeps the session here until it is answered.
    @Test func openQuestionsAreNotCarried() {
        var renames = Session(key: key)
        renames.sent(.name(bytes("x")))
        #expect(!renames.isCarriable)
        var logsIn = Session(key: key)
        logsIn.sends(PendingLogin(authenticate: [bytes("auth"), bytes("canary")]))
        #expect(!logsIn.isCarriable)
        #expect(Session(carried: logsIn.carried).login == nil)
        var redirects = Session(key: key)
        redirects.asksRedirection(to: 3)
        #expect(!redirects.isCarriable)
        _ = redirects.acceptRedirection()
        #expect(redirects.isCarriable)
    }

    @Test(arguments: 0..<UInt64(400))
    func aHeldStateComesBack(seed: UInt64) {
        var random = SeededRandom(seed: seed &+ 1000)
        var held = HeldState()
        let all = Expectation.allCases
        for _ in 0..<random.below(12) {
            switch random.below(8) {
            case 0: held.confirmed(.channel, count: random.below(5))
            case 1: held.confirmed(.pattern, count: random.below(5))
            case 2: held.confirmed(.shard, count: random.below(5))
            case 3: held.isTarget = random.chance(50)
            case 4: held.queued()
            case 5: if random.chance(10) { held.taint() }
            default:
                held.replied(
                    to: all[random.below(all.count)],
                    ReplyFacts(
                        type: UInt8(ascii: "+"), error: nil, isOK: random.chance(80),
                        isQueued: false), value: UInt32(1 << random.below(4)))
            }
        }
        #expect(HeldState(carried: held.carried) == held)
    }

    @Test func linesOfOwnCommandsAreHiddenAfterwards() {
        var own = OwnCommands()
        let digits = "\"ECHO\" \"0123456789abcdef\""
        own.sent(bytes(digits), from: bytes("127.0.0.1:9"))
        own.sent(bytes("\"PING\""), from: bytes("127.0.0.1:9"))
        own.sent(bytes("\"PING\""), from: bytes("127.0.0.1:8"))
        // The server sees another address.
        let isOwn = own.take(bytes("+1.0 [0 10.0.0.1:5] \(digits)\r\n"))
        #expect(isOwn)
        var copy = OwnCommands(carried: own.carried)
        #expect(copy.carried == own.carried)
        let hidden = ["10.0.0.1:5", "127.0.0.1:8", "127.0.0.1:8"].map {
            copy.take(bytes("+1.0 [0 \($0)] \"PING\"\r\n"))
        }
        #expect(hidden == [true, true, false])
        #expect(copy.isEmpty)
    }
}

struct CarriedSubscriptionsTests {
    private let hub = HubRef(2)

    private func listening() -> Subscriptions {
        var subscriptions = Subscriptions()
        for client in 0..<2 {
            subscriptions.ask(
                ClientRef(UInt32(client)), .subscribe, [bytes("b"), bytes("a")], on: hub)
        }
        while subscriptions.nextAction() != nil {}
        subscriptions.opened(hub)
        while subscriptions.nextAction() != nil {}
        for _ in 0..<2 {
            _ = subscriptions.confirmed(hub, .subscribe, bytes("b").span)
            _ = subscriptions.confirmed(hub, .subscribe, bytes("a").span)
        }
        return subscriptions
    }

    private func carried(_ subscriptions: borrowing Subscriptions) -> CarriedSubscriptions? {
        subscriptions.carried
    }

    @Test func nothingIsCarriedWhileSomethingIsUnderWay() {
        var subscriptions = Subscriptions()
        #expect(carried(subscriptions) == CarriedSubscriptions())
        subscriptions.ask(ClientRef(1), .subscribe, [bytes("a")], on: hub)
        #expect(carried(subscriptions) == nil)
        while subscriptions.nextAction() != nil {}
        #expect(carried(subscriptions) == nil)
        subscriptions.opened(hub)
        while subscriptions.nextAction() != nil {}
        #expect(carried(subscriptions) == nil)
        _ = subscriptions.confirmed(hub, .subscribe, bytes("a").span)
        // The confirmation is to be shown.
        #expect(carried(subscriptions) == nil)
        while subscriptions.nextAction() != nil {}
        #expect(carried(subscriptions)?.subscribers.count == 1)
    }

    @Test func twoWorkersBecomeOne() {
        var first = listening()
        while first.nextAction() != nil {}
        let carried = first.carried ?? CarriedSubscriptions()
        #expect(carried.entries.map(\.name) == [bytes("b"), bytes("a")])
        var both = Subscriptions()
        both.adopt(carried)
        both.adopt(
            carried.renamed(clients: { ClientRef($0.raw + 10) }, hubs: { _ in HubRef(3) }))
        var steady = 0
        while let action = both.nextAction() {
            guard case .steady(let change) = action else {
                Issue.record("\(action) follows from a hand-over")
                return
            }
            steady += change.after.listeners
        }
        #expect(steady == 8)
        let totals = both.totals
        #expect(totals.hubs == 2)
        #expect(totals.listeners == 8)
        let listeners = both.listeners(HubRef(3), .channel, bytes("a").span)
        #expect(listeners.clients.count == 2)
        // In the order of the subscriptions.
        let oldest = both.anyName(of: ClientRef(11))?.name
        #expect(oldest == bytes("b"))
        both.leave(ClientRef(11), .gone)
        both.leave(ClientRef(10), .gone)
        var sent: [SubscriptionAction] = []
        while let action = both.nextAction() { sent.append(action) }
        #expect(
            sent.contains(.send(HubRef(3), .unsubscribe, [bytes("b"), bytes("a")]))
                || sent.contains(.send(HubRef(3), .unsubscribe, [bytes("a"), bytes("b")])))
    }
}
