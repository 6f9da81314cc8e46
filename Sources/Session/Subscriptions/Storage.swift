// Containers of the core of subscriptions. They do not shrink while they hold something; once they
// are empty, they take little memory.

/// Elements under numbers that stay the same; a number is used again after its element is removed.
struct Numbered<Element> {
    private(set) var elements: [Element?] = []
    private var free: [UInt32] = []

    var count: Int { elements.count - free.count }
    /// All numbers in use are below it.
    var end: Int { elements.count }

    func has(_ number: Int) -> Bool { number < elements.count && elements[number] != nil }

    /// The number has to be in use.
    subscript(number: Int) -> Element {
        _read { yield elements[number]! }
        _modify { yield &elements[number]! }
    }

    mutating func add(_ element: Element) -> Int {
        guard let number = free.popLast().map({ Int($0) }) else {
            elements.append(element)
            return elements.count - 1
        }
        elements[number] = element
        return number
    }

    mutating func remove(_ number: Int) {
        elements[number] = nil
        free.append(UInt32(number))
        if free.count == elements.count, free.count > 64 { self = Numbered() }
    }
}

/// First in, first out.
struct Fifo<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { head == elements.count }

    /// There has to be one.
    var first: Element {
        _read { yield elements[head]! }
        _modify { yield &elements[head]! }
    }

    /// The element that is `offset` behind the first. There has to be one.
    subscript(offset: Int) -> Element { elements[head + offset]! }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        let element = elements[head]
        elements[head] = nil
        head += 1
        if head == elements.count {
            if head > 64 { elements = [] } else { elements.removeAll(keepingCapacity: true) }
            head = 0
        } else if head >= 64, head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }

    /// Takes out all, in order.
    mutating func takeAll() -> [Element] {
        let all = elements[head...].compactMap { $0 }
        self = Fifo()
        return all
    }

    mutating func removeAll(where isUnwanted: (Element) -> Bool) {
        elements = elements[head...].filter { $0.map { !isUnwanted($0) } ?? false }
        head = 0
    }
}

extension Array {
    /// Appends to one of many arrays that are as long as clients make them: where there is no more
    /// room, it makes an eighth more, not twice as much.
    mutating func appendTightly(_ element: Element) {
        if count == capacity { reserveCapacity(count + 1 + count / 8) }
        append(element)
    }
}

/// Something that a `HashIndex` finds.
protocol Hashed {
    var hashBits: UInt32 { get }
}

extension Optional: Hashed where Wrapped: Hashed {
    var hashBits: UInt32 { self?.hashBits ?? 0 }
}

/// Finds elements of an array by their hash: open addressing, four bytes for each place. An element
/// is known by its index in the array.
struct HashIndex {
    /// The index of an element, plus 1; 0 where there is none.
    private var places: [UInt32] = []
    private var used: UInt32 = 0

    /// The place where to look first for an element with this hash; nil if there are none.
    func home(_ hash: UInt32) -> Int? { used > 0 ? Int(hash) & (places.count &- 1) : nil }

    /// The element that may be the one that is looked for, and moves on; nil where the chain ends.
    @inline(__always)
    func next(_ place: inout Int) -> Int? {
        let value = places[place]
        place = (place &+ 1) & (places.count &- 1)
        return value == 0 ? nil : Int(value &- 1)
    }

    mutating func insert<Item: Hashed>(_ number: Int, among items: [Item]) {
        if (Int(used) + 1) * 5 > places.count * 4 { grow(among: items) }
        put(number, items[number].hashBits)
        used += 1
    }

    private mutating func put(_ number: Int, _ hash: UInt32) {
        let mask = places.count &- 1
        var place = Int(hash) & mask
        while places[place] != 0 { place = (place &+ 1) & mask }
        places[place] = UInt32(number) &+ 1
    }

    private mutating func grow<Item: Hashed>(among items: [Item]) {
        let old = places
        places = [UInt32](repeating: 0, count: max(16, old.count * 2))
        for value in old where value != 0 {
            let number = Int(value &- 1)
            put(number, items[number].hashBits)
        }
    }

    /// The element is still in the array. Those that follow in its chain move up.
    mutating func remove<Item: Hashed>(_ number: Int, among items: [Item]) {
        let mask = places.count &- 1
        var hole = Int(items[number].hashBits) & mask
        while places[hole] != UInt32(number) &+ 1 { hole = (hole &+ 1) & mask }
        used -= 1
        guard used > 0 else {
            places = []
            return
        }
        var next = (hole &+ 1) & mask
        while places[next] != 0 {
            let home = Int(items[Int(places[next] &- 1)].hashBits) & mask
            if (next &- home) & mask >= (next &- hole) & mask {
                places[hole] = places[next]
                hole = next
            }
            next = (next &+ 1) & mask
        }
        places[hole] = 0
    }
}
