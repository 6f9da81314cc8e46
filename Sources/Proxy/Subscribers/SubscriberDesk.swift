// The subscriptions of a pool's clients on hubs, in one worker: joins `Subscriptions`, which
// decides, with hubs and clients.

import Config
import EventLoop
import Pool
import RESP
import Session

/// One for each pool and worker. It has nothing until a client subscribes with `pubsub: shared`.
final class SubscriberDesk {
    unowned let pool: PoolFront
    var core = Subscriptions()
    var hubs: [PushHub] = []
    /// The error of each hub that answers the asks which `core` names next. Several hubs can fail
    /// before the actions of the first are carried out.
    private var errors: [HubRef: [UInt8]] = [:]
    /// Clients whose next command waits until their hub is open.
    private var waiting: [SlotID] = []
    /// Actions are being carried out: what they lead to joins them.
    private var isBusy = false
    /// The clients that were closed by them, and the word for the reason.
    var closed = (clients: 0, reason: "")
    /// Messages that clients have got.
    var traffic = SubscriberTraffic()

    init(_ pool: PoolFront) { self.pool = pool }

    var worker: Worker { pool.worker }

    // MARK: Clients

    func ask(
        _ client: ClientConnection, _ verb: SubscribeVerb, _ names: [[UInt8]], on hub: PushHub
    ) {
        core.ask(client.subscriber, verb, names, on: hub.ref)
        carryOut()
    }

    /// The client ends all that it has on hubs.
    func leave(_ client: ClientConnection, _ end: SubscriptionEnd) {
        core.leave(client.subscriber, end)
        carryOut()
    }

    /// The client's next command goes on when its hub is open.
    func waitForHub(_ client: ClientConnection) { waiting.append(client.id) }

    func isListening(_ client: ClientConnection) -> Bool { core.isListening(client.subscriber) }

    /// Whether the client has a subscription on the hub, which stays while it does.
    func isOn(_ hub: PushHub, _ client: ClientConnection) -> Bool {
        core.isOn(hub.ref, client.subscriber)
    }

    func count(_ client: ClientConnection) -> (channels: Int, patterns: Int, shards: Int) {
        core.count(client.subscriber)
    }

    /// A name that the client listens to, with its hub.
    func anyName(
        of client: ClientConnection
    ) -> (hub: PushHub, kind: SubscriptionKind, name: [UInt8])? {
        core.anyName(of: client.subscriber).map {
            (hub: hubs[Int($0.hub.raw)], kind: $0.kind, name: $0.name)
        }
    }

    // MARK: Hubs

    /// The pool has granted an upstream to a hub that has waited.
    func granted(_ ref: HubRef, _ id: UpstreamID, by server: Server) {
        let hub = hubs[Int(ref.raw)]
        hub.waitEnded()
        if let upstream = server[id], hub.isWanted, hub.server === server {
            take(upstream, for: hub)
            return
        }
        // The connection was lost after the decision, or is not needed any more.
        if let upstream = server[id] { server.giveBack(upstream) }
        if hub.isWanted { open(hub) }
    }

    private func take(_ upstream: UpstreamConnection, for hub: PushHub) {
        upstream.lend(to: hub)
        hub.opened(upstream, now: worker.now)
        let facts = hub.server.facts
        if facts.version != nil { core.refusesEndsOfNothing = facts.refusesEndsOfNothing }
        core.opened(hub.ref)
        carryOut()
        settle(hub)
        let waiting = waiting
        self.waiting = []
        for id in waiting { worker.clients[id].map { worker.ready($0) } }
    }

    /// Something of the hub may be answered. Once all is, kept clients get messages again.
    func settle(_ hub: PushHub) {
        guard hub.gapSince != nil, let upstream = hub.upstream, upstream.inFlight.isEmpty,
            let since = hub.takeGap()
        else { return }
        traffic.gaps += worker.now - since
        logGap(hub, since)
    }

