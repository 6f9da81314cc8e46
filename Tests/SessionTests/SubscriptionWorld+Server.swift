import RESP
import Session
import TestSupport

// The server of a `SubscriptionWorld`: it carries commands out whole, and pushes messages.

extension SubscriptionWorld {
    /// What the server writes to a hub.
    enum Written {
        case message(Topic, Int)
        case confirm(SubscribeVerb, [UInt8])
        case error
    }

    /// A hub's connection.
    struct Connection {
        var topics: Set<Topic> = []
        var toServer: [(verb: SubscribeVerb, names: [[UInt8]])] = []
        /// With the moment at which it was written.
        var toHub: [(stamp: Int, frame: Written)] = []
        var hasDeniedEnd = false
    }

    struct Published {
        let stamp: Int
        let channel: [UInt8]
        let isShard: Bool
        /// Topics that are lost with their hub and not subscribed anew.
        let dark: [HubRef: Set<Topic>]

        /// In the order in which the server has them.
        var topics: [Topic] {
            if isShard { return [Topic(kind: .shard, name: channel)] }
            let patterns = [[0x2A], [channel[0], 0x2A]].map { Topic(kind: .pattern, name: $0) }
            return [Topic(kind: .channel, name: channel)] + patterns
        }
    }

    func publish() {
        now += 1
        let kind: SubscriptionKind = random.chance(25) ? .shard : .channel
        let channel = topic(kind).name
        let published = Published(
            stamp: now, channel: channel, isShard: kind == .shard,
            dark: dark.filter { !$0.value.isEmpty })
        log.append(published)
        for hub in connections.keys {
            for topic in published.topics where connections[hub]!.topics.contains(topic) {
                connections[hub]!.toHub.append((now, .message(topic, now)))
            }
        }
    }

    /// The server carries out the oldest command of a hub.
    func execute() {
        let hub = SubscriptionWorld.hubs[random.below(2)]
        guard connections[hub]?.toServer.isEmpty == false else { return }
        now += 1
        let (verb, names) = connections[hub]!.toServer.removeFirst()
        if isRefused(hub, verb, names) {
            if verb.isEnd { connections[hub]!.hasDeniedEnd = true }
            connections[hub]!.toHub.append((now, .error))
            return
        }
        for name in names {
            let topic = Topic(kind: verb.kind, name: name)
            if verb.isEnd {
                connections[hub]!.topics.remove(topic)
            } else {
                connections[hub]!.topics.insert(topic)
                dark[hub]?.remove(topic)
            }
            connections[hub]!.toHub.append((now, .confirm(verb, name)))
        }
    }

    func isRefused(_ hub: HubRef, _ verb: SubscribeVerb, _ names: [[UInt8]]) -> Bool {
        if verb.isEnd, deniesEnds { return true }
        if verb.kind == .shard {
            let slots = Set(names.map { slot($0) })
            if isCluster, slots.count > 1 { return true }
            if !moved.isDisjoint(with: slots) { return true }
        }
        let forbidden = forbidden[hub] ?? []
        return !verb.isEnd
            && names.contains { forbidden.contains(Topic(kind: verb.kind, name: $0)) }
    }

    /// The tag of a name; a fence has none, but is in the slot of one.
    func slot(_ name: [UInt8]) -> [UInt8] {
        if name.first == 0x7B { return Array(name[0..<3]) }
        let slot = Slot.of(name.span, start: 0, length: name.count)
        for tag in UInt8(0)..<3 {
            let one = shard(tag, 0x61).name
            if Slot.of(one.span, start: 0, length: one.count) == slot { return Array(one[0..<3]) }
        }
        return name
    }

    /// Rights change. A connection that is subscribed to a forbidden name is closed. Whether ends
    /// are refused changes only while none is on its way: else an UNSUBSCRIBE goes through behind
    /// one that was refused, and there is a gap.
    func change() {
        if random.chance(30) {
            if !isAnyEndOpen { deniesEnds = !deniesEnds && random.chance(30) }
            return
        }
        let hub = SubscriptionWorld.hubs[random.below(2)]
        let kinds: [SubscriptionKind] = [.channel, .pattern]
        let topic = topic(kinds[random.below(2)])
        if forbidden[hub]?.contains(topic) == true {
            // What is read has to be what holds.
            if !isAnyErrorOnItsWay { forbidden[hub]?.remove(topic) }
            return
        }
        forbidden[hub, default: []].insert(topic)
        if connections[hub]?.topics.contains(topic) == true { lose(hub) }
    }

    private var isAnyErrorOnItsWay: Bool {
        connections.values.contains { connection in
            connection.toHub.contains { if case .error = $0.frame { true } else { false } }
        }
    }

    private var isAnyEndAsked: Bool {
        players.values.contains { $0.asks.contains { !$0.isBegin } }
    }

    private var isAnyEndOpen: Bool {
        isAnyEndAsked
            || connections.values.contains { $0.isEndOnItsWay }
            || !opening.isEmpty
    }

    /// A slot moves away, or comes back. Not while a client's end is on its way: the client is told
    /// of it where its twin gets an error.
    func cut() {
        let slot = Array(shard(UInt8(random.below(3)), 0x61).name[0..<3])
        if moved.contains(slot) {
            if !isAnyErrorOnItsWay { moved.remove(slot) }
            return
        }
        guard !isAnyEndAsked else { return }
        moved.insert(slot)
        now += 1
        for hub in connections.keys {
            for topic in connections[hub]!.topics.sorted(by: {
                $0.name.lexicographicallyPrecedes($1.name)
            })
            where topic.kind == .shard && self.slot(topic.name) == slot {
                connections[hub]!.topics.remove(topic)
                connections[hub]!.toHub.append((now, .confirm(.sunsubscribe, topic.name)))
            }
        }
    }

    func lose() {
        if let hub = SubscriptionWorld.hubs.filter({ connections[$0] != nil }).randomOne(&random) {
            lose(hub)
        }
    }

    /// The server closes a hub: a part of what it has written arrives.
    private func lose(_ hub: HubRef) {
        losses += 1
        for _ in 0..<random.below(4) { readOne(hub) }
        guard connections[hub] != nil else { return }
        for ref in players.keys { settle(ref) }
        let keep = random.chance(50)
        connections[hub] = nil
        if keep {
            kept.insert(hub)
            dark[hub, default: []].formUnion(allTopics)
            // What was on its way is lost.
            for ref in players.keys { players[ref]!.seen[hub] = log.count }
        } else {
            // One whose end is spread may have ceased to listen.
            toClose = Set(
                players.filter { _, player in
                    player.asks.first?.isSpread != true
                        && player.subscriptions.contains { $0.hub == hub }
                }.keys)
        }
        context = .lost(hub, mayRepeat: !keep)
        subscriptions.lost(hub, keep: keep)
        drain()
        if !toClose.isEmpty { fail("\(toClose) are not closed with their hub") }
    }

    private var allTopics: Set<Topic> {
        var all: Set<Topic> = [Topic(kind: .pattern, name: [0x2A])]
        for letter in UInt8(ascii: "a")...UInt8(ascii: "e") {
            all.insert(Topic(kind: .channel, name: [letter]))
            all.insert(Topic(kind: .pattern, name: [letter, 0x2A]))
            for slot in UInt8(0)..<3 { all.insert(shard(slot, letter)) }
        }
        return all
    }
}

extension SubscriptionWorld.Connection {
    var isEndOnItsWay: Bool {
        toServer.contains { $0.verb.isEnd }
            || toHub.contains {
                if case .confirm(let verb, _) = $0.frame { verb.isEnd } else { false }
            }
    }
}
