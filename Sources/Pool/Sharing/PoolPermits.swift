// How much of a pool's limits one worker may use. The limits hold for the process; several workers
// share them out by permits, each of which is in one place at a time.

/// Permits of one pool, or a part of them.
package struct PoolPermits: Equatable, Sendable {
    /// Connections of any kind.
    package var open: Int
    /// Connections that pins and shared commands leave to others, besides `open`: 0 or 1.
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

/// What a worker's pool lacks for those who wait in it, and since when they wait.
package struct PermitNeed: Equatable, Sendable {
    /// How many it could use at once.
    package var permits: PoolPermits
    /// When the oldest waiter for anything but a pin began to wait, in nanoseconds; `.max` if none
    /// does.
    package var sharedSince: Int64
    /// The same of pins.
    package var pinSince: Int64

    package init(
        _ permits: PoolPermits = PoolPermits(), sharedSince: Int64 = .max, pinSince: Int64 = .max
    ) {
        self.permits = permits
        self.sharedSince = sharedSince
        self.pinSince = pinSince
    }

    /// Since when somebody waits; `.max` if nobody does, and one more would merely be better.
    package var since: Int64 { min(sharedSince, pinSince) }
}

extension PoolLimits {
    /// All permits of a process with these limits.
    package var permits: PoolPermits {
        PoolPermits(open: maxOpen - controlReserve, control: controlReserve, pins: maxPinned)
    }
}