    /// The pool refuses one to a hub that has waited.
    func refused(_ ref: HubRef, by server: Server, _ refusal: Refusal) {
        let hub = hubs[Int(ref.raw)]
        hub.waitEnded()
        // Another server has taken the place of this one.
        if hub.isWanted, self.server(at: hub.place) !== server { return open(hub) }
        refused(hub, server.refusalText(refusal))
    }

    private func refused(_ hub: PushHub, _ text: String) {
        if hub.lostSince != nil { return }
        _ = hub.close()
        setError(text, of: hub)
        core.failed(hub.ref)
        carryOut()
    }

    /// The server refuses connections in the state `key`, which a hub may wait for. If it has no
    /// RESP3, clients get upstreams of their own; else those whose commands wait are closed, as
    /// clients are that wait for such an upstream themselves.
    func stateRefused(_ key: PoolKey, by server: Server, isLogin: Bool) {
        guard key.protocolVersion == 3, key.database == 0 else { return }
        for hub in hubs where hub.user == key.user && hub.waits(for: server) {
            if hub.lostSince != nil {
                // The next tick tries again.
                hub.cancel()
                continue
            }
            let unsent = hub.takeUnsent()
            let waiting = clients(on: hub) { $0.awaitsHub }
            let isProtocol = server.facts.newProtocol == .refused
            _ = hub.close()
            errors[hub.ref] = nil
            core.failed(hub.ref)
            carryOut()
            for client in waiting where !isProtocol || client.isSubscribing {
                client.closeAfterFlush(isLogin ? .user_refused : .upstream_lost)
            }
            guard isProtocol else { continue }
            for ask in unsent.reversed() { worker.clients[ask.client]?.planAgain(ask) }
        }
    }

    /// The pool's clients whose last command went to this hub.
    func clients(
        on hub: PushHub, where isMeant: (ClientConnection) -> Bool
    ) -> [ClientConnection] {
        worker.clients.all.filter {
            $0.pool === pool && $0.subscribing?.hub == hub.ref && isMeant($0)
        }
    }

    /// The hub's upstream is gone, for `reason`. `relayed`: whose commands were in flight on it.
    func lost(_ hub: PushHub, _ relayed: [SlotID], _ reason: CloseReason) {
        // Shard channels are where their slot is, which may have another node now.
        let isKept =
            hub.place == .anyPrimary && pool.config.pubsub == .shared(loss: .resubscribe)
        if isKept { hub.lost(now: worker.now) } else { _ = hub.close() }
        for id in relayed { worker.clients[id]?.relayLost() }
        traffic.losses += 1
        closed.reason = reason.word
        core.lost(hub.ref, keep: isKept)
        carryOut()
    }

    /// Called with every tick.
    func tick() {
        for hub in hubs {
            if let upstream = hub.upstream {
                upstream.probeHub(hub)
            } else if let since = hub.lostSince {
                if worker.now - since >= PushHub.patience {
                    _ = hub.close()
                    closed.reason = "given_up"
                    setError(hub.server.errorText(.upstreamDown), of: hub)
                    core.gaveUp(hub.ref)
                    carryOut()
                } else if case .lost(_, nil) = hub.state {
                    open(hub)
                }
            }
        }
    }

    private func open(_ hub: PushHub) {
        guard let server = server(at: hub.place) else {
            return refused(hub, ClusterWords.notServed)
        }
        switch hub.ask(server, now: worker.now) {
        case .granted(let id): take(hub.server.lent(id), for: hub)
        case .queued: break
        case .refused(let refusal): refused(hub, hub.server.refusalText(refusal))
        }
    }

    private func setError(_ text: String, of hub: PushHub) {
        var error: [UInt8] = []
        Encode.error(text, into: &error)
        errors[hub.ref] = error
    }

    /// Nobody has anything on the hub, so that its number can be another one's.
    func isUnused(_ hub: PushHub) -> Bool {
        if case .closed = hub.state { return core.hasNothing(hub.ref) }
        return false
    }

    // MARK: What comes on a hub

