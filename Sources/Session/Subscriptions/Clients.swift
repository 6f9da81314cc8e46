// What is known of each client with subscriptions or open asks.

/// One client's subscription to an entry.
struct Subscription: Hashed {
    enum Standing: Equatable {
        /// It is asked for and not confirmed.
        case awaited
        /// The client gets the entry's messages, and is told so.
        case listening(at: Int)
        /// The client gets no more messages, and is not told yet: its ask is not answered on
        /// another hub.
        case ended
    }

    /// The entry's number; `gone` where the subscription is over.
    private(set) var entry: UInt32
    private var position: UInt32 = .max
    /// Twice the number of its open asks, plus 1 if the last one begins it.
    private var asks: UInt32 = 0

    fileprivate static let gone: UInt32 = .max

    init(entry: Int) { self.entry = UInt32(entry) }

    fileprivate mutating func end() { entry = Subscription.gone }

    var hashBits: UInt32 {
        let mixed = entry &* 0x9E37_79B1
        return mixed ^ (mixed >> 15)
    }

    var standing: Standing {
        get {
            switch position {
            case .max: .awaited
            case .max - 1: .ended
            default: .listening(at: Int(position))
            }
        }
        set {
            switch newValue {
            case .awaited: position = .max
            case .ended: position = .max - 1
            case .listening(let place): position = UInt32(place)
            }
        }
    }

    var openAsks: UInt32 { asks >> 1 }

    /// The client has been told that it is subscribed.
    var isTold: Bool { standing != .awaited }

    var isListening: Bool {
        if case .listening = standing { true } else { false }
    }

    /// Whether it will be there once all asks are answered.
    var isWanted: Bool { asks > 1 ? asks & 1 == 1 : isListening }

    mutating func open(begins: Bool) { asks = ((asks >> 1) + 1) << 1 | (begins ? 1 : 0) }

    mutating func close() { asks -= 2 }
}

/// A client's subscriptions in the order in which it was told of them; those that it has not been
/// told of are anywhere. A subscription is known by its row, until one is removed.
struct SubscriptionTable {
    private var rows: [Subscription] = []
    /// Finds rows by their entry, where there are too many to look at all.
    private var index: HashIndex?
    private(set) var count = 0
    /// No row behind it has been told to the client.
    private var lastTold = -1

    private static let shortest = 8

    subscript(row: Int) -> Subscription {
        _read { yield rows[row] }
        _modify { yield &rows[row] }
    }

    func find(_ entry: Int) -> Int? {
        let wanted = Subscription(entry: entry)
        guard let index else { return rows.firstIndex { $0.entry == wanted.entry } }
        guard var place = index.home(wanted.hashBits) else { return nil }
        while let row = index.next(&place) {
            if rows[row].entry == wanted.entry { return row }
        }
        return nil
    }

    /// The entries of all rows, in order.
    var entries: [Int] {
        var found: [Int] = []
        found.reserveCapacity(count)
        for row in rows where row.entry != Subscription.gone { found.append(Int(row.entry)) }
        return found
    }

    /// Those whose end the client is not told of, in order.
    var endedEntries: [Int] {
        rows.filter { $0.entry != Subscription.gone && $0.standing == .ended }
            .map { Int($0.entry) }
    }

    /// The first one that the client listens to.
    var firstEntry: Int? {
        rows.first { $0.entry != Subscription.gone && $0.isListening }.map { Int($0.entry) }
    }

    mutating func add(_ entry: Int) -> Int { append(Subscription(entry: entry)) }

    private mutating func append(_ subscription: Subscription) -> Int {
        rows.append(subscription)
        count += 1
        if index != nil {
            index?.insert(rows.count - 1, among: rows)
        } else if rows.count > SubscriptionTable.shortest {
            makeIndex()
        }
        return rows.count - 1
    }

    private mutating func makeIndex() {
        var made = HashIndex()
        for row in rows.indices where rows[row].entry != Subscription.gone {
            made.insert(row, among: rows)
        }
        index = made
    }

    /// The client is told of it just now: it becomes the last of those that it knows.
    mutating func tell(_ row: Int) {
        guard row < lastTold else {
            lastTold = row
            return
        }
        let subscription = rows[row]
        end(row)
        lastTold = append(subscription)
        pack()
    }

    /// Other rows may have other numbers afterwards.
    mutating func remove(_ row: Int) {
        end(row)
        pack()
    }

    private mutating func end(_ row: Int) {
        index?.remove(row, among: rows)
        rows[row].end()
        count -= 1
    }

    /// Drops rows that are over once they are most of the table.
    private mutating func pack() {
        guard rows.count > 2 * count + SubscriptionTable.shortest || count == 0 else { return }
        rows = rows.filter { $0.entry != Subscription.gone }
        lastTold = rows.lastIndex { $0.isTold } ?? -1
        index = nil
        if count > SubscriptionTable.shortest { makeIndex() }
    }
}

/// A client that has subscriptions or open asks.
struct Client {
    let ref: ClientRef
    var subscriptions = SubscriptionTable()
    /// How many it has of each kind, confirmed or asked for.
    var all = KindCounts()
    /// How many it has been told of.
    var told = KindCounts()
    /// The hubs of its subscriptions, and how many are on each.
    private(set) var hubs = HubUses()
    /// Its open asks, oldest first. The first `started` of them have places on hubs.
    var asks = Fifo<Int>()
    var started = 0
    /// The hub that all places of its started asks are on; nil when they are on several.
    var active: HubRef?
    /// The next ask waits until all that are started are answered.
    var isHeldUp = false

    init(_ ref: ClientRef) { self.ref = ref }

    var isOver: Bool { asks.isEmpty && subscriptions.count == 0 }

    mutating func use(_ hub: HubRef, _ change: Int) { hubs.use(hub, change) }

    /// The oldest ask is answered. Most clients ask once and then listen: no memory is kept for the
    /// next one.
    mutating func endAsk() {
        _ = asks.popFirst()
        if asks.isEmpty { asks = Fifo() }
        started -= 1
    }
}

/// How many subscriptions a client has on each hub. Nearly all have one hub, which takes no memory
/// of its own.
struct HubUses: Sequence, IteratorProtocol {
    private typealias Use = (hub: HubRef, count: Int32)
    private var one: Use?
    private var others: [Use] = []

    var first: HubRef? { one?.hub }
    var areSeveral: Bool { !others.isEmpty }

    mutating func next() -> HubRef? {
        guard let hub = one?.hub else { return nil }
        one = others.isEmpty ? nil : others.removeFirst()
        return hub
    }

    fileprivate mutating func use(_ hub: HubRef, _ change: Int) {
        if let use = one, use.hub == hub {
            let count = use.count + Int32(change)
            if count > 0 { one?.count = count } else { _ = next() }
        } else if one == nil {
            one = (hub, Int32(change))
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

    /// What a confirmation for this kind shows: the server counts channels and patterns together.
    func shown(_ kind: SubscriptionKind) -> Int {
        kind == .shard ? Int(shards) : Int(channels) + Int(patterns)
    }
}
