// What the shell tells `Subscriptions`, and what it is told to do.

/// A client as `Subscriptions` knows it. A value may be used again once its client has left. Four
/// bytes, because each subscription of each client has one.
package struct ClientRef: Hashable, Sendable {
    package let raw: UInt32
    package init(_ raw: UInt32) { self.raw = raw }
}

/// A hub: one for each node and user that have subscribers. The shell chooses the value.
package struct HubRef: Hashable, Sendable {
    package let raw: UInt32
    package init(_ raw: UInt32) { self.raw = raw }
}

/// A command of the SUBSCRIBE family.
package enum SubscribeVerb: Sendable {
    case subscribe
    case psubscribe
    case ssubscribe
    case unsubscribe
    case punsubscribe
    case sunsubscribe

    /// What the command subscribes to, or ends.
    package var kind: SubscriptionKind {
        switch self {
        case .subscribe, .unsubscribe: .channel
        case .psubscribe, .punsubscribe: .pattern
        case .ssubscribe, .sunsubscribe: .shard
        }
    }

    /// Whether it ends subscriptions.
    package var isEnd: Bool {
        switch self {
        case .subscribe, .psubscribe, .ssubscribe: false
        case .unsubscribe, .punsubscribe, .sunsubscribe: true
        }
    }

    /// The command's name in lower case, which is also the first element of its confirmations.
    package var word: StaticString {
        switch self {
        case .subscribe: "subscribe"
        case .psubscribe: "psubscribe"
        case .ssubscribe: "ssubscribe"
        case .unsubscribe: "unsubscribe"
        case .punsubscribe: "punsubscribe"
        case .sunsubscribe: "sunsubscribe"
        }
    }
}

/// The ends of all subscriptions of a client at once.
package enum SubscriptionEnd: Sendable {
    /// RESET.
    case reset
    /// QUIT.
    case quit
    /// The client's connection is closed: it is told nothing more.
    case gone
}

/// Why a client with subscriptions is closed.
package enum HubLoss: Sendable {
    /// Its hub is lost, and clients are not kept.
    case lost
    /// One of its names was refused when it was subscribed anew, or the rest of a command of which
    /// names had been confirmed.
    case refused
    /// Its hub was lost, and no new one came in time.
    case gaveUp
}

/// What the shell has to do. Actions are carried out in the order in which they come.
package enum SubscriptionAction: Equatable, Sendable {
    /// Nobody has the hub: lease an upstream and call `opened` or `failed`.
    case open(HubRef)
    /// Send one command. Its answers are one confirmation for each name or one error, and come in
    /// the order of all that was sent on that hub.
    case send(HubRef, SubscribeVerb, [[UInt8]])
    /// Show the client a confirmation; without a name it has a null name.
    case confirm(ClientRef, SubscribeVerb, name: [UInt8]?, count: Int)
    /// The error of the hub answers the client: the last one for which the shell has called
    /// `refused`, `failed` or `gaveUp`. `answered` follows.
    case relayError(ClientRef, of: HubRef)
    /// The client has no subscription, and the server would refuse such an end: the error is its
    /// answer. `answered` follows.
    case refuseEnd(ClientRef, SubscribeVerb)
    /// The client's oldest ask is over: its next command may go on.
    case answered(ClientRef)
    /// All subscriptions of the client are over: write +RESET or +OK. No `answered` follows.
    case finish(ClientRef, SubscriptionEnd)
    /// Close the client. It is forgotten already.
    case close(ClientRef, HubLoss)
    /// Nobody wants anything on the hub and nothing is under way: the upstream goes back to the
    /// pool. It is not clean when a name on it could not be unsubscribed: it is closed then.
    case release(HubRef, isClean: Bool)
    /// What a message to a name reaches has changed, for `SubscriberCounts`.
    case steady(SteadyChange)
}

/// What the server counts a hub for, for one name. It is nothing while an ask that concerns the
/// name is open, as it is not known then what the server counts.
package struct SteadyChange: Equatable, Sendable {
    package var hub: HubRef
    package var kind: SubscriptionKind
    package var name: [UInt8]
    /// What was said last; nothing at first.
    package var before: SubscriberCounts.Reach
    package var after: SubscriberCounts.Reach

    package init(
        hub: HubRef, kind: SubscriptionKind, name: [UInt8], before: SubscriberCounts.Reach,
        after: SubscriberCounts.Reach
    ) {
        self.hub = hub
        self.kind = kind
        self.name = name
        self.before = before
        self.after = after
    }

    package var difference: SubscriberCounts.Reach {
        SubscriberCounts.Reach(
            listeners: after.listeners - before.listeners, hubs: after.hubs - before.hubs,
            leaving: after.leaving - before.leaving)
    }
}

/// The clients that get a message. It stays as it is when subscriptions change meanwhile.
package struct Listeners: Sendable {
    package var clients: [ClientRef]

    package init(_ clients: [ClientRef]) { self.clients = clients }
}
