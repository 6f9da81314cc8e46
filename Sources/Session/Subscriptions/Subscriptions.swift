// Who listens to what on the hubs of a pool, and what goes upstream for it. It has no sockets: it
// is told of asks and confirmations, and says what to do.

/// The subscriptions of a pool's clients in one worker that are on hubs. After each call the shell
/// carries out all actions.
package struct Subscriptions {
    struct Key: Hashable {
        var hub: HubRef
        var kind: SubscriptionKind
        var name: [UInt8]
    }

    struct Entry {
        var listeners: [ClientRef] = []
        var messages: UInt64 = 0
    }

    struct Ask {
        var client: ClientRef
        var verb: SubscribeVerb
        var names: [[UInt8]]
        var sent: [[UInt8]] = []
        var confirmed = 0
    }

    struct Hub {
        var isOpen = false
        var asks: [Ask] = []
    }

    var hubs: [HubRef: Hub] = [:]
    var entries: [Key: Entry] = [:]
    var actions: [SubscriptionAction] = []

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
        if hubs[hub] == nil {
            hubs[hub] = Hub()
            actions.append(.open(hub))
        }
        let ask = Ask(client: client, verb: verb, names: names)
        hubs[hub]?.asks.append(ask)
        if hubs[hub]?.isOpen == true { actions.append(.send(hub, verb, names)) }
    }

    /// All subscriptions of a client are to end.
    package mutating func leave(_ client: ClientRef, _ end: SubscriptionEnd) {
        for key in entries.keys { entries[key]?.listeners.removeAll { $0 == client } }
        if end != .gone { actions.append(.finish(client, end)) }
    }

    /// The hub has an upstream.
    package mutating func opened(_ hub: HubRef) {
        hubs[hub]?.isOpen = true
        for ask in hubs[hub]?.asks ?? [] { actions.append(.send(hub, ask.verb, ask.names)) }
    }

    /// The hub could not be opened: its open asks are answered with the error at hand. A kept hub
    /// stays so until it is opened or given up.
    package mutating func failed(_ hub: HubRef) {
        for ask in hubs[hub]?.asks ?? [] {
            actions.append(.relayError(ask.client))
            actions.append(.answered(ask.client))
        }
        hubs[hub] = nil
    }

    /// The hub's upstream is lost. Its listeners are kept, or closed.
    package mutating func lost(_ hub: HubRef, keep: Bool) {
        hubs[hub] = nil
    }

    /// A kept hub got no new upstream in time.
    package mutating func gaveUp(_ hub: HubRef) {
        hubs[hub] = nil
    }

    /// An error answers the oldest command on the hub.
    package mutating func refused(_ hub: HubRef) {
        guard let ask = hubs[hub]?.asks.first else { return }
        hubs[hub]?.asks.removeFirst()
        actions.append(.relayError(ask.client))
        actions.append(.answered(ask.client))
    }

    /// The server confirms a name, or null. A SUNSUBSCRIBE that nobody has asked for says that the
    /// slot has moved: it ends its listeners' subscriptions.
    package mutating func confirmed(
        _ hub: HubRef, _ verb: SubscribeVerb, _ name: Span<UInt8>?
    ) -> Confirmed {
        guard var ask = hubs[hub]?.asks.first, ask.verb == verb else { return .unasked }
        let name = ask.names[ask.confirmed]
        let key = Key(hub: hub, kind: verb.kind, name: name)
        entries[key, default: Entry()].listeners.removeAll { $0 == ask.client }
        if !verb.isEnd { entries[key]?.listeners.append(ask.client) }
        let counts = count(ask.client)
        let count = verb.kind == .shard ? counts.shards : counts.channels + counts.patterns
        actions.append(.confirm(ask.client, verb, name: name, count: count))
        ask.confirmed += 1
        guard ask.confirmed == ask.names.count else {
            hubs[hub]?.asks[0] = ask
            return .within
        }
        hubs[hub]?.asks.removeFirst()
        actions.append(.answered(ask.client))
        return .ends
    }

    /// Who gets a message that came on the hub: call it once for each message, it counts.
    package mutating func listeners(
        _ hub: HubRef, _ kind: SubscriptionKind, _ name: Span<UInt8>
    ) -> Listeners {
        let name = name.indices.map { name[$0] }
        let key = Key(hub: hub, kind: kind, name: name)
        entries[key]?.messages += 1
        return Listeners(entries[key]?.listeners ?? [])
    }

    /// The next thing to do, if there is one.
    package mutating func nextAction() -> SubscriptionAction? {
        actions.isEmpty ? nil : actions.removeFirst()
    }

    /// Whether the client has a subscription, or an open ask.
    package func isListening(_ client: ClientRef) -> Bool {
        hasOpenAsk(client) || entries.values.contains { $0.listeners.contains(client) }
    }

    /// Whether an ask of the client, RESET or QUIT is under way.
    package func hasOpenAsk(_ client: ClientRef) -> Bool {
        hubs.values.contains { $0.asks.contains { $0.client == client } }
    }

    /// What the client is subscribed to, as far as it has been told.
    package func count(_ client: ClientRef) -> (channels: Int, patterns: Int, shards: Int) {
        func of(_ kind: SubscriptionKind) -> Int {
            entries.count { $0.key.kind == kind && $0.value.listeners.contains(client) }
        }
        return (of(.channel), of(.pattern), of(.shard))
    }

    /// One of the client's subscriptions.
    package func anyName(
        of client: ClientRef
    ) -> (hub: HubRef, kind: SubscriptionKind, name: [UInt8])? {
        guard let key = entries.first(where: { $0.value.listeners.contains(client) })?.key else {
            return nil
        }
        return (key.hub, key.kind, key.name)
    }

    /// Whether nobody wants anything on the hub and nothing is under way there.
    package func hasNothing(_ hub: HubRef) -> Bool {
        hubs[hub]?.asks.isEmpty ?? true
            && !entries.contains { $0.key.hub == hub && !$0.value.listeners.isEmpty }
    }

    /// Calls `body` for each entry that has listeners.
    package func forEachEntry(
        _ body: (HubRef, SubscriptionKind, [UInt8], _ listeners: Int, _ messages: UInt64) -> Void
    ) {
        for (key, entry) in entries where !entry.listeners.isEmpty {
            body(key.hub, key.kind, key.name, entry.listeners.count, entry.messages)
        }
    }

    /// How much there is of what.
    package struct Totals: Equatable, Sendable {
        package var hubs = 0
        /// Entries with listeners.
        package var channels = 0
        package var patterns = 0
        package var shards = 0
        /// Subscriptions of clients.
        package var listeners = 0
    }

    /// For metrics.
    package var totals: Totals {
        var totals = Totals()
        totals.hubs = hubs.count
        forEachEntry { _, kind, _, listeners, _ in
            switch kind {
            case .channel: totals.channels += 1
            case .pattern: totals.patterns += 1
            case .shard: totals.shards += 1
            }
            totals.listeners += listeners
        }
        return totals
    }
}
