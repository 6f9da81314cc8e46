import Session
import TestSupport

// Clients around one `Subscriptions`, and a server. What is on its way on each hub waits for its
// turn, in both directions. Each client has a twin, which has a connection of its own and whose
// commands the server carries out at the same moment. All from one seed.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class SubscriptionWorld {
    /// A kind and a name.
    struct Topic: Hashable {
        let kind: SubscriptionKind
        let name: [UInt8]
    }

    /// What a client is shown.
    enum Frame: Equatable {
        case message(Topic, Int)
        case confirm(SubscribeVerb, [UInt8]?, Int)
    }

    /// The broken ways that the test has to see.
    enum Broken: CaseIterable {
        case nothing
        /// An ask for which the server has nothing to do is confirmed at once.
        case confirmsAtOnce
    }

    typealias Reach = SubscriberCounts.Reach

    static let hubs = [HubRef(7), HubRef(8)]
    static let clients = 8

    let seed: UInt64
    let broken: Broken
    /// Shard channels of one command have to be in one slot.
    let isCluster: Bool
    var random: SeededRandom
    var subscriptions = Subscriptions()

    // The server.
    var now = 0
    var connections: [HubRef: Connection] = [:]
    var forbidden: [HubRef: Set<Topic>] = [:]
    var deniesEnds = false
    var moved: Set<[UInt8]> = []
    /// Everything that was published, in order.
    var log: [Published] = []
    /// Names that were lost with a hub and are not subscribed anew.
    var dark: [HubRef: Set<Topic>] = [:]

    // The shell.
    var opening: Set<HubRef> = []
    var kept: Set<HubRef> = []
    /// The stamp of the last frame that was read.
    var read: [HubRef: Int] = [:]
    var context = Context.command
    var book: [HubRef: [Topic: Reach]] = [:]
    /// Those that have to be closed because their hub is lost.
    var toClose: Set<ClientRef> = []

    var players: [ClientRef: Player] = [:]
    var steps = 0
    var messages = 0
    var refusals = 0
    var losses = 0
    var ends = 0
    var handOvers = 0
    var failure: String?

    init(seed: UInt64, broken: Broken = .nothing) {
        self.seed = seed
        self.broken = broken
        // Streams of neighbouring seeds are the same but for one number.
        random = SeededRandom(seed: seed &* 0xD6E8_FEB8_6659_FD93)
        isCluster = seed % 2 == 1
    }

    func run(steps wanted: Int) {
        while steps < wanted, failure == nil {
            step()
            if steps % 250 == 0 { quiet() }
        }
        finish()
    }

    func fail(_ text: String) {
        if failure == nil { failure = "seed \(seed), step \(steps): \(text)" }
    }

    private func step() {
        steps += 1
        switch random.below(100) {
        case 0..<16: ask()
        case 16..<17: leave()
        case 17..<40: execute()
        case 40..<65: readOne()
        case 65..<90: publish()
        case 90..<97: open()
        case 97: change()
        case 98: if random.chance(30) { lose() }
        default: if random.chance(10) { cut() }
        }
    }

    /// A topic of few, so that clients meet. Shard channels are in three slots.
    func topic(_ kind: SubscriptionKind) -> Topic {
        let letter = UInt8(ascii: "a") + UInt8(random.below(5))
        switch kind {
        case .channel: return Topic(kind: kind, name: [letter])
        case .pattern:
            return Topic(kind: kind, name: random.chance(30) ? Array("*".utf8) : [letter, 0x2A])
        case .shard:
            return shard(UInt8(random.below(3)), letter)
        }
    }

    func shard(_ slot: UInt8, _ letter: UInt8) -> Topic {
        Topic(kind: .shard, name: [0x7B, 0x30 + slot, 0x7D, letter])
    }

    private func ask() {
        let ref = ClientRef(UInt32(random.below(SubscriptionWorld.clients)))
        if players[ref] == nil { players[ref] = Player(seen: log.count) }
        guard players[ref]!.asks.count < 4, !players[ref]!.asks.contains(where: \.isLeave) else {
            return
        }
        if random.chance(2) { players[ref]!.hub = SubscriptionWorld.hubs[random.below(2)] }
        let wish = wish()
        let hub = players[ref]!.hub
        players[ref]!.asks.append(Player.Ask(wish, hub: hub, at: now))
        if players[ref]!.asks.count == 1 { players[ref]!.beginAsk() }
        context = .command
        switch wish {
        case .begin(let verb, let names), .end(let verb, let names):
            subscriptions.ask(ref, verb, names, on: hub)
        case .endAll(let verb): subscriptions.ask(ref, verb, [], on: hub)
        case .leave(let end): subscriptions.leave(ref, end)
        }
        drain()
    }

    private func wish() -> Player.Wish {
        let kinds: [SubscriptionKind] = [.channel, .channel, .pattern, .shard]
        let kind = kinds[random.below(4)]
        if random.chance(3) { return .leave(random.chance(70) ? .reset : .quit) }
        guard random.chance(45) else { return .begin(begin(kind), names(kind)) }
        return random.chance(15) ? .endAll(end(kind)) : .end(end(kind), names(kind))
    }

    private func names(_ kind: SubscriptionKind) -> [[UInt8]] {
        let count = 1 + random.below(random.chance(20) ? 6 : 2)
        let slot = UInt8(random.below(3))
        return (0..<count).map { _ in
            let name = topic(kind).name
            return kind == .shard ? shard(slot, name[3]).name : name
        }
    }

    func begin(_ kind: SubscriptionKind) -> SubscribeVerb {
        switch kind {
        case .channel: .subscribe
        case .pattern: .psubscribe
        case .shard: .ssubscribe
        }
    }

    func end(_ kind: SubscriptionKind) -> SubscribeVerb {
        switch kind {
        case .channel: .unsubscribe
        case .pattern: .punsubscribe
        case .shard: .sunsubscribe
        }
    }

    /// A client vanishes. Its value may be used again at once.
    private func leave() {
        guard let ref = players.keys.sorted(by: { $0.raw < $1.raw }).randomOne(&random) else {
            return
        }
        settle(ref)
        players[ref] = nil
        context = .command
        subscriptions.leave(ref, .gone)
        if subscriptions.isListening(ref) { fail("a client that is gone is known") }
        drain()
        ends += 1
    }

    // MARK: - Quiet

    /// Everything on its way arrives. Then all has to be as the twins have it, also for another
    /// process that takes over.
    private func quiet() {
        arrive()
        if failure == nil { compare() }
        if failure == nil { handOver() }
        arrive()
        if failure == nil { compare() }
    }

    private func handOver() {
        guard let carried = subscriptions.carried else {
            return fail("it is quiet, and cannot be carried")
        }
        var next = Subscriptions()
        next.adopt(carried)
        if let again = next.carried, again != carried { fail("\(again) is not \(carried)") }
        subscriptions = next
        book = [:]
        context = .command
        drain()
        handOvers += 1
    }

    private func arrive() {
        var turns = 0
        while failure == nil, isBusy, turns < 100_000 {
            turns += 1
            if random.chance(30) { open() }
            if random.chance(50) { execute() } else { readOne() }
        }
        if isBusy { fail("it never becomes quiet") }
        guard failure == nil else { return }
        for ref in players.keys { settle(ref) }
        if let open = players.first(where: { !$0.value.asks.isEmpty }) {
            fail("an ask of \(open.key) is not answered")
        }
    }

    private var isBusy: Bool {
        !opening.isEmpty
            || connections.values.contains { !$0.toServer.isEmpty || !$0.toHub.isEmpty }
    }

    private func compare() {
        var wanted: [HubRef: [Topic: Int]] = [:]
        for (ref, player) in players {
            for held in player.subscriptions {
                wanted[held.hub, default: [:]][held.topic, default: 0] += 1
            }
            checkViews(ref, player)
        }
        for hub in SubscriptionWorld.hubs {
            let names = Set((wanted[hub] ?? [:]).keys)
            let there = connections[hub]?.topics ?? []
            if there != names,
                connections[hub]?.hasDeniedEnd != true || !there.isSuperset(of: names)
            {
                fail("the server has \(there) of hub \(hub), wanted is \(names)")
            }
            if connections[hub] != nil, names.isEmpty { fail("hub \(hub) is not released") }
            if subscriptions.hasNothing(hub) != names.isEmpty { fail("hasNothing is wrong") }
            let counted = (book[hub] ?? [:]).filter { $0.value != Reach() }
            var right = (wanted[hub] ?? [:]).mapValues { Reach(listeners: $0, hubs: 1) }
            // Those that the hub may not end.
            for topic in there.subtracting(names) { right[topic] = Reach(leaving: 1) }
            if counted != right { fail("steady are \(counted), \(right) are there") }
        }
        checkTotals(wanted)
    }

    private func checkViews(_ ref: ClientRef, _ player: Player) {
        let count = subscriptions.count(ref)
        let found = [count.channels, count.patterns, count.shards]
        let kinds: [SubscriptionKind] = [.channel, .pattern, .shard]
        let wanted = kinds.map { kind in
            player.subscriptions.count { $0.topic.kind == kind }
        }
        if found != wanted { fail("\(ref) has \(wanted), not \(found)") }
        if subscriptions.isListening(ref) == player.subscriptions.isEmpty { fail("isListening") }
        let first = player.subscriptions.first
        let any = subscriptions.anyName(of: ref)
        if any?.hub != first?.hub || any?.name != first?.topic.name { fail("anyName") }
    }

    private func checkTotals(_ wanted: [HubRef: [Topic: Int]]) {
        let topics = wanted.values.flatMap { $0.keys }
        var totals = Subscriptions.Totals()
        totals.hubs = wanted.values.count { !$0.isEmpty }
        totals.channels = topics.count { $0.kind == .channel }
        totals.patterns = topics.count { $0.kind == .pattern }
        totals.shards = topics.count { $0.kind == .shard }
        totals.listeners = wanted.values.flatMap { $0.values }.reduce(0, +)
        if subscriptions.totals != totals { fail("totals \(subscriptions.totals), not \(totals)") }
        var listeners = 0
        subscriptions.forEachEntry { _, _, _, count, _ in listeners += count }
        if listeners != totals.listeners { fail("forEachEntry") }
    }

    /// All leave: nothing may be left.
    private func finish() {
        if failure == nil { quiet() }
        guard failure == nil else { return }
        for ref in players.keys.sorted(by: { $0.raw < $1.raw }) {
            context = .command
            subscriptions.leave(ref, .gone)
            drain()
        }
        players = [:]
        quiet()
        if failure == nil, !subscriptions.isEmpty || !connections.isEmpty {
            fail("something is left")
        }
    }
}

extension Array {
    func randomOne(_ random: inout SeededRandom) -> Element? {
        isEmpty ? nil : self[random.below(count)]
    }
}
