import Session

// The twins of a `SubscriptionWorld`: what each client would be shown on a connection of its own,
// whose commands are carried out where its own ones had their places on hubs.

extension SubscriptionWorld {
    /// A client, and its twin.
    struct Player {
        enum Wish {
            case begin(SubscribeVerb, [[UInt8]])
            case end(SubscribeVerb, [[UInt8]])
            case endAll(SubscribeVerb)
            case leave(SubscriptionEnd)
        }

        struct Ask {
            let wish: Wish
            let hub: HubRef
            /// When it was asked.
            let at: Int
            /// The confirmations that are still to come, once the first has come.
            var expected: [Frame]?
            var confirmed = 0
            var isRefused = false
            /// What it ends is on both hubs.
            var isSpread = false
            /// With `isSpread`: the hubs on which it has come to its place.
            var reached: Set<HubRef> = []

            init(_ wish: Wish, hub: HubRef, at: Int) {
                self.wish = wish
                self.hub = hub
                self.at = at
            }

            var isBegin: Bool { if case .begin = wish { true } else { false } }
            var isLeave: Bool { if case .leave = wish { true } else { false } }
        }

        var hub = SubscriptionWorld.hubs[0]
        var asks: [Ask] = []
        /// The twin's, in its order.
        var subscriptions: [(hub: HubRef, topic: Topic)] = []
        /// What the client was shown on each hub and the twin was not yet.
        var delivered: [HubRef: [(topic: Topic, message: Int)]] = [:]
        /// How much of the log the twin has seen on each hub.
        var seen: [HubRef: Int] = [:]

        /// Its twin begins behind what was published before.
        init(seen: Int) {
            for hub in SubscriptionWorld.hubs { self.seen[hub] = seen }
        }

        func has(_ topic: Topic) -> Bool { subscriptions.contains { $0.topic == topic } }

        func isTarget(_ topic: Topic, of ask: Ask) -> Bool {
            switch ask.wish {
            case .begin: false
            case .end(let verb, let names): topic.kind == verb.kind && names.contains(topic.name)
            case .endAll(let verb): topic.kind == verb.kind
            case .leave: true
            }
        }

        /// The oldest ask begins to be carried out.
        mutating func beginAsk() {
            guard let ask = asks.first else { return }
            let hubs = Set(subscriptions.filter { isTarget($0.topic, of: ask) }.map { $0.hub })
            asks[0].isSpread = hubs.count > 1
        }

        var isHalfConfirmed: Bool { asks.first.map { $0.isBegin && $0.confirmed > 0 } ?? false }

        func count(_ kind: SubscriptionKind) -> Int {
            subscriptions.count { ($0.topic.kind == .shard) == (kind == .shard) }
        }
    }

    /// Compares what the client got with what its twin got, up to what was read of each hub.
    func settle(_ ref: ClientRef) {
        for hub in SubscriptionWorld.hubs { follow(ref, hub, to: read[hub] ?? 0) }
    }

    /// The twin gets what was published up to the moment.
    func follow(_ ref: ClientRef, _ hub: HubRef, to stamp: Int) {
        var delivered = (players[ref]!.delivered[hub] ?? [])[...]
        var index = players[ref]!.seen[hub] ?? 0
        while index < log.count, log[index].stamp <= stamp {
            let published = log[index]
            index += 1
            for topic in published.topics where isDue(ref, hub, topic, published) {
                let next = delivered.first
                if next?.topic == topic, next?.message == published.stamp {
                    delivered.removeFirst()
                } else if mayHaveEnded(ref, topic, published) {
                    players[ref]!.asks[0].reached.insert(hub)
                } else {
                    return fail("\(ref) is due \(topic) \(published.stamp), has \(delivered)")
                }
            }
        }
        if let extra = delivered.first {
            return fail("\(ref) got \(extra) on \(hub), not due up to \(stamp)")
        }
        players[ref]!.delivered[hub] = []
        players[ref]!.seen[hub] = index
    }

    private func isDue(
        _ ref: ClientRef, _ hub: HubRef, _ topic: Topic, _ published: Published
    ) -> Bool {
        let player = players[ref]!
        guard player.subscriptions.contains(where: { $0.hub == hub && $0.topic == topic }),
            published.dark[hub]?.contains(topic) != true
        else { return false }
        guard let ask = player.asks.first, ask.reached.contains(hub) else { return true }
        return !player.isTarget(topic, of: ask)
    }

    /// An end on both hubs has a place on each, and the client is told at the later one.
    private func mayHaveEnded(_ ref: ClientRef, _ topic: Topic, _ published: Published) -> Bool {
        guard let ask = players[ref]!.asks.first, ask.isSpread else { return false }
        return published.stamp > ask.at && players[ref]!.isTarget(topic, of: ask)
    }

    /// The moment of the oldest ask's place. It is not before the client asked.
    private func come(to ref: ClientRef) {
        let ask = players[ref]!.asks[0]
        guard case .read(let hub, let stamp) = context, !ask.isSpread else { return settle(ref) }
        if stamp <= ask.at { return fail("\(ref): its place is before it asked") }
        follow(ref, hub, to: stamp)
    }

