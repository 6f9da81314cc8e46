// What an upstream owes: the commands that were sent to it, oldest first. Runs of plain commands of
// one client are one entry, so a pipeline of a thousand costs one.

/// How a reply is to be treated when it comes.
enum Expectation: UInt8 {
    /// Goes to the client as it is.
    case plain
    /// Goes to the client; +OK records its name.
    case mirrorName
    /// Goes to the client; +OK records a library name or version.
    case mirrorInfo
    /// Our PING.
    case probe
    /// Our COMMAND INFO for a client that waits for it.
    case commandInfo
}

/// One entry: `count` replies for one client.
struct InFlight {
    var client: SlotID
    var count: UInt32
    var expectation: Expectation
}

/// A ring that grows to what is needed and gives its memory back when empty and large.
struct InFlightQueue: ~Copyable {
    private var ring: UnsafeMutablePointer<InFlight>?
    private var capacity = 0
    private var head = 0
    private(set) var entries = 0

    private static let smallest = 16
    private static let kept = 1024

    var isEmpty: Bool { entries == 0 }

    deinit {
        ring?.deallocate()
    }

    /// The oldest entry. Only when not empty.
    var first: InFlight {
        get { ring![head] }
        set { ring![head] = newValue }
    }

    /// Adds one expected reply; plain ones of the same client join the last entry.
    mutating func append(_ client: SlotID, _ expectation: Expectation) {
        if entries > 0 {
            let last = (head + entries - 1) & (capacity - 1)
            if expectation == .plain, ring![last].expectation == .plain,
                ring![last].client == client
            {
                ring![last].count += 1
                return
            }
        }
        if entries == capacity { grow() }
        let index = (head + entries) & (capacity - 1)
        (ring! + index).initialize(
            to: InFlight(client: client, count: 1, expectation: expectation))
        entries += 1
    }

    /// Removes `count` replies from the oldest entry, and the entry with its last one.
    mutating func finish(_ count: UInt32 = 1) {
        ring![head].count -= count
        guard ring![head].count == 0 else { return }
        head = (head + 1) & (capacity - 1)
        entries -= 1
        if entries == 0, capacity > InFlightQueue.kept {
            ring?.deallocate()
            ring = nil
            capacity = 0
            head = 0
        }
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
