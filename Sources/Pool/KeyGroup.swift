// The sub-pool of one key: which upstreams are in its state, and who waits for one.

/// One value per lane. It has named fields because reading one element of an `InlineArray` in an
/// array element copies all of them (Swift 6.3).
struct ByLane<Value: BitwiseCopyable>: BitwiseCopyable {
    var fast: Value
    var slow: Value

    init(_ value: Value) {
        fast = value
        slow = value
    }

    subscript(lane: Lane) -> Value {
        get { lane == .fast ? fast : slow }
        set { if lane == .fast { fast = newValue } else { slow = newValue } }
    }
}

/// One value per kind of lease.
struct ByKind<Value: BitwiseCopyable>: BitwiseCopyable {
    var shared: Value
    var slow: Value
    var pin: Value
    var control: Value

    init(_ value: Value) {
        shared = value
        slow = value
        pin = value
        control = value
    }

    subscript(kind: LeaseKind) -> Value {
        get {
            switch kind {
            case .shared: shared
            case .slow: slow
            case .pin: pin
            case .control: control
            }
        }
        set {
            switch kind {
            case .shared: shared = newValue
            case .slow: slow = newValue
            case .pin: pin = newValue
            case .control: control = newValue
            }
        }
    }
}

/// The upstreams and waiters of one `PoolKey`.
struct KeyGroup {
    var key: PoolKey
    /// False if the group is on the list of reusable ones.
    var isLive = true
    /// How many slots and waiters name this group; at 0 the next tick makes it reusable.
    var references = 0
    /// Upstreams of this key that are connecting, converting or probing, and closing ones whose
    /// slot is meant for it.
    var coming = 0
    /// Idle upstreams, most recently used first.
    var idle = SlotList()
    /// Shared upstreams that take work, by lane, in the order in which they are filled.
    var lanes = ByLane(SlotList())
    /// The upstream that the last search of a lane found, or `none`.
    var current = ByLane(none)
    var waiting = ByKind(WaitList())

    init(key: PoolKey) {
        self.key = key
    }

    var hasSharedWaiters: Bool { waiting.shared.count > 0 || waiting.slow.count > 0 }

    /// How many shared upstreams take work, in both lanes.
    var listed: Int { lanes.fast.count + lanes.slow.count }
}
