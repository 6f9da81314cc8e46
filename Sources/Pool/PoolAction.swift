// What the pool answers: the outcome of a lease, and actions for the shell. All are small trivial
// values, so that nothing is allocated and tests read as scripts.

/// Why a lease is refused.
package enum Refusal: UInt8, CaseIterable, Sendable {
    /// `poolTimeout` passed. Error word POOLTIMEOUT.
    case poolTimeout
    /// Nothing is connected and dials fail. Error word UPSTREAMDOWN.
    case upstreamDown
    /// `maxPinned` upstreams are pinned. Error word PINLIMIT.
    case pinLimit
    /// `maxWaiters` are waiting already. Error word POOLTIMEOUT.
    case queueFull
    /// The pool is being shut down.
    case draining

    /// The word for the log and docs/operations.md.
    package var word: String {
        switch self {
        case .poolTimeout: "pool_timeout"
        case .upstreamDown: "upstream_down"
        case .pinLimit: "pin_limit"
        case .queueFull: "queue_full"
        case .draining: "draining"
        }
    }
}

/// The answer to `lease`.
package enum LeaseOutcome: Equatable, Sendable {
    /// Leased. `shared` and `slow`: one command is counted in flight there. Others: exclusive.
    case granted(UpstreamID)
    /// A `grant` or `refuse` action for the waiter follows, unless the ticket is cancelled.
    case queued(WaitTicket)
    /// No upstream, and no action will follow.
    case refused(Refusal)
}

/// What the shell has to do. It drains `nextAction()` in order, before the loop iteration ends and
/// before each `tick`.
///
/// Other events may come between a decision and its action. An action may therefore name an
/// upstream that is gone: the shell then leases again for a `grant`, and drops other actions. A
/// `grant` or `refuse` may name a waiter that has left: the shell then returns the granted lease.
package enum PoolAction: Equatable, Sendable {
    /// Connect, authenticate and bring the connection into the key's state; answer `connected` or
    /// `connectFailed`. The deadline for it is the shell's.
    case dial(UpstreamID, PoolKey)
    /// Change an idle upstream's state; answer `converted`, or `lost`.
    case convert(UpstreamID, from: PoolKey, to: PoolKey)
    /// Send PING; answer `probed`, or `lost`.
    case probe(UpstreamID)
    /// Close the connection; answer `closed` when the peer's end was seen, or at once if there
    /// is none to be seen. After `closeTimeout` the pool reuses the slot in any case.
    case close(UpstreamID, CloseReason)
    /// As `LeaseOutcome.granted`, for a waiter.
    case grant(WaiterID, UpstreamID)
    /// As `LeaseOutcome.refused`, for a waiter.
    case refuse(WaiterID, Refusal)
}

/// Actions in the order of the decisions. The queue keeps its memory when it runs empty, so that
/// nothing is allocated once it has grown to its working size.
struct ActionQueue: ~Copyable {
    private var actions: [PoolAction] = []
    private var head = 0

    init() {
        actions.reserveCapacity(64)
    }

    var hasNext: Bool { head < actions.count }

    mutating func append(_ action: PoolAction) {
        actions.append(action)
    }

    mutating func next() -> PoolAction? {
        guard head < actions.count else { return nil }
        let action = actions[head]
        head += 1
        if head == actions.count {
            actions.removeAll(keepingCapacity: true)
            head = 0
        }
        return action
    }
}
