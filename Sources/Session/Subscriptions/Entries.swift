// The entries of all hubs: what is known of each name that is subscribed there, or wanted.

/// A hub, a kind and a name.
struct Entry: Hashed {
    let hub: HubRef
    let kind: SubscriptionKind
    let name: [UInt8]
    let hashBits: UInt32
    /// False between the entry's removal and the next use of its number.
    var isUsed = true
    /// Those that get its messages.
    var listeners: [ClientRef] = []
    /// Clients with a subscription to it, confirmed or asked for.
    var subscriptions: UInt32 = 0
    /// Clients that will be subscribed once all asks are answered: intent, where listeners are
    /// fact.
    var wanted: UInt32 = 0
    /// Asks of clients that concern the name and are not answered. A name counts as often as it is
    /// in the ask.
    var openAsks: UInt32 = 0
    /// How often the name is in commands that are sent and not answered.
    var openSends: UInt32 = 0
    /// What the last of those commands does.
    var isSubscribing = false
    /// As the server has confirmed it.
    var isSubscribed = false
    /// The server refused to end it, and nobody wants it.
    var isStuck = false
    /// In the list of names that Redpool unsubscribes.
    var isUnwanted = false
    /// In a list of names that Redpool subscribes anew.
    var isSubscribedAnew = false
    /// In the list of names whose steady state may have changed.
    var isUnsteady = false
    /// The steady state that was reported last.
    var reported = Steady.not
    var messages: UInt64 = 0

    /// Whether the server will have it subscribed once it has answered all that is sent.
    var willBeSubscribed: Bool { openSends > 0 ? isSubscribing : isSubscribed }

    /// Nothing needs it any more.
    var isOver: Bool { subscriptions == 0 && openSends == 0 && !isSubscribed }

    /// What is known of the one by which the server counts the hub for this name.
    enum Steady: Equatable {
        /// Something begins or ends: it is not known whether the server counts it.
        case not
        /// It stands for so many listeners, which are 1 or more.
        case listeners(UInt32)
        /// It stands for nobody: the name is about to be unsubscribed, or stuck.
        case leaving

        var reach: SubscriberCounts.Reach {
            switch self {
            case .not: .init()
            case .listeners(let count): .init(listeners: Int(count), hubs: 1)
            case .leaving: .init(leaving: 1)
            }
        }
    }

    var steady: Steady {
        guard openAsks == 0, isSubscribed else { return .not }
        if subscriptions == 0 { return openSends == 0 || !isSubscribing ? .leaving : .not }
        guard openSends == 0, !listeners.isEmpty else { return .not }
        return .listeners(UInt32(truncatingIfNeeded: listeners.count))
    }
}

/// The entries, found by hub, kind and name without an array for the name.
struct EntryTable {
    private var entries: [Entry] = []
    private var free: [UInt32] = []
    private var index = HashIndex()

    var numbers: Range<Int> { entries.indices }
    var isEmpty: Bool { free.count == entries.count }

    /// Whether there is an entry with this number.
    func has(_ number: Int) -> Bool { number < entries.count && entries[number].isUsed }

    /// The number has to be that of an entry.
    subscript(number: Int) -> Entry {
        _read { yield entries[number] }
        _modify { yield &entries[number] }
    }

    func find(_ hub: HubRef, _ kind: SubscriptionKind, _ name: Span<UInt8>) -> Int? {
        let hash = EntryTable.hash(hub, kind, name)
        guard var place = index.home(hash) else { return nil }
        while let number = index.next(&place) {
            guard entries[number].hashBits == hash, entries[number].hub == hub,
                entries[number].kind == kind
            else { continue }
            let known = entries[number].name
            if isEqual(known.span, name) { return number }
        }
        return nil
    }

    mutating func add(_ hub: HubRef, _ kind: SubscriptionKind, _ name: [UInt8]) -> Int {
        let hash = EntryTable.hash(hub, kind, name.span)
        let entry = Entry(hub: hub, kind: kind, name: name, hashBits: hash)
        let number: Int
        if let used = free.popLast() {
            number = Int(used)
            entries[number] = entry
        } else {
            number = entries.count
            entries.append(entry)
        }
        index.insert(number, among: entries)
        return number
    }

    mutating func remove(_ number: Int) {
        index.remove(number, among: entries)
        var entry = Entry(hub: HubRef(0), kind: .channel, name: [], hashBits: 0)
        entry.isUsed = false
        entries[number] = entry
        free.append(UInt32(number))
        guard isEmpty, free.count > 64 else { return }
        entries = []
        free = []
    }
}

extension EntryTable {
    private static func hash(
        _ hub: HubRef, _ kind: SubscriptionKind, _ name: Span<UInt8>
    ) -> UInt32 {
        var hasher = Hasher()
        hasher.combine(hub.raw)
        hasher.combine(kind)
        return finish(hasher, name)
    }
}

/// The hash of a name. Clients choose names, so the hash has a secret of the process.
func nameHash(_ name: Span<UInt8>) -> UInt32 { finish(Hasher(), name) }

private func finish(_ hasher: consuming Hasher, _ name: Span<UInt8>) -> UInt32 {
    // The bytes are used within the call only.
    unsafe name.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    return UInt32(truncatingIfNeeded: hasher.finalize())
}

/// Whether two names are the same. Compares eight bytes at a time.
func isEqual(_ one: Span<UInt8>, _ other: Span<UInt8>) -> Bool {
    guard one.count == other.count else { return false }
    var index = 0
    while index &+ 8 <= one.count {
        // Both loads are within the names.
        let first = unsafe one.bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
        let second = unsafe other.bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
        if first != second { return false }
        index &+= 8
    }
    while index < one.count {
        if one[index] != other[index] { return false }
        index &+= 1
    }
    return true
}
