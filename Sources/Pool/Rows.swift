// The storage of slots and groups. An array checks before every change whether another array shares
// its memory. A lease changes a dozen fields, so that took 400 of the 8,200 instructions of a
// single client's command.

/// A growing table that cannot be copied. An index outside it traps, as with an array.
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
