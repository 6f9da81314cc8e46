// The storage of slots and groups. An array asks whether it shares its memory with another one
// before every change, and a lease changes a dozen fields: 400 of the 8,200 instructions that the
// command of a single client cost.

/// A growing table that nobody else has a copy of. An index outside it traps, as with an array.
@safe
struct Rows<Element: BitwiseCopyable>: ~Copyable {
    private var base: UnsafeMutablePointer<Element>
    private var capacity: Int
    private(set) var count = 0

    /// An empty table with room for `capacity` rows, at least 1, before it grows.
    init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        unsafe base = .allocate(capacity: capacity)
    }

    deinit {
        unsafe base.deallocate()
    }

    var indices: Range<Int> { 0..<count }

    subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress {
            precondition(index >= 0 && index < count)
            return unsafe UnsafePointer(base + index)
        }
        @inline(__always) unsafeMutableAddress {
            precondition(index >= 0 && index < count)
            return unsafe base + index
        }
    }

    mutating func append(_ row: Element) {
        if count == capacity { grow() }
        unsafe (base + count).initialize(to: row)
        count += 1
    }

    private mutating func grow() {
        let bigger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        unsafe bigger.moveInitialize(from: base, count: count)
        unsafe base.deallocate()
        unsafe base = bigger
        capacity *= 2
    }
}
