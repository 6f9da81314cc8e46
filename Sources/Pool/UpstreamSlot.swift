// One upstream as the pool sees it, and the intrusive lists that upstreams are on. A state is a
// list: being in a state means being on its list, and `PoolStateMachine.move` keeps that true.

/// What an upstream is doing.
///
/// - `free`: the slot holds nothing. To `connecting` by a dial.
/// - `connecting`: dialled. To `idle` by `connected`; to `free` by `connectFailed` or `lost`; to
///   `closing` by `retire` or `drain`.
/// - `converting`: its key is being changed. To `idle` by `converted`; `free` by `lost`; `closing`.
/// - `idle`: clean, on the list of its key. To `shared`, `pinned`, `control` by
///   a lease; `converting`; `probing`; `closing`; `free` by `lost`.
/// - `probing`: PING sent, not leasable. To `idle` by `probed`; `closing` at the deadline; `free`.
/// - `shared`: pipelined, on a lane list while it takes new work. To `idle` or `closing` by
///   `settle` with nothing in flight; `free` by `lost`.
/// - `pinned`, `control`: exclusive. To `idle` or `closing` by `release`; `closing` by `retire`;
///   `free` by `lost`.
/// - `closing`: counts until `closed`, `lost` or `closeTimeout` makes it `free`.
enum UpstreamState: UInt8, CaseIterable {
    case free, connecting, converting, idle, probing, shared, pinned, control, closing

    var index: Int { Int(rawValue) }

    /// Whether it will fall idle without the end of a lease.
    var isComing: Bool { self == .connecting || self == .converting || self == .probing }

    /// Whether there is a connection whose life has begun and is not ending.
    var isConnected: Bool {
        switch self {
        case .free, .connecting, .closing: false
        case .converting, .idle, .probing, .shared, .pinned, .control: true
        }
    }
}

/// Slow and fast commands of a key get different shared upstreams, so that a slow command delays
/// only other slow ones.
enum Lane {
    case fast, slow

    init(_ kind: LeaseKind) {
        self = kind == .slow ? .slow : .fast
    }

    var kind: LeaseKind { self == .fast ? .shared : .slow }
    var other: Lane { self == .fast ? .slow : .fast }
}

/// The index that stands for "none" in all lists.
let none = -1

/// One slot. Times are nanoseconds of `MonotonicTime`.
struct UpstreamSlot {
    var generation: UInt32 = 0
    var state = UpstreamState.free
    /// Shared only: slow from the first slow command until it has run empty.
    var lane = Lane.fast
    /// Shared only: the shell lets it take new work.
    var isAvailable = true
    /// Shared only: on its lane's list, unless it retires or yields.
    var isListed = false
    /// Shared only: takes no new work, so that it runs empty for a starving waiter of another key.
    var isYielding = false
    /// Shared: closes with this reason when it settles. Closing: why.
    var closeReason: CloseReason?
    /// Index of the key's group; for `closing` the group that waits for the slot, or `none`.
    var group = none
    /// Shared only: commands whose replies are not complete.
    var inFlight: Int32 = 0
    /// Shared only: the shell's limit for `inFlight`.
    var most = Int32.max
    /// Shared only: a fence of the shell's is not answered yet, see `addFence`.
    var isFenced = false
    /// Shared only: when it last replied, or when it got its first command, whichever is later.
    var progressAt: Int64 = 0
    /// When it last fell idle after a lease, a dial or a conversion.
    var idleSince: Int64 = 0
    /// When the server last answered, a probe included.
    var activeAt: Int64 = 0
    /// Probing: when the answer must have come. Closing: when the slot is freed in any case.
    var deadline: Int64 = 0
    var dialedAt: Int64 = 0
    var connectedAt: Int64 = 0
    /// When `maxLifetime` is over; `.max` if there is no limit.
    var expiresAt: Int64 = .max
    /// -100 ... 100, random per connection: it spreads lifetimes and probes.
    var jitter: Int64 = 0
    var previous = none
    var next = none

    /// More commands on a shared upstream.
    mutating func countCommand(_ count: Int32 = 1, now: Int64) {
        if inFlight == 0 { progressAt = now }
        inFlight += count
    }
}

/// A doubly linked list of slots, through `previous` and `next`.
struct SlotList {
    var head = none
    var tail = none
    var count = 0

    mutating func pushFront(_ index: Int, in slots: inout Rows<UpstreamSlot>) {
        slots[index].previous = none
        slots[index].next = head
        if head >= 0 { slots[head].previous = index } else { tail = index }
        head = index
        count += 1
    }

    mutating func pushBack(_ index: Int, in slots: inout Rows<UpstreamSlot>) {
        slots[index].previous = tail
        slots[index].next = none
        if tail >= 0 { slots[tail].next = index } else { head = index }
        tail = index
        count += 1
    }

    mutating func remove(_ index: Int, in slots: inout Rows<UpstreamSlot>) {
        let previous = slots[index].previous
        let next = slots[index].next
        if previous >= 0 { slots[previous].next = next } else { head = next }
        if next >= 0 { slots[next].previous = previous } else { tail = previous }
        slots[index].previous = none
        slots[index].next = none
        count -= 1
    }
}
