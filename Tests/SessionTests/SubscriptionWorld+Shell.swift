import Session
import TestSupport

// The shell of a `SubscriptionWorld`: it reads what comes on hubs, and carries out actions.

extension SubscriptionWorld {
    /// What the actions at hand follow from.
    enum Context {
        case command
        case read(HubRef, stamp: Int)
        /// The server has ended a subscription by itself.
        case cut(HubRef, stamp: Int)
        case failed(HubRef)
        case gaveUp(HubRef)
        case lost(HubRef, mayRepeat: Bool)
    }

    func readOne() {
        let hub = SubscriptionWorld.hubs[random.below(2)]
        readOne(hub)
    }

    /// One frame is read, or all messages of one PUBLISH.
    func readOne(_ hub: HubRef) {
        guard let (stamp, frame) = connections[hub]?.toHub.first else { return }
        connections[hub]!.toHub.removeFirst()
        read[hub] = stamp
        context = .read(hub, stamp: stamp)
        switch frame {
        case .message(let topic, let message):
            deliver(topic, message, hub)
            while case .message(let topic, message)? = connections[hub]!.toHub.first?.frame {
                connections[hub]!.toHub.removeFirst()
                deliver(topic, message, hub)
            }
        case .confirm(let verb, let name):
            if subscriptions.confirmed(hub, verb, name.span) == .unasked {
                guard verb == .sunsubscribe else { return fail("\(verb) is unasked") }
                context = .cut(hub, stamp: stamp)
            }
        case .error:
            refusals += 1
            subscriptions.refused(hub)
        }
        drain()
    }

    private func deliver(_ topic: Topic, _ message: Int, _ hub: HubRef) {
        for client in subscriptions.listeners(hub, topic.kind, topic.name.span).clients {
            guard players[client] != nil else { return fail("\(client) is gone") }
            players[client]!.delivered[hub, default: []].append((topic, message))
            messages += 1
        }
    }

    /// A hub that is to be opened is opened, or not.
    func open() {
        guard let hub = opening.sorted(by: { $0.raw < $1.raw }).randomOne(&random) else { return }
        let mayFail = !players.values.contains { $0.asks.first?.isSpread == true }
        let chance = random.below(100)
        if kept.contains(hub), mayFail, chance < 10 {
            opening.remove(hub)
            kept.remove(hub)
            for ref in players.keys { settle(ref) }
            context = .gaveUp(hub)
            subscriptions.gaveUp(hub)
            drain()
        } else if mayFail, chance < 25 {
            if !kept.contains(hub) { opening.remove(hub) }
            context = .failed(hub)
            subscriptions.failed(hub)
            drain()
            if subscriptions.hasNothing(hub) {
                opening.remove(hub)
                kept.remove(hub)
            }
        } else {
            opening.remove(hub)
            kept.remove(hub)
            connections[hub] = Connection()
            read[hub] = now
            context = .command
            subscriptions.opened(hub)
            drain()
        }
    }

    func drain() {
        while failure == nil, let action = subscriptions.nextAction() {
            switch action {
            case .open(let hub):
                if case .lost(hub, _) = context {} else { kept.remove(hub) }
                guard connections[hub] == nil else { return fail("\(hub) is open") }
                // It may be opened at another node.
                if book[hub]?.values.contains(where: { $0 != Reach() }) == true {
                    fail("\(hub) has steady listeners, and no connection")
                }
                opening.insert(hub)
            case .send(let hub, let verb, let names): send(hub, verb, names)
            case .confirm(let client, let verb, let name, let count):
                confirmed(client, verb, name, count)
            case .relayError(let client, _), .refuseEnd(let client, _): refused(client)
            case .answered(let client): answered(client)
            case .finish(let client, let end): finished(client, end)
            case .close(let client, let loss): closed(client, loss)
            case .release(let hub, let isClean): released(hub, isClean)
            case .steady(let change):
                let topic = Topic(kind: change.kind, name: change.name)
                if book[change.hub]?[topic] ?? Reach() != change.before { fail("steady before") }
                if change.before == change.after { fail("steady is not changed") }
                book[change.hub, default: [:]][topic] = change.after
            }
        }
        if case .lost(let hub, _) = context, !opening.contains(hub) { kept.remove(hub) }
    }

    private func send(_ hub: HubRef, _ verb: SubscribeVerb, _ names: [[UInt8]]) {
        guard let connection = connections[hub] else { return fail("a send to no hub") }
        let topics = names.map { Topic(kind: verb.kind, name: $0) }
        let isIdle =
            connection.toServer.isEmpty
            && connection.toHub.allSatisfy {
                if case .message = $0.frame { true } else { false }
            }
        let hasNothingToDo = topics.allSatisfy { connection.topics.contains($0) != verb.isEnd }
        guard broken == .confirmsAtOnce, isIdle, hasNothingToDo else {
            connections[hub]!.toServer.append((verb, names))
            return
        }
        now += 1
        context = .read(hub, stamp: now)
        for name in names { _ = subscriptions.confirmed(hub, verb, name.span) }
    }

    private func released(_ hub: HubRef, _ isClean: Bool) {
        guard let connection = connections[hub] else { return fail("\(hub) is not open") }
        if !connection.toServer.isEmpty { fail("\(hub) is released with commands in flight") }
        if isClean, !connection.topics.isEmpty || !connection.toHub.isEmpty {
            fail("\(hub) is not clean")
        }
        if !isClean, !connection.hasDeniedEnd { fail("\(hub) is clean") }
        connections[hub] = nil
    }
}
