// Shard channels of a cluster: a node that does not have a channel's slot names the one that has.

extension Subscriptions {
    /// The oldest command on the hub was answered with MOVED: nothing of it was carried out. If it
    /// is a client's only open ask, and begins subscriptions, it is asked on the hub of the node
    /// that was named, and nobody is told. Otherwise nothing has changed, and the answer is false:
    /// the shell calls `refused`.
    package mutating func moved(_ hub: HubRef, to other: HubRef) -> Bool {
        guard let known = hubs[hub], !known.sends.isEmpty, hub != other,
            case .ask(let ask) = known.sends.first.purpose, case .begin = asks[ask].wish,
            let client = asks[ask].client, asks[ask].hops < Subscriptions.mostHops,
            clients[client].moveAsk(to: other)
        else { return false }
        guard let send = hubs[hub]!.sends.popFirst() else { return false }
        for number in send.entries { entries[Int(number)].openSends -= 1 }
        withdraw(ask, from: hub)
        for number in send.entries where entries.has(Int(number)) { touch(Int(number)) }
        asks[ask].hops += 1
        asks[ask].hub = other
        start(ask, at: [other])
        setRestless(hub)
        settle()
        return true
    }

    /// Nodes that disagree about a slot could name each other for ever.
    static let mostHops = 5
}
