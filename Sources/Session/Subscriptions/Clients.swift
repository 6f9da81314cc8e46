// What is known of each client with subscriptions or open asks.

/// A client that has subscriptions or open asks.
struct Client: Hashed {
    var subscriptions = SubscriptionTable()
    let ref: ClientRef
    /// How many it has of each kind, confirmed or asked for.
    var all = KindCounts()
    /// How many it has been told of.
    var told = KindCounts()
    /// The hubs of its subscriptions, and how many are on each.
    private(set) var hubs = HubUses()
    /// What is under way for it. Most clients ask once and then listen: then it has none.
    private var progress: Progress?

    init(_ ref: ClientRef) { self.ref = ref }

    var hashBits: UInt32 { ref.hashBits }

    var isOver: Bool { progress == nil && subscriptions.count == 0 }

    mutating func use(_ hub: HubRef, _ change: Int) { hubs.use(hub, change) }

    mutating func addAsk(_ ask: Int) {
        let progress = self.progress ?? Progress()
        progress.asks.append(ask)
        self.progress = progress
    }

    /// The ask that starts next; nil if all are started, or it has to wait for those that are.
    mutating func nextAsk() -> Int? {
        guard let progress else { return nil }
        if progress.started == 0 { progress.isHeldUp = false }
        guard progress.started < progress.asks.count, !progress.isHeldUp else { return nil }
        return progress.asks[progress.started]
    }

    /// The next ask has places on these hubs. It starts now if its answers come in the order of
    /// those before it: all that are under way are on one hub, or it is one alone.
    mutating func start(at places: [HubRef]) -> Bool {
        guard let progress else { return false }
        let isAlone = progress.started == 0
        guard isAlone || (places.count == 1 && places.first == progress.active) else {
            progress.isHeldUp = true
            return false
        }
        progress.started += 1
        progress.active = places.count == 1 ? places.first : nil
        return true
    }

    /// Its only ask that is started goes to another hub; false if there are several.
    mutating func moveAsk(to hub: HubRef) -> Bool {
        guard let progress, progress.started == 1 else { return false }
        progress.active = hub
        return true
    }

    /// The oldest ask is answered.
    mutating func endAsk() {
        guard let progress else { return }
        _ = progress.asks.popFirst()
        progress.started -= 1
        if progress.asks.isEmpty { self.progress = nil }
    }

    /// It is gone: its open asks, oldest first.
    mutating func takeAsks() -> [Int] {
        defer { progress = nil }
        return progress?.asks.takeAll() ?? []
    }
}

/// The open asks of a client.
private final class Progress {
    /// Oldest first. The first `started` of them have places on hubs.
    var asks = Fifo<Int>()
    var started = 0
    /// The hub that all places of its started asks are on; nil when they are on several.
    var active: HubRef?
    /// The next ask waits until all that are started are answered.
    var isHeldUp = false
}

/// The clients, found by what the shell calls them.
struct ClientTable {
    private var clients = Numbered<Client>()
    private var index = HashIndex()

    var count: Int { clients.count }
    /// All numbers in use are below it.
    var end: Int { clients.end }

    func has(_ number: Int) -> Bool { clients.has(number) }

    /// The number has to be that of a client.
    subscript(number: Int) -> Client {
        _read { yield clients[number] }
        _modify { yield &clients[number] }
    }

    func find(_ ref: ClientRef) -> Int? {
        guard var place = index.home(ref.hashBits) else { return nil }
        while let number = index.next(&place) {
            if clients[number].ref == ref { return number }
        }
        return nil
    }

    /// There must be none with this value.
    mutating func add(_ ref: ClientRef) -> Int {
        let number = clients.add(Client(ref))
        index.insert(number, among: clients.elements)
        return number
    }

    mutating func remove(_ number: Int) {
        index.remove(number, among: clients.elements)
        clients.remove(number)
    }
}

extension ClientRef: Hashed {
    var hashBits: UInt32 {
        let mixed = raw &* 0x9E37_79B1
        return mixed ^ (mixed >> 15)
    }
}

/// How many subscriptions a client has on each hub. Nearly all have one hub, which takes no memory
/// of its own.
struct HubUses: Sequence, IteratorProtocol {
    private typealias Use = (hub: HubRef, count: Int32)
    /// It has none if the count is 0.
    private var one: Use = (HubRef(0), 0)
    private var others: [Use] = []

    var first: HubRef? { one.count > 0 ? one.hub : nil }
    var areSeveral: Bool { !others.isEmpty }

    mutating func next() -> HubRef? {
        guard let hub = first else { return nil }
        one = others.isEmpty ? (HubRef(0), 0) : others.removeFirst()
        return hub
    }

    fileprivate mutating func use(_ hub: HubRef, _ change: Int) {
        if first == nil {
            one = (hub, Int32(change))
        } else if one.hub == hub {
            let count = one.count + Int32(change)
            if count > 0 { one.count = count } else { _ = next() }
        } else if let place = others.firstIndex(where: { $0.hub == hub }) {
            others[place].count += Int32(change)
            if others[place].count == 0 { others.remove(at: place) }
        } else {
            others.append((hub, Int32(change)))
        }
    }
}

/// A number for each kind of subscription.
struct KindCounts {
    private var channels: Int32 = 0
    private var patterns: Int32 = 0
    private var shards: Int32 = 0

    subscript(kind: SubscriptionKind) -> Int {
        get {
            switch kind {
            case .channel: Int(channels)
            case .pattern: Int(patterns)
            case .shard: Int(shards)
            }
        }
        set {
            switch kind {
            case .channel: channels = Int32(newValue)
            case .pattern: patterns = Int32(newValue)
            case .shard: shards = Int32(newValue)
            }
        }
    }

    /// Of all kinds.
    var sum: Int { Int(channels) + Int(patterns) + Int(shards) }

    /// What a confirmation for this kind shows: the server counts channels and patterns together.
    func shown(_ kind: SubscriptionKind) -> Int {
        kind == .shard ? Int(shards) : Int(channels) + Int(patterns)
    }
}
