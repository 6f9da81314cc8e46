// The replies that an upstream owes, oldest first. A run of plain commands of one client is one
// entry, so a pipeline of a thousand commands costs one.

import Session

/// One entry: `count` replies to one client.
struct InFlight {
    var client: SlotID
    var count: UInt32
    /// The size of these commands in bytes; 0 for a stream, which cannot be sent again.
    var bytes: UInt32
    /// The argument of the expectation.
    var value: UInt32 = 0
    /// The turn in which they were queued: its time in microseconds, which wraps around.
    var stamp: UInt32 = 0
    var expectation: Expectation
    var mark = Mark.none
    /// The first of these commands.
    var command = Command.unknown

    enum Mark: UInt8 {
        case none
        /// The client has switched replies off: these are read and dropped.
        case silent
        /// All its commands have one key and are for a node of a cluster, so none of them can make
        /// up an error. If it has places, commands with later places of its client can join it.
        case mayGrow

        init(isSilent: Bool) { self = isSilent ? .silent : .none }
    }

    var isSilent: Bool { mark == .silent }
}

/// A ring that grows as needed and frees its memory when it is empty and large.
struct InFlightQueue: ~Copyable {
    private var ring: UnsafeMutablePointer<InFlight>?
    private var capacity = 0
    private var head = 0
    private(set) var entries = 0
    /// Replies that have come since the connection was made.
    private(set) var answered: UInt64 = 0

    /// The most bytes of commands in one entry. They are kept until the last one is answered.
    private static let longestRun = 32 << 10
    private static let smallest = 16
    private static let kept = 1024

    var isEmpty: Bool { entries == 0 }

    deinit {
        ring?.deallocate()
    }

    /// The oldest entry. The queue must not be empty.
    var first: InFlight {
        get { ring![head] }
        set { ring![head] = newValue }
    }

    /// The oldest entry has commands with places, each with one key. The queue must not be empty.
    var isPlacedRun: Bool {
        guard case .mayGrow = ring![head].mark, case .placed = ring![head].expectation else {
            return false
        }
        return true
    }

    /// Adds `count` expected replies, more than one only if they are plain. Plain ones join the
    /// last entry if that is of the same client and the same turn, with the same number.
    mutating func append(
        _ client: SlotID, _ expectation: Expectation, count: UInt32 = 1, bytes: Int,
        value: UInt32 = 0, mark: InFlight.Mark = .none, stamp: UInt32 = 0,
        command: Command = .unknown
    ) {
        if entries > 0, case .plain = expectation {
            let last = ring! + ((head + entries - 1) & (capacity - 1))
            if case .plain = last.pointee.expectation, last.pointee.client == client,
                last.pointee.mark == mark, last.pointee.stamp == stamp,
                last.pointee.value == value,
                Int(last.pointee.bytes) + bytes <= InFlightQueue.longestRun
            {
                last.pointee.count += count
                last.pointee.bytes += UInt32(bytes)
                return
            }
        }
        if entries == capacity { grow() }
        let index = (head + entries) & (capacity - 1)
        (ring! + index).initialize(
            to: InFlight(
                client: client, count: count, bytes: UInt32(clamping: bytes), value: value,
                stamp: stamp, expectation: expectation, mark: mark, command: command))
        entries += 1
    }

    /// Makes the replies to commands with places, each behind all of the client's on this
    /// upstream, some of the last entry, if that may grow and is of the same client and turn. False
    /// if it is not.
    mutating func join(_ client: SlotID, count: UInt32 = 1, bytes: Int, stamp: UInt32) -> Bool {
        guard entries > 0 else { return false }
        let last = ring! + ((head + entries - 1) & (capacity - 1))
        guard last.pointee.mark == .mayGrow, case .placed = last.pointee.expectation,
            last.pointee.client == client, last.pointee.stamp == stamp,
            Int(last.pointee.bytes) + bytes <= InFlightQueue.longestRun
        else { return false }
        last.pointee.count += count
        last.pointee.bytes += UInt32(bytes)
        return true
    }

