// Lists of the work to do before a loop iteration ends. `WorkList` replaces `ContiguousArray`:
// filling and emptying those cost 730 of the 8,900 instructions for a single client's command, with
// one object in each.

/// Objects in the order in which they were added. The list does not keep them alive: whoever closes
/// or removes one gives it to `Departed`, which does so until all lists are empty. The list keeps
/// its memory for the next iteration.
struct WorkList<Element: AnyObject>: ~Copyable {
    private var base: UnsafeMutablePointer<Unmanaged<Element>>
    private var capacity = 64
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    init() {
        base = .allocate(capacity: capacity)
    }

    deinit {
        base.deallocate()
    }

    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        (base + count).initialize(to: Unmanaged.passUnretained(element))
        count += 1
    }

    /// The element at `index`, which must be below `count`. It is not retained. Objects may be
    /// added while the list is walked.
    subscript(index: Int) -> Unmanaged<Element> {
        precondition(index < count)
        return base[index]
    }

    mutating func removeAll() {
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

/// What has been closed or removed. It lives until no list and no callback can refer to it any
/// more, so that those need not keep their objects alive one by one. No list keeps an object for
/// longer than until the end of the next iteration.
struct Departed {
    private var objects: ContiguousArray<AnyObject> = []
    /// Those of the iteration before.
    private var former: ContiguousArray<AnyObject> = []

    var isEmpty: Bool { objects.isEmpty && former.isEmpty }

    mutating func add(_ object: AnyObject) { objects.append(object) }

    /// To be called between two iterations.
    ///
    /// - Parameter all: all work lists are empty.
    mutating func letGo(all: Bool) {
        former.removeAll()
        if all {
            objects.removeAll(keepingCapacity: objects.count <= 64)
        } else {
            swap(&former, &objects)
        }
    }
}
