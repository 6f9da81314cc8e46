// A table of connections, reached by an id that detects when it is stale. The table keeps its
// connections alive until they close. A client and its upstream also refer to each other while one
// uses the other.

/// A slot in a table, and which of its successive elements is meant.
struct SlotID: Equatable {
    let slot: UInt32
    let generation: UInt32

    /// Both parts in one number. It is the pool's opaque waiter id.
    var raw: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    init(raw: UInt64) {
        slot = UInt32(truncatingIfNeeded: raw)
        generation = UInt32(truncatingIfNeeded: raw >> 32)
    }
}

extension SlotID {
    /// The id in four bytes, for lists that are very long: the slot, of which there are fewer than
    /// 2^20 (`maxClients`), and the last 12 bits of the generation. It detects that it is stale,
    /// unless the slot's element has a generation that differs by a multiple of 4,096.
    var short: UInt32 {
        assert(slot <= SlotID.shortSlots, "a slot that has no short id")
        return generation << 20 | slot & SlotID.shortSlots
    }

    fileprivate static let shortSlots: UInt32 = 1 << 20 - 1
}

/// Objects in recycled slots.
struct SlotTable<Element: AnyObject> {
    private var elements: ContiguousArray<Element?> = []
    private var generations: ContiguousArray<UInt32> = []
    private var free: ContiguousArray<UInt32> = []
    private(set) var count = 0

    /// Reserves an id and stores the element that `make` builds for it. A given `generation` must
    /// be one that no other element has had for long, because `first(generation:)` searches by it.
    mutating func insert(generation: UInt32? = nil, _ make: (SlotID) -> Element) -> Element {
        let slot: UInt32
        if let recycled = free.popLast() {
            slot = recycled
        } else {
            slot = UInt32(elements.count)
            elements.append(nil)
            generations.append(0)
        }
        if let generation { generations[Int(slot)] = generation }
        let element = make(SlotID(slot: slot, generation: generations[Int(slot)]))
        elements[Int(slot)] = element
        count += 1
        return element
    }

    /// The element with this id; nil when it has left.
    subscript(id: SlotID) -> Element? {
        let slot = Int(id.slot)
        guard slot < elements.count, generations[slot] == id.generation else { return nil }
        return elements[slot]
    }

    /// The same without a retain: an element that leaves lives until the iteration ends, see
    /// `Departed`.
    @inline(__always)
    func unretained(_ id: SlotID) -> Unmanaged<Element>? {
        let slot = Int(id.slot)
        guard slot < elements.count, generations[slot] == id.generation else { return nil }
        return elements[slot].map { Unmanaged.passUnretained($0) }
    }

    /// The element with this short id, without a retain; nil when it has left.
    @inline(__always)
    func unretained(short: UInt32) -> Unmanaged<Element>? {
        let slot = Int(short & SlotID.shortSlots)
        guard slot < elements.count, generations[slot] << 20 == short & ~SlotID.shortSlots else {
            return nil
        }
        return elements[slot].map { Unmanaged.passUnretained($0) }
    }

    /// The number of slots, used and free.
    var slots: Int { elements.count }

    /// The element in this slot; nil when it is free.
    func element(at slot: Int) -> Element? { elements[slot] }

    mutating func remove(_ id: SlotID) {
        let slot = Int(id.slot)
        guard slot < elements.count, generations[slot] == id.generation,
            elements[slot] != nil
        else { return }
        elements[slot] = nil
        generations[slot] &+= 1
        free.append(id.slot)
        count -= 1
    }

    /// The element with this generation for which `isWanted` holds. Scans four bytes per slot.
    func first(generation: UInt32, where isWanted: (Element) -> Bool) -> Element? {
        for slot in generations.indices where generations[slot] == generation {
            if let element = elements[slot], isWanted(element) { return element }
        }
        return nil
    }

    /// Calls `body` with every element. `body` must not change the table.
    func forEach(_ body: (Element) -> Void) {
        for element in elements {
            if let element { body(element) }
        }
    }

    /// A copy of all elements, for loops that change the table.
    var all: [Element] { elements.compactMap { $0 } }
}
