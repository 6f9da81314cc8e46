// The memory of an order's places. An array checks before every change whether another array shares
// its memory, and its reader has to know where the ring begins.

/// Places, oldest first, in a ring that grows and cannot be copied. A place is named by how many
/// are before it; an offset that is not there traps, as with an array.
@safe
struct PlaceRing: ~Copyable {
    private var ring: UnsafeMutablePointer<ReplyPlace>?
    /// For how many places there is memory: a power of two, or 0.
    private(set) var capacity = 0
    private var head = 0
    private(set) var count = 0

    private static let smallest = 16
    /// When the ring becomes empty, it keeps memory for no more places than these: 2 KB.
    private static let kept = 32

    init() {
        unsafe ring = nil
    }

    deinit {
        unsafe ring?.deallocate()
    }

    subscript(offset: Int) -> ReplyPlace {
        @inline(__always) unsafeAddress {
            precondition(offset >= 0 && offset < count)
            return unsafe UnsafePointer(ring! + ((head &+ offset) & (capacity &- 1)))
        }
        @inline(__always) unsafeMutableAddress {
            precondition(offset >= 0 && offset < count)
            return unsafe ring! + ((head &+ offset) & (capacity &- 1))
        }
    }

    mutating func append(_ place: ReplyPlace) {
        if count == capacity { grow() }
        unsafe (ring! + ((head &+ count) & (capacity &- 1))).initialize(to: place)
        count += 1
    }

    /// Removes the oldest ones, of which there are so many.
    @inline(__always)
    mutating func removeFirst(_ gone: Int) {
        precondition(gone >= 0 && gone <= count)
        count -= gone
        if count == 0 {
            becomeEmpty()
        } else {
            head = (head &+ gone) & (capacity &- 1)
        }
    }

    private mutating func becomeEmpty() {
        head = 0
        guard capacity > PlaceRing.kept else { return }
        unsafe ring?.deallocate()
        unsafe ring = nil
        capacity = 0
    }

    private mutating func grow() {
        let size = max(PlaceRing.smallest, 2 * capacity)
        let bigger = UnsafeMutablePointer<ReplyPlace>.allocate(capacity: size)
        for offset in 0..<count { unsafe (bigger + offset).initialize(to: self[offset]) }
        unsafe ring?.deallocate()
        unsafe ring = bigger
        capacity = size
        head = 0
    }
}