    /// Gives the plain commands of a client, of which there are `wanted`, places from 0 on. False,
    /// and nothing has changed, if there are fewer, or one of its entries is not plain, or has
    /// another number than `version`. Looks for them from the newest entry on: behind them are
    /// those of the few clients whose turn came later.
    mutating func place(_ client: SlotID, _ wanted: UInt32, under version: UInt32?) -> Bool {
        var missing = wanted
        var index = entries
        while missing > 0 {
            guard index > 0 else { return false }
            index -= 1
            let entry = ring! + ((head + index) & (capacity - 1))
            guard entry.pointee.client == client else { continue }
            guard case .plain = entry.pointee.expectation, entry.pointee.count <= missing,
                version == nil || entry.pointee.value == version
            else { return false }
            missing -= entry.pointee.count
        }
        var place: UInt32 = 0
        while index < entries {
            let entry = ring! + ((head + index) & (capacity - 1))
            if entry.pointee.client == client {
                entry.pointee.expectation = .placed
                entry.pointee.value = place
                place += entry.pointee.count
            }
            index += 1
        }
        return true
    }

    /// Adds replies to the newest entry.
    mutating func extendLast(by count: UInt32) {
        ring![(head + entries - 1) & (capacity - 1)].count += count
    }

    /// Drops all entries.
    mutating func removeAll() {
        head = 0
        entries = 0
    }

    /// Removes `count` replies from the oldest entry, and the entry with its last one. Returns the
    /// number of bytes that need not be kept any more.
    mutating func finish(_ count: UInt32 = 1) -> Int {
        ring![head].count -= count
        answered &+= UInt64(count)
        guard ring![head].count == 0 else { return 0 }
        let bytes = Int(ring![head].bytes)
        head = (head + 1) & (capacity - 1)
        entries -= 1
        if entries == 0, capacity > InFlightQueue.kept {
            ring?.deallocate()
            ring = nil
            capacity = 0
            head = 0
        }
        return bytes
    }

    /// Calls `body` with every entry, oldest first.
    func forEach(_ body: (InFlight) -> Void) {
        for index in 0..<entries { body(ring![(head + index) & (capacity - 1)]) }
    }

    /// Calls `body` with every entry, newest first, for as long as it returns true.
    func forEachFromNewest(_ body: (InFlight) -> Bool) {
        var index = entries
        while index > 0 {
            index -= 1
            guard body(ring![(head + index) & (capacity - 1)]) else { return }
        }
    }

    /// The stamp of the oldest entry of a client, and whether it is the oldest of all. Nil if there
    /// is none. With `skippingFirst`, the oldest entry of all is left out.
    func oldest(skippingFirst: Bool) -> (stamp: UInt32, isFirst: Bool)? {
        var index = skippingFirst ? 1 : 0
        while index < entries {
            let entry = ring![(head + index) & (capacity - 1)]
            if entry.client != UpstreamConnection.nobody { return (entry.stamp, index == 0) }
            index += 1
        }
        return nil
    }

    /// The same for the oldest entry of one client.
    func oldest(of client: SlotID) -> (stamp: UInt32, isFirst: Bool)? {
        for index in 0..<entries {
            let entry = ring![(head + index) & (capacity - 1)]
            if entry.client == client { return (entry.stamp, index == 0) }
        }
        return nil
    }

    /// The client of the oldest entry that has one.
    var oldestClient: SlotID? {
        for index in 0..<entries {
            let entry = ring![(head + index) & (capacity - 1)]
            if entry.client != UpstreamConnection.nobody { return entry.client }
        }
        return nil
    }

    private mutating func grow() {
        let size = max(InFlightQueue.smallest, capacity * 2)
        let bigger = UnsafeMutablePointer<InFlight>.allocate(capacity: size)
        for index in 0..<entries {
            (bigger + index).initialize(to: ring![(head + index) & (capacity - 1)])
        }
        ring?.deallocate()
        ring = bigger
        capacity = size
        head = 0
    }
}
