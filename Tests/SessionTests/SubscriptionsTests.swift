import Session
import Testing

private let hub = HubRef(1)
private let one = ClientRef(1)
private let two = ClientRef(2)

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private let fence = bytes("redpool:fence")

extension Subscriptions {
    /// All actions, without the numbers for `SubscriberCounts`.
    fileprivate mutating func drained() -> [SubscriptionAction] {
        var actions: [SubscriptionAction] = []
        while let action = nextAction() {
            if case .steady = action { continue }
            actions.append(action)
        }
        return actions
    }

    /// What the names reach now, as far as it has changed.
    fileprivate mutating func reaches() -> [SubscriberCounts.Reach] {
        var reaches: [SubscriberCounts.Reach] = []
        while let action = nextAction() {
            if case .steady(let change) = action { reaches.append(change.after) }
        }
        return reaches
    }

    /// The server confirms the names of one command.
    fileprivate mutating func confirm(_ verb: SubscribeVerb, _ names: String...) {
        for name in names { _ = confirmed(hub, verb, bytes(name).span) }
    }

    /// Each client has the channel, and nothing is under way.
    fileprivate mutating func subscribe(_ clients: [ClientRef], to name: String) {
        for client in clients { ask(client, .subscribe, [bytes(name)], on: hub) }
        _ = drained()
        opened(hub)
        _ = drained()
        for _ in clients { confirm(.subscribe, name) }
        _ = drained()
    }

    fileprivate mutating func listeners(to name: String) -> [ClientRef] {
        listeners(hub, .channel, bytes(name).span).clients
    }
}