    /// `hasNothing`: the error says that the hub has no subscriptions.
    func refused(_ hub: PushHub, _ error: [UInt8], by server: Server, hasNothing: Bool) {
        errors[hub.ref] = error
        let other = hub.named(by: error, from: server, self)
        if other.map({ core.moved(hub.ref, to: $0) }) != true {
            core.refused(hub.ref, hasNothing: hasNothing)
        }
        carryOut()
    }

    func confirmed(
        _ hub: PushHub, _ verb: SubscribeVerb, _ name: UnsafeRawBufferPointer?
    ) -> Subscriptions.Confirmed {
        guard let name else { return core.confirmed(hub.ref, verb, nil) }
        return core.confirmed(hub.ref, verb, name.bindMemory(to: UInt8.self).span)
    }

    func deliver(
        _ frame: UnsafeRawBufferPointer, _ hub: PushHub, _ kind: SubscriptionKind,
        _ name: UnsafeRawBufferPointer?
    ) {
        guard let name else { return }
        traffic.messages += 1
        let listeners = core.listeners(hub.ref, kind, name.bindMemory(to: UInt8.self).span)
        traffic.deliveries += UInt64(listeners.clients.count)
        var message = worker.beginMessage(frame)
        worker.give(&message, to: listeners.clients)
        worker.endMessage(message)
    }

    /// A message is longer than a client may have waiting.
    func overlong(_ hub: PushHub, _ kind: SubscriptionKind, _ name: [UInt8]) {
        let listeners = core.listeners(hub.ref, kind, name.span)
        for ref in listeners.clients { worker.client(ref)?.closeAtLimit() }
    }

    /// The reply to a command of a client that went over a hub.
    func relay(_ reply: UnsafeRawBufferPointer, to entry: InFlight) {
        worker.clients[entry.client]?.relayed(reply, entry)
    }

    // MARK: Decisions

    /// Carries out what `core` has decided.
    func carryOut() {
        if isBusy { return }
        isBusy = true
        while let action = core.nextAction() { carryOut(action) }
        isBusy = false
        if !errors.isEmpty { errors = [:] }
        logClosed()
    }

    private func carryOut(_ action: SubscriptionAction) {
        switch action {
        case .open(let ref):
            let hub = hubs[Int(ref.raw)]
            if hub.lostSince == nil { open(hub) }
        case .send(let ref, let verb, let names):
            hubs[Int(ref.raw)].upstream?.sendAsk(verb, names)
        case .confirm(let ref, let verb, let name, let count):
            client(ref)?.confirm(verb, name, count)
        case .relayError(let ref, let hub): client(ref)?.refuseAsk(errors[hub] ?? [])
        case .refuseEnd(let ref, let verb): client(ref)?.refuseEnd(verb)
        case .answered(let ref): client(ref)?.askAnswered()
        case .finish(let ref, let end): client(ref)?.finish(end)
        case .close(let ref, let loss):
            guard let client = client(ref) else { return }
            closed.clients += 1
            if loss == .refused { closed.reason = "refused" }
            client.upstreamLost()
        case .release(let ref, let isClean):
            hubs[Int(ref.raw)].close()?.leaveHub(isClean: isClean)
        case .steady(let change):
            pool.book?.note(change, at: hubs[Int(change.hub.raw)].server.node.address)
        }
    }

    private func client(_ ref: ClientRef) -> ClientConnection? { worker.client(ref) }
}

extension Worker {
    /// The client that has, or wants, subscriptions on hubs.
    func client(_ ref: ClientRef) -> ClientConnection? {
        clients.unretained(short: ref.raw)?.takeUnretainedValue()
    }

    /// Gives a message to listeners. A method of the worker, because elsewhere the loop would
    /// retain the table of clients for each of them.
    fileprivate func give(_ message: inout SharedMessage, to listeners: [ClientRef]) {
        for ref in listeners {
            guard let client = clients.unretained(short: ref.raw) else { continue }
            client._withUnsafeGuaranteedRef { $0.receive(&message) }
        }
    }
}
