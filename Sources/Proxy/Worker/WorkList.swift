// What has to be looked at before a loop iteration ends. `ContiguousArray` would do; but filling
// and emptying them cost 730 of the 8,900 instructions for the command of a single client, with
// one object in each.

/// Objects in the order in which they were added. It keeps them alive until `removeAll`, and its
/// memory for the next iteration.
struct WorkList<Element: AnyObject>: ~Copyable {
    private var base: UnsafeMutablePointer<Unmanaged<Element>>
    private var capacity = 64
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    init() {
        base = .allocate(capacity: capacity)
    }

    deinit {
        for index in 0..<count { base[index].release() }
        base.deallocate()
    }

    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        (base + count).initialize(to: Unmanaged.passRetained(element))
        count += 1
    }

    /// Only below `count`; more may be added while the list is walked.
    subscript(index: Int) -> Element {
        precondition(index < count)
        return base[index].takeUnretainedValue()
    }

    mutating func removeAll() {
        for index in 0..<count { base[index].release() }
        count = 0
    }

    private mutating func grow() {
        let bigger = UnsafeMutablePointer<Unmanaged<Element>>.allocate(capacity: capacity * 2)
        bigger.moveInitialize(from: base, count: count)
        base.deallocate()
        base = bigger
        capacity *= 2
    }
}
