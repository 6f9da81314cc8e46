// Who listens to what on the hubs of a pool, and what goes upstream for it. It has no sockets: it
// is told of asks and confirmations, and says what to do.

/// The subscriptions of a pool's clients in one worker that are on hubs. After each call the shell
/// carries out all actions.
///
/// A client begins to listen when its own SUBSCRIBE is confirmed, and ceases when its own
/// UNSUBSCRIBE, or a fence in its stead, is: so it gets exactly what a connection of its own would.
/// A client's asks are answered in their order. They are sent at once as long as all are on one
/// hub; an ask for another hub waits for those before it.
package struct Subscriptions: ~Copyable {
    var hubs: [HubRef: Hub] = [:]
    var entries = EntryTable()
    var clients = ClientTable()
    var asks = Numbered<Ask>()
    var actions = Fifo<SubscriptionAction>()
    /// Clients whose next ask may start, or that may be over.
    var unsettled: [ClientRef] = []
    /// Hubs that may have something of their own to send, or be over.
    var restless: [HubRef] = []
    /// Entries whose steady state may have changed.
    var unsteady: [UInt32] = []
    var fences = FenceNames()
    /// Entries with listeners.
    var listened = KindCounts()
    /// Subscriptions that are confirmed.
    var listening = 0
    /// The server refuses an UNSUBSCRIBE of a connection without subscriptions, as Valkey 8.0.0 and
    /// 8.0.1 do (`-NOSUB`, src/pubsub.c). It may also show later.
    package var refusesEndsOfNothing = false

    package init() {}

    /// What `confirmed` made of a confirmation.
    package enum Confirmed: Sendable {
        /// It answers the oldest command on the hub, and more confirmations of it are to come.
        case within
        /// It was the last one of the oldest command.
        case ends
        /// No command on the hub asked for it.
        case unasked
    }

    /// A client's command. Without names it ends all subscriptions of its kind. Names that an end
    /// does not find on any hub are confirmed at a place of `hub`.
    package mutating func ask(
        _ client: ClientRef, _ verb: SubscribeVerb, _ names: [[UInt8]], on hub: HubRef
    ) {
        if !verb.isEnd {
            add(.begin(verb, names), of: client, on: hub)
        } else if names.isEmpty {
            add(.endAll(verb), of: client, on: hub)
        } else {
            add(.end(verb, names), of: client, on: hub)
        }
    }

    /// All subscriptions of a client are to end. RESET and QUIT come in the order of its asks.
    package mutating func leave(_ client: ClientRef, _ end: SubscriptionEnd) {
        let number = clients.find(client)
        if end == .gone {
            if let number { forget(number) }
            return settle()
        }
        guard let number else { return actions.append(.finish(client, end)) }
        // It has no place of its own: it ends where the client's subscriptions are.
        let hub = clients[number].hubs.first ?? HubRef(0)
        add(.leave(end), of: client, on: hub)
    }

    /// Who gets a message that came on the hub. Call it once for each message: it counts them.
    package mutating func listeners(
        _ hub: HubRef, _ kind: SubscriptionKind, _ name: Span<UInt8>
    ) -> Listeners {
        guard let entry = entries.find(hub, kind, name), !entries[entry].listeners.isEmpty else {
            return Listeners([])
        }
        entries[entry].messages &+= 1
        return Listeners(entries[entry].listeners)
    }

    /// The next thing to do, if there is one.
    package mutating func nextAction() -> SubscriptionAction? {
        if let action = actions.popFirst() { return action }
        for hub in restless where sendOwn(hub) { return actions.popFirst() }
        if let change = nextSteady() { return .steady(change) }
        while let hub = restless.popLast() {
            hubs[hub]?.isRestless = false
            if let action = release(hub) { return action }
        }
        return nil
    }

    private mutating func nextSteady() -> SteadyChange? {
        while let number = unsteady.popLast().map({ Int($0) }) {
            guard entries.has(number), entries[number].isUnsteady else { continue }
            entries[number].isUnsteady = false
            let steady = entries[number].steady
            guard steady != entries[number].reported else { continue }
            return report(number, steady)
        }
        return nil
    }

    mutating func report(_ number: Int, _ steady: Entry.Steady) -> SteadyChange {
        let entry = entries[number]
        entries[number].reported = steady
        return SteadyChange(
            hub: entry.hub, kind: entry.kind, name: entry.name, before: entry.reported.reach,
            after: steady.reach)
    }

    /// The entry does not count any more.
    mutating func reportNothing(_ number: Int) {
        guard entries[number].reported != .not else { return }
        actions.append(.steady(report(number, .not)))
    }

    private mutating func release(_ ref: HubRef) -> SubscriptionAction? {
        guard let hub = hubs[ref], hub.state == .open, hub.sends.isEmpty,
            hub.entries == hub.stuck
        else { return nil }
        let isClean = hub.entries == 0
        for number in entries.numbers where entries.has(number) && entries[number].hub == ref {
            reportNothing(number)
            entries.remove(number)
        }
        hubs[ref] = nil
        actions.append(.release(ref, isClean: isClean))
        return actions.popFirst()
    }
}
