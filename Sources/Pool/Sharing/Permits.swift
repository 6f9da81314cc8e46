// Permits: how several workers keep to one `maxOpen` and one `maxPinned`.
//
// Each worker runs a `PoolStateMachine` of its own, but the limits of a pool hold for the process.
// They are therefore cut into permits: a worker opens or pins a connection only if it has a permit
// for that. A worker that serves a pool alone has all permits and needs nothing of this folder.
//
// Kinds (`PoolPermits`). `open` is one connection for any use. `control` is one more connection,
// which pins and shared commands leave to control commands; a pool has at most one such permit.
// `pins` is the right to pin one connection. `PoolLimits.permits` says how many there are:
// open + control = maxOpen, and pins = maxPinned.
//
// Places. Each permit is in one of these places:
//
//   free      In the `PermitBook`, which all workers see. Any worker may take it.
//   in use    Part of one machine's `permits`. Only that worker may use it.
//   debt      Taken from a machine for another worker, while a connection still uses it. It stays
//             with the worker's `PermitKeeper`; the machine opens and pins nothing new with it.
//   credit    In the book, paid to one worker, which has not collected it yet.
//
// `PermitKeeper.held` is the sum of what is in use and of debts.
//
// Moves. At the end of each turn of its loop a worker calls `PermitKeeper.balance`:
//
//   1. Collect. The machine gets the credit of this worker.
//   2. Need. If clients wait in the machine, it says which permits they lack (`permitNeed`). The
//      keeper takes what is free of those. It publishes the rest in the book, with the time since
//      when a client has waited, looks at the free permits again, and has the other workers woken.
//   3. Wish. If no worker lacks anything, the keeper takes free permits so that the next lease need
//      not wait: for one more connection, one more pin and `minIdle` (`permitWish`).
//   4. Offer. If others lack something, the keeper asks its machine what each may have
//      (`permitOffer`), the longest wait first: unused permits and idle upstreams at once, an
//      upstream at work or the next pin that ends only after some time. It promises that in the
//      book, so that no third worker gives the same, and turns it from permits in use into a debt.
//      The machine then closes, or retires, the upstreams above its permits.
//   5. Pay. When no connection uses the permits of a debt any more (`payable`), the keeper adds
//      them to the credit of the other worker and has it woken.
//   6. Give back. At a tick, permits that are not used become free (`permitSpare`).
//
// What is never true:
//
//   * A permit is in two places. A move takes it out of one place before it puts it into the next.
//     In between no worker can use it, so the limits are never exceeded.
//   * A worker has more connections or pins than permits. A connection that closes counts until the
//     end of the server's side was seen, or `closeTimeout` has passed.
//   * A need is lost. A worker publishes its need and then looks at the free permits; a worker that
//     makes permits free does so first and then looks for needs. All workers see the steps on the
//     book's numbers in one order, so one of the two sees the other. Besides, a tick publishes
//     everything again, and drops promises that were not kept for two seconds. A worker that is
//     given too much because of that gives it back.
//   * Two workers pass a permit to and fro. A worker gives up an upstream at work only if it has
//     another one at work, or to a client that has waited longer than its own clients.
//
// Files. `PermitBook`: what the workers share. `PermitKeeper`: the moves of one worker.
// `PoolStateMachine+Permits`: what a machine lacks, offers and can pay. The protocol `PermitCell`
// is the only seam: a cell is an atomic number in the program; in tests it is one that can stop its
// thread before each step (Tests/PoolTests/Interleaver.swift).

/// Permits of one pool, or a part of them.
package struct PoolPermits: Equatable, Sendable {
    /// Connections of any kind.
    package var open: Int
    /// Connections besides `open` that pins and shared commands leave alone: 0 or 1.
    package var control: Int
    /// Pins.
    package var pins: Int

    package init(open: Int = 0, control: Int = 0, pins: Int = 0) {
        self.open = open
        self.control = control
        self.pins = pins
    }

    /// All connections that may be open.
    package var connections: Int { open + control }

    package var isEmpty: Bool { open == 0 && control == 0 && pins == 0 }

    /// The smaller number of each kind.
    package func limited(to other: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: min(open, other.open), control: min(control, other.control),
            pins: min(pins, other.pins))
    }

    package static func + (left: PoolPermits, right: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: left.open + right.open, control: left.control + right.control,
            pins: left.pins + right.pins)
    }

    package static func - (left: PoolPermits, right: PoolPermits) -> PoolPermits {
        PoolPermits(
            open: left.open - right.open, control: left.control - right.control,
            pins: left.pins - right.pins)
    }
}

/// What one worker's machine lacks for its waiters, and since when they wait.
package struct PermitNeed: Equatable, Sendable {
    /// The permits that it could use at once.
    package var permits: PoolPermits
    /// When the oldest waiter for anything but a pin began to wait, in nanoseconds; `.max` if
    /// there is none.
    package var sharedSince: Int64
    /// The same for pins.
    package var pinSince: Int64

    package init(
        _ permits: PoolPermits = PoolPermits(), sharedSince: Int64 = .max, pinSince: Int64 = .max
    ) {
        self.permits = permits
        self.sharedSince = sharedSince
        self.pinSince = pinSince
    }

    /// When the oldest waiter began to wait; `.max` if nobody waits. A need without a waiter means
    /// that one more upstream would serve clients better.
    package var since: Int64 { min(sharedSince, pinSince) }
}

extension PoolLimits {
    /// All permits of a process with these limits.
    package var permits: PoolPermits {
        PoolPermits(open: maxOpen - controlReserve, control: controlReserve, pins: maxPinned)
    }
}