@Suite struct SubscriptionsTests {
    @Test func aClientListensFromItsConfirmationOn() {
        var subscriptions = Subscriptions()
        subscriptions.ask(one, .subscribe, [bytes("a"), bytes("b"), bytes("a")], on: hub)
        #expect(subscriptions.drained() == [.open(hub)])
        subscriptions.opened(hub)
        let names = [bytes("a"), bytes("b"), bytes("a")]
        #expect(subscriptions.drained() == [.send(hub, .subscribe, names)])
        #expect(subscriptions.listeners(to: "a") == [])
        #expect(subscriptions.confirmed(hub, .subscribe, bytes("a").span) == .within)
        #expect(subscriptions.listeners(to: "a") == [one])
        #expect(subscriptions.confirmed(hub, .subscribe, bytes("x").span) == .unasked)
        #expect(subscriptions.confirmed(hub, .psubscribe, bytes("b").span) == .unasked)
        #expect(subscriptions.confirmed(hub, .subscribe, nil) == .unasked)
        #expect(subscriptions.confirmed(hub, .subscribe, bytes("b").span) == .within)
        #expect(subscriptions.confirmed(hub, .subscribe, bytes("a").span) == .ends)
        #expect(
            subscriptions.drained() == [
                .confirm(one, .subscribe, name: bytes("a"), count: 1),
                .confirm(one, .subscribe, name: bytes("b"), count: 2),
                .confirm(one, .subscribe, name: bytes("a"), count: 2), .answered(one),
            ])
    }

    /// From a listener's end to the server's answer the server counts a hub for nobody.
    @Test func aNameThatNobodyWantsCountsForNobody() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one, two], to: "a")
        subscriptions.leave(one, .gone)
        #expect(subscriptions.reaches() == [.init(listeners: 1, hubs: 1)])
        subscriptions.leave(two, .gone)
        #expect(subscriptions.reaches() == [.init(leaving: 1)])
        subscriptions.confirm(.unsubscribe, "a")
        #expect(subscriptions.reaches() == [.init()])
    }

    /// Valkey 8.0.0 and 8.0.1 refuse an end on a connection that has none, which the hub of the
    /// client's new user is.
    @Test(arguments: [false, true])
    func anEndOnAHubWithoutSubscriptionsIsNoneOfItsClient(hasOthers: Bool) {
        var subscriptions = Subscriptions()
        let other = HubRef(2)
        subscriptions.subscribe([one], to: "a")
        if !hasOthers {
            subscriptions.ask(one, .unsubscribe, [bytes("a")], on: hub)
            subscriptions.confirm(.unsubscribe, "a")
        }
        subscriptions.ask(one, .unsubscribe, [bytes("d")], on: other)
        _ = subscriptions.drained()
        subscriptions.opened(other)
        #expect(subscriptions.drained().contains(.send(other, .unsubscribe, [bytes("d")])))
        subscriptions.refused(other, hasNothing: true)
        let answers = subscriptions.drained()
        let confirmation = SubscriptionAction.confirm(one, .unsubscribe, name: bytes("d"), count: 1)
        #expect(answers.contains(confirmation) == hasOthers)
        #expect(answers.contains(.refuseEnd(one, .unsubscribe)) != hasOthers)
        #expect(answers.contains(.answered(one)))
    }

    /// The place of an end may be shown by another client's name.
    @Test func anEndOfNothingIsRefusedWhereTheServerDoesSo() {
        var subscriptions = Subscriptions()
        subscriptions.refusesEndsOfNothing = true
        subscriptions.subscribe([one, two], to: "a")
        subscriptions.ask(one, .unsubscribe, [bytes("a")], on: hub)
        subscriptions.ask(one, .punsubscribe, [], on: hub)
        subscriptions.confirm(.unsubscribe, "redpool:fence")
        subscriptions.confirm(.punsubscribe, "redpool:fence")
        let told = subscriptions.drained().filter { if case .send = $0 { false } else { true } }
        #expect(
            told == [
                .confirm(one, .unsubscribe, name: bytes("a"), count: 0), .answered(one),
                .refuseEnd(one, .punsubscribe), .answered(one),
            ])
    }

    /// A name that the user may not unsubscribe does so until the hub is over.
    @Test func aStuckNameCountsForNobody() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one], to: "a")
        subscriptions.ask(two, .subscribe, [bytes("b")], on: hub)
        subscriptions.confirm(.subscribe, "b")
        #expect(subscriptions.reaches() == [.init(listeners: 1, hubs: 1)])
        subscriptions.leave(one, .gone)
        #expect(subscriptions.reaches() == [.init(leaving: 1)])
        subscriptions.refused(hub)
        #expect(subscriptions.reaches() == [])
        subscriptions.ask(one, .subscribe, [bytes("a")], on: hub)
        #expect(subscriptions.reaches() == [.init()])
        subscriptions.confirm(.subscribe, "a")
        #expect(subscriptions.reaches() == [.init(listeners: 1, hubs: 1)])
        subscriptions.leave(one, .gone)
        #expect(subscriptions.reaches() == [.init(leaving: 1)])
        subscriptions.refused(hub)
        subscriptions.leave(two, .gone)
        #expect(subscriptions.reaches() == [.init(leaving: 1)])
        subscriptions.confirm(.unsubscribe, "b")
        // The hub is over, and its upstream is closed.
        #expect(subscriptions.reaches() == [.init(), .init()])
        let isEmpty = subscriptions.isEmpty
        #expect(isEmpty)
    }

    @Test func theLastOneUnsubscribesTheOthersAreFenced() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one, two], to: "a")
        subscriptions.ask(one, .unsubscribe, [], on: hub)
        #expect(subscriptions.drained() == [.send(hub, .unsubscribe, [fence])])
        #expect(subscriptions.listeners(to: "a").contains(one))
        subscriptions.confirm(.unsubscribe, "redpool:fence")
        #expect(subscriptions.listeners(to: "a") == [two])
        #expect(
            subscriptions.drained() == [
                .confirm(one, .unsubscribe, name: bytes("a"), count: 0), .answered(one),
            ])
        subscriptions.leave(two, .reset)
        #expect(subscriptions.drained() == [.send(hub, .unsubscribe, [bytes("a")])])
        subscriptions.confirm(.unsubscribe, "a")
        #expect(subscriptions.drained() == [.finish(two, .reset), .release(hub, isClean: true)])
        let isEmpty = subscriptions.isEmpty
        #expect(isEmpty)
    }

    @Test func unsubscribingFromNothingIsConfirmedWithNull() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one], to: "a")
        subscriptions.ask(one, .punsubscribe, [], on: hub)
        #expect(subscriptions.drained() == [.send(hub, .punsubscribe, [fence])])
        subscriptions.confirm(.punsubscribe, "redpool:fence")
        #expect(
            subscriptions.drained() == [
                .confirm(one, .punsubscribe, name: nil, count: 1), .answered(one),
            ])
    }

    /// Its command is on its way when it vanishes, and its value is used again.
    @Test func aClientVanishesWithAnOpenAsk() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([two], to: "b")
        subscriptions.ask(one, .subscribe, [bytes("a")], on: hub)
        _ = subscriptions.drained()
        subscriptions.leave(one, .gone)
        #expect(subscriptions.drained() == [.send(hub, .unsubscribe, [bytes("a")])])
        subscriptions.ask(one, .subscribe, [bytes("c")], on: hub)
        _ = subscriptions.drained()
        subscriptions.confirm(.subscribe, "a")
        #expect(subscriptions.listeners(to: "a") == [])
        subscriptions.confirm(.unsubscribe, "a")
        #expect(subscriptions.drained() == [])
        subscriptions.confirm(.subscribe, "c")
        #expect(subscriptions.listeners(to: "c") == [one])
    }

    /// Nobody wants the name, but its listener's UNSUBSCRIBE may be refused: it waits for that.
    @Test func aRefusedAskBehindALeavingClient() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one], to: "a")
        subscriptions.ask(two, .subscribe, [bytes("a")], on: hub)
        subscriptions.ask(one, .unsubscribe, [bytes("a")], on: hub)
        _ = subscriptions.drained()
        subscriptions.refused(hub)
        #expect(subscriptions.drained() == [.relayError(two, of: hub), .answered(two)])
        subscriptions.confirm(.unsubscribe, "redpool:fence")
        #expect(
            subscriptions.drained() == [
                .confirm(one, .unsubscribe, name: bytes("a"), count: 0), .answered(one),
                .send(hub, .unsubscribe, [bytes("a")]),
            ])
    }

    /// Rights have changed between two commands: the only gap there is.
    @Test func anUnsubscribeGoesThroughBehindARefusedOne() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one, two], to: "a")
        subscriptions.ask(one, .unsubscribe, [bytes("a")], on: hub)
        subscriptions.ask(two, .unsubscribe, [bytes("a")], on: hub)
        _ = subscriptions.drained()
        subscriptions.refused(hub)
        subscriptions.confirm(.unsubscribe, "a")
        let actions = subscriptions.drained()
        #expect(actions.first == .relayError(one, of: hub))
        #expect(actions.last == .send(hub, .subscribe, [bytes("a")]))
        #expect(subscriptions.listeners(to: "a") == [one])
    }

    /// A slot moves away while the end of its channel is on its way. What the server says by itself
    /// is not taken for the answer, which is an error then, or comes behind it if the slot is back.
    @Test(arguments: [false, true], [false, true])
    func anEndThatASlotOvertakes(isAsked: Bool, isBack: Bool) {
        var subscriptions = Subscriptions()
        let name = bytes("x")
        subscriptions.ask(one, .ssubscribe, [name], on: hub)
        _ = subscriptions.drained()
        subscriptions.opened(hub)
        subscriptions.confirm(.ssubscribe, "x")
        _ = subscriptions.drained()
        if isAsked {
            subscriptions.ask(one, .sunsubscribe, [name], on: hub)
        } else {
            subscriptions.leave(one, .gone)
        }
        #expect(subscriptions.drained() == [.send(hub, .sunsubscribe, [name, name])])
        #expect(subscriptions.confirmed(hub, .sunsubscribe, name.span) == .within)
        #expect(subscriptions.drained() == [])
        if isBack {
            #expect(subscriptions.confirmed(hub, .sunsubscribe, name.span) == .ends)
        } else {
            subscriptions.refused(hub)
        }
        let told: [SubscriptionAction] = [
            .confirm(one, .sunsubscribe, name: name, count: 0), .answered(one),
        ]
        let release = SubscriptionAction.release(hub, isClean: true)
        #expect(subscriptions.drained() == (isAsked ? told : []) + [release])
        #expect(subscriptions.confirmed(hub, .sunsubscribe, name.span) == .unasked)
        #expect(subscriptions.drained() == [])
        let isEmpty = subscriptions.isEmpty
        #expect(isEmpty)
    }

    /// Two hubs fail before anybody is told: each client gets the error of its own.
    @Test func eachHubHasItsError() {
        var subscriptions = Subscriptions()
        let other = HubRef(2)
        subscriptions.ask(one, .subscribe, [bytes("a")], on: hub)
        subscriptions.ask(two, .subscribe, [bytes("a")], on: other)
        _ = subscriptions.drained()
        subscriptions.failed(hub)
        subscriptions.failed(other)
        #expect(
            subscriptions.drained() == [
                .relayError(one, of: hub), .answered(one),
                .relayError(two, of: other), .answered(two),
            ])
    }

    @Test func aHubIsNotCleanWhenEndsAreRefused() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one], to: "a")
        subscriptions.leave(one, .gone)
        #expect(subscriptions.drained() == [.send(hub, .unsubscribe, [bytes("a")])])
        subscriptions.refused(hub)
        #expect(subscriptions.drained() == [.release(hub, isClean: false)])
        let isEmpty = subscriptions.isEmpty
        #expect(isEmpty)
    }

    @Test func refusedNamesAreFoundByHalvesAfterALoss() {
        var subscriptions = Subscriptions()
        for (client, name) in [(one, "a"), (two, "b"), (one, "c")] {
            subscriptions.subscribe([client], to: name)
        }
        subscriptions.lost(hub, keep: true)
        #expect(subscriptions.drained() == [.open(hub)])
        subscriptions.opened(hub)
        var sent = subscriptions.drained()
        var closed: [SubscriptionAction] = []
        // The server refuses b.
        while !sent.isEmpty {
            guard case .send(_, let verb, let names) = sent.removeFirst(), verb == .subscribe else {
                continue
            }
            if names.contains(bytes("b")) {
                subscriptions.refused(hub)
            } else {
                for name in names { _ = subscriptions.confirmed(hub, verb, name.span) }
            }
            let actions = subscriptions.drained()
            closed += actions.filter { if case .close = $0 { true } else { false } }
            sent += actions.filter { if case .send = $0 { true } else { false } }
        }
        #expect(closed == [.close(two, .refused)])
        #expect(subscriptions.listeners(to: "a") == [one])
        #expect(subscriptions.listeners(to: "c") == [one])
    }

    @Test func anAskIsSentOnceMoreWhenItsHubIsLost() {
        var subscriptions = Subscriptions()
        subscriptions.subscribe([one], to: "a")
        subscriptions.ask(two, .subscribe, [bytes("b")], on: hub)
        _ = subscriptions.drained()
        subscriptions.lost(hub, keep: false)
        #expect(subscriptions.drained() == [.close(one, .lost), .open(hub)])
        subscriptions.opened(hub)
        #expect(subscriptions.drained() == [.send(hub, .subscribe, [bytes("b")])])
        subscriptions.lost(hub, keep: false)
        #expect(subscriptions.drained() == [.close(two, .lost)])
        let isEmpty = subscriptions.isEmpty
        #expect(isEmpty)
    }

    /// Large numbers: quadratic time would take minutes here.
    @Test func manyClientsAndManyNames() {
        var subscriptions = Subscriptions()
        let clients = (1...10_000).map { ClientRef($0) }
        subscriptions.subscribe(clients, to: "a")
        let names = (0..<10_000).map { bytes("\($0)") }
        subscriptions.ask(one, .subscribe, names, on: hub)
        _ = subscriptions.drained()
        for name in names { _ = subscriptions.confirmed(hub, .subscribe, name.span) }
        #expect(subscriptions.count(one).channels == 10_001)
        let listeners = subscriptions.totals.listeners
        #expect(listeners == 20_000)
        _ = subscriptions.drained()
        for client in clients { subscriptions.leave(client, .gone) }
        let sent = subscriptions.drained()
        #expect(sent.count == 10_001 / 512 + 1)
        for case .send(_, let verb, let names) in sent {
            for name in names { _ = subscriptions.confirmed(hub, verb, name.span) }
        }
        #expect(subscriptions.drained() == [.release(hub, isClean: true)])
        let isEmpty = subscriptions.isEmpty
        #expect(isEmpty)
    }
}

@Suite struct SubscriptionSimulationTests {
    /// scripts/simulate runs more of them.
    @Test(arguments: UInt64(0)..<12)
    func clientsSeeWhatTheirTwinsSee(seed: UInt64) {
        let world = SubscriptionWorld(seed: seed)
        world.run(steps: 3000)
        #expect(world.failure == nil)
    }

    @Test func confirmingAtOnceIsSeen() {
        let seen = (UInt64(0)..<8).count { seed in
            let world = SubscriptionWorld(seed: seed, broken: .confirmsAtOnce)
            world.run(steps: 3000)
            return world.failure != nil
        }
        #expect(seen >= 6)
    }
}
