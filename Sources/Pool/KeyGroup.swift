// The sub-pool of one key: which upstreams are in its state, and who waits for one.

/// The upstreams and waiters of one `PoolKey`.
struct KeyGroup {
    var key: PoolKey
    /// Not on the list of reusable groups.
    var isLive = true
    /// Slots and waiters that name this group; at 0 the next tick may reuse it.
    var references = 0
    /// Upstreams of this key that are connecting, converting or probing, and closing ones whose
    /// slot is meant for it.
    var coming = 0
    /// Idle upstreams, most recently used first.
    var idle = SlotList()
    /// Shared upstreams that take work, in the order in which they are to be filled, by lane.
    var lanes = InlineArray<2, SlotList>(repeating: SlotList())
    /// Where the last search of a lane ended, or `none`.
    var current = InlineArray<2, Int>(repeating: none)
    /// Waiters by `LeaseKind`.
    var waiting = InlineArray<4, WaitList>(repeating: WaitList())

    init(key: PoolKey) {
        self.key = key
    }

    var hasSharedWaiters: Bool { waiting[0].count > 0 || waiting[1].count > 0 }

    /// Shared upstreams that take work, in both lanes.
    var listed: Int { lanes[0].count + lanes[1].count }
}