    func confirmed(_ ref: ClientRef, _ verb: SubscribeVerb, _ name: [UInt8]?, _ count: Int) {
        guard players[ref] != nil else { return fail("\(ref) is gone") }
        let shown = Frame.confirm(verb, name, count)
        if case .cut(let hub, let stamp) = context, let name {
            follow(ref, hub, to: stamp)
            guard failure == nil else { return }
            let due = end(Topic(kind: .shard, name: name), ref)
            if !due || players[ref]!.count(.shard) != count { fail("\(ref): wrong cut \(shown)") }
            return
        }
        guard let ask = players[ref]!.asks.first else { return fail("\(ref): unasked \(shown)") }
        if ask.expected == nil || ask.isBegin { come(to: ref) }
        guard failure == nil else { return }
        if case .begin(let wanted, let names) = ask.wish {
            guard ask.confirmed < names.count else { return fail("\(ref): too many") }
            let topic = Topic(kind: wanted.kind, name: names[ask.confirmed])
            if !players[ref]!.has(topic) { players[ref]!.subscriptions.append((ask.hub, topic)) }
            players[ref]!.asks[0].confirmed += 1
            let due = Frame.confirm(wanted, topic.name, players[ref]!.count(topic.kind))
            if shown != due { fail("\(ref) is shown \(shown), not \(due)") }
            return
        }
        if ask.expected == nil { players[ref]!.asks[0].expected = ends(ask, ref) }
        guard let due = players[ref]!.asks[0].expected!.first, due == shown else {
            return fail("\(ref) is shown \(shown), not \(players[ref]!.asks[0].expected!)")
        }
        players[ref]!.asks[0].expected!.removeFirst()
    }

    /// The confirmations of an end.
    private func ends(_ ask: Player.Ask, _ ref: ClientRef) -> [Frame] {
        switch ask.wish {
        case .begin, .leave: return []
        case .end(let verb, let names):
            return names.map { name in
                _ = end(Topic(kind: verb.kind, name: name), ref)
                return .confirm(verb, name, players[ref]!.count(verb.kind))
            }
        case .endAll(let verb):
            let all = players[ref]!.subscriptions.filter { $0.topic.kind == verb.kind }
            if all.isEmpty { return [.confirm(verb, nil, players[ref]!.count(verb.kind))] }
            return all.map { _, topic in
                _ = end(topic, ref)
                return .confirm(verb, topic.name, players[ref]!.count(verb.kind))
            }
        }
    }

    private func end(_ topic: Topic, _ ref: ClientRef) -> Bool {
        let before = players[ref]!.subscriptions.count
        players[ref]!.subscriptions.removeAll { $0.topic == topic }
        return players[ref]!.subscriptions.count < before
    }

    func refused(_ ref: ClientRef) {
        guard players[ref]?.asks.isEmpty == false else { return fail("\(ref): unasked error") }
        switch context {
        case .read, .failed, .gaveUp: players[ref]!.asks[0].isRefused = true
        default: fail("\(ref) gets an error from nowhere")
        }
    }

    func answered(_ ref: ClientRef) {
        guard let ask = players[ref]?.asks.first else { return fail("\(ref): unasked answer") }
        if !ask.isRefused {
            if case .begin(_, let names) = ask.wish {
                if ask.confirmed != names.count { fail("\(ref): answered too early") }
            } else if ask.expected?.isEmpty != true {
                fail("\(ref): confirmations are missing")
            }
        }
        settleRefused(ref)
        players[ref]!.asks.removeFirst()
        players[ref]!.beginAsk()
    }

    /// An end that is refused ends nothing.
    private func settleRefused(_ ref: ClientRef) {
        if players[ref]!.asks[0].isRefused, players[ref]!.asks[0].isSpread { settle(ref) }
    }

    func finished(_ ref: ClientRef, _ end: SubscriptionEnd) {
        guard let ask = players[ref]?.asks.first, case .leave(end) = ask.wish else {
            return fail("\(ref): unasked \(end)")
        }
        if !players[ref]!.subscriptions.isEmpty { come(to: ref) }
        players[ref]!.subscriptions = []
        players[ref]!.asks.removeFirst()
        players[ref]!.beginAsk()
        guard end == .quit else { return }
        players[ref] = nil
        subscriptions.leave(ref, .gone)
    }

    func closed(_ ref: ClientRef, _ loss: HubLoss) {
        guard let player = players[ref] else { return fail("\(ref) is gone") }
        settle(ref)
        switch (context, loss) {
        case (.lost(let hub, true), .lost):
            let isDue = player.subscriptions.contains { $0.hub == hub } || !player.asks.isEmpty
            if !isDue { fail("\(ref) has nothing on \(hub)") }
        case (.gaveUp(let hub), .gaveUp):
            if !player.subscriptions.contains(where: { $0.hub == hub }) { fail("\(ref) has none") }
        case (.read, .refused) where player.isHalfConfirmed,
            (.failed, .refused) where player.isHalfConfirmed,
            (.gaveUp, .refused) where player.isHalfConfirmed:
            break
        case (.read(let hub, _), .refused):
            let isDue = player.subscriptions.contains { held in
                held.hub == hub && isRefused(hub, begin(held.topic.kind), [held.topic.name])
            }
            if !isDue { fail("\(ref) is closed, nothing of it is refused") }
        default: fail("\(ref) is closed: \(loss) after \(context)")
        }
        players[ref] = nil
        toClose.remove(ref)
        subscriptions.leave(ref, .gone)
    }
}
