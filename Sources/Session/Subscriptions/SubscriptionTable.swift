// The subscriptions of one client.

/// One client's subscription to an entry.
struct Subscription {
    enum Standing: Equatable {
        /// It is asked for and not confirmed.
        case awaited
        /// The client gets the entry's messages, and is told so.
        case listening(at: Int)
        /// The client gets no more messages, and is not told yet: its ask is not answered on
        /// another hub.
        case ended
    }

    private var position: UInt32 = .max
    /// Twice the number of its open asks, plus 1 if the last one begins it.
    private var asks: UInt32 = 0

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
///
/// There may be a million subscriptions, nearly all of which are at rest: the client listens, and
/// no ask is open. Those take eight bytes each; what more is known of the others stands aside.
struct SubscriptionTable {
    private var rows: [Row] = []
    private var restless: [(row: UInt32, subscription: Subscription)] = []
    /// Finds rows by their entry, where there are too many to look at all.
    private var index: HashIndex?
    private var used: UInt32 = 0
    /// No row behind it has been told to the client.
    private var lastTold: Int32 = -1

    private static let shortest = 8

    var count: Int { Int(used) }

    subscript(row: Int) -> Subscription {
        get {
            switch rows[row].state {
            case .rests(let place):
                var subscription = Subscription()
                subscription.standing = .listening(at: place)
                return subscription
            case .restless(let number): return restless[number].subscription
            }
        }
        set {
            if newValue.openAsks == 0, case .listening(let place) = newValue.standing {
                endUnrest(of: row)
                rows[row].state = .rests(at: place)
            } else if case .restless(let number) = rows[row].state {
                restless[number].subscription = newValue
            } else {
                addRestless(row, newValue)
            }
        }
    }

    func find(_ entry: Int) -> Int? {
        let wanted = UInt32(entry)
        guard let index else { return rows.firstIndex { $0.entry == wanted } }
        guard var place = index.home(Row.hash(wanted)) else { return nil }
        while let row = index.next(&place) {
            if rows[row].entry == wanted { return row }
        }
        return nil
    }

    /// The entries of all rows, in order.
    var entries: [Int] {
        var found: [Int] = []
        found.reserveCapacity(count)
        for row in rows where !row.isOver { found.append(Int(row.entry)) }
        return found
    }

    /// Those whose end the client is not told of, in order.
    var endedEntries: [Int] {
        rows.indices.filter { !rows[$0].isOver && self[$0].standing == .ended }
            .map { Int(rows[$0].entry) }
    }

    /// The first one that the client listens to.
    var firstEntry: Int? {
        rows.indices.first { !rows[$0].isOver && self[$0].isListening }
            .map { Int(rows[$0].entry) }
    }

    mutating func add(_ entry: Int) -> Int {
        let row = append(Row(entry: UInt32(entry)))
        addRestless(row, Subscription())
        return row
    }

    private mutating func append(_ row: Row) -> Int {
        rows.appendTightly(row)
        used += 1
        if index != nil {
            index?.insert(rows.count - 1, among: rows)
        } else if rows.count > SubscriptionTable.shortest {
            makeIndex()
        }
        return rows.count - 1
    }

    private mutating func makeIndex() {
        var made = HashIndex()
        for row in rows.indices where !rows[row].isOver { made.insert(row, among: rows) }
        index = made
    }

    /// The client is told of it just now: it becomes the last of those that it knows.
    mutating func tell(_ row: Int) {
        guard row < lastTold else {
            lastTold = Int32(row)
            return
        }
        let moved = rows[row]
        end(row)
        let place = append(moved)
        if case .restless(let number) = moved.state { restless[number].row = UInt32(place) }
        lastTold = Int32(place)
        pack()
    }

    /// Other rows may have other numbers afterwards.
    mutating func remove(_ row: Int) {
        endUnrest(of: row)
        end(row)
        pack()
    }

    private mutating func end(_ row: Int) {
        index?.remove(row, among: rows)
        rows[row].end()
        used -= 1
    }

    /// Drops rows that are over once they are most of the table.
    private mutating func pack() {
        guard rows.count > 2 * count + SubscriptionTable.shortest || count == 0 else { return }
        var packed: [Row] = []
        packed.reserveCapacity(count)
        for row in rows where !row.isOver {
            if case .restless(let number) = row.state {
                restless[number].row = UInt32(packed.count)
            }
            packed.append(row)
        }
        rows = packed
        lastTold = Int32(rows.indices.last { self[$0].isTold } ?? -1)
        index = nil
        if count > SubscriptionTable.shortest { makeIndex() }
    }

    private mutating func addRestless(_ row: Int, _ subscription: Subscription) {
        rows[row].state = .restless(restless.count)
        restless.append((row: UInt32(row), subscription: subscription))
    }

    /// The last one takes the place.
    private mutating func endUnrest(of row: Int) {
        guard case .restless(let number) = rows[row].state, let last = restless.popLast() else {
            return
        }
        if restless.isEmpty { restless = [] }
        guard number < restless.count else { return }
        restless[number] = last
        rows[Int(last.row)].state = .restless(number)
    }
}

/// One client's subscription at rest, or where more is known of it.
private struct Row: Hashed {
    enum State {
        /// The client listens, and no ask is open; its place among the entry's listeners.
        case rests(at: Int)
        /// Its number among those that are not at rest.
        case restless(Int)
    }

    /// The entry's number; `over` where the subscription is over.
    private(set) var entry: UInt32
    private var word: UInt32 = 0

    private static let over: UInt32 = .max
    private static let restless: UInt32 = 1 << 31

    init(entry: UInt32) { self.entry = entry }

    var isOver: Bool { entry == Row.over }

    mutating func end() { entry = Row.over }

    var state: State {
        get {
            word & Row.restless == 0
                ? .rests(at: Int(word)) : .restless(Int(word & ~Row.restless))
        }
        set {
            switch newValue {
            case .rests(let place): word = UInt32(place)
            case .restless(let number): word = UInt32(number) | Row.restless
            }
        }
    }

    static func hash(_ entry: UInt32) -> UInt32 {
        let mixed = entry &* 0x9E37_79B1
        return mixed ^ (mixed >> 15)
    }

    var hashBits: UInt32 { Row.hash(entry) }
}
