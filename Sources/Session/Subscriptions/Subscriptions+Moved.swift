// Shard channels of a cluster: a node that does not have a channel's slot names the one that has.

extension Subscriptions {
    /// The oldest command on the hub was answered with MOVED: nothing of it was carried out. If it
    /// is a client's only open ask, and begins subscriptions, it is asked on the hub of the node
    /// that was named, and nobody is told. Otherwise nothing has changed, and the answer is false:
    /// the shell calls `refused`.
    package mutating func moved(_ hub: HubRef, to other: HubRef) -> Bool {
        guard let known = hubs[hub], !known.sends.isEmpty, hub != other,
            case .ask(let ask) = known.sends.first.purpose,
            case .begin(let verb, let names) = asks[ask].wish,
            let client = asks[ask].client, clients[client].started == 1,
            asks[ask].hops < Subscriptions.mostHops
        else { return false }
        guard let send = hubs[hub]!.sends.popFirst() else { return false }
        asks[ask].hops += 1
        for number in send.entries { entries[Int(number)].openSends -= 1 }
        for target in asks[ask].targets { close(target.entry, of: client) }
        for number in send.entries where entries.has(Int(number)) { touch(Int(number)) }
        asks[ask].hub = other
        asks[ask].targets = []
        clients[client].active = other
        begin(ask, of: client, verb, names)
        setRestless(hub)
        settle()
        return true
    }

    /// Nodes that disagree about a slot could name each other for ever.
    static let mostHops = 5

    private mutating func begin(
        _ ask: Int, of client: Int, _ verb: SubscribeVerb, _ names: [[UInt8]]
    ) {
        let hub = asks[ask].hub
        if hubs[hub] == nil {
            hubs[hub] = Hub()
            actions.append(.open(hub))
        }
        beginTargets(ask, of: client, verb.kind, names)
        if hubs[hub]!.state == .open {
            issue(ask, on: hub)
        } else {
            hubs[hub]!.waiting.append(ask)
        }
    }
}
