// How many commands may be in flight on a connection if the server limits the output of its clients
// (`client-output-buffer-limit normal`). Replies to many clients add up on one connection, and over
// its limit the server closes it.

import Pool
import RESP

/// The size of recent replies on one connection.
struct ReplyGauge {
    /// The server's limit in bytes; 0 for none, and nothing is measured.
    private(set) var limit = 0
    /// The bytes that have come of an incomplete reply.
    private var begun = 0
    /// The position in the last read from which bytes are not counted yet.
    private var position = 0
    /// The largest reply of this span of time and of the one before.
    private var largest = 0
    private var previous = 0
    private var spanEnd: Int64 = 0

    /// How long a large reply counts at least, in nanoseconds.
    private static let span: Int64 = 10_000_000_000
    /// Commands in flight before the first reply has shown a size.
    static let mostAtFirst: Int32 = 16
    /// Replies may fill one part in so many of the limit, because later ones may be larger.
    private static let part = 4
    /// Stands for a limit while nothing more may be sent.
    private static let closed = 1

    var measures: Bool { limit > 0 }

    /// `largest` is the largest recent reply on other connections.
    init(limit: Int = 0, largest: Int = 0, now: Int64 = 0) {
        self.limit = limit
        self.largest = largest
        spanEnd = largest > 0 ? now + Self.span : 0
    }

    /// Nothing more may be sent: commands that follow others ask the pool (`isFull`), as they do
    /// where the server has a limit. So they need not ask for a halt as well.
    mutating func close() { limit = Self.closed }

    /// For a connection that gets no more commands of clients that have some in flight there: one
    /// at a time is the most.
    static var leaving: ReplyGauge { ReplyGauge(limit: 1, largest: 1) }

    /// The next bytes to count begin at `position`.
    mutating func begin(at position: Int) { self.position = position }

    /// Counts the bytes before `end` for the reply at the head. `isComplete` says that it ends
    /// there.
    mutating func note(upTo end: Int, isComplete: Bool, now: Int64) {
        if now >= spanEnd {
            previous = now < spanEnd + Self.span ? largest : 0
            largest = 0
            spanEnd = now + Self.span
        }
        begun += end - position
        position = end
        largest = max(largest, begun)
        if isComplete { begun = 0 }
    }

    /// The size of the largest recent reply.
    var size: Int { max(largest, previous) }

    /// The most commands in flight; at least one.
    var most: Int32 {
        if size == 0 { return Self.mostAtFirst }
        return Int32(clamping: max(1, limit / Self.part / size))
    }
}

/// The largest recent reply on any connection to a server. A new connection begins with it, because
/// the server may have closed the one before over such replies.
struct LargestReply {
    private var size = 0
    private var until: Int64 = 0
    private static let span: Int64 = 10_000_000_000

    mutating func note(_ size: Int, now: Int64) {
        self.size = max(size, self.size(at: now))
        until = now + Self.span
    }

    /// 0 if there was none.
    func size(at now: Int64) -> Int { now < until ? size : 0 }
}

extension UpstreamConnection {
    /// Starts measuring when the connection is ready or the server's limit has changed.
    func startGauge() {
        // It begins when the halt is over.
        if pool.isHalted { return }
        let limit = server.facts.outputLimit
        if origin.departure != nil { return }
        guard limit != gauge.limit else { return }
        let now = worker.now.nanoseconds
        gauge = ReplyGauge(limit: limit, largest: server.largestReply.size(at: now), now: now)
        setMost(gauge.measures ? gauge.most : .max)
    }

    private func setMost(_ most: Int32) {
        server.machine.setMost(id, most)
        if server.machine.hasActions { server.noteWork() }
    }

    /// Whether replies to this entry are measured, from `position` on.
    @inline(__always)
    func beginGauging(_ entry: InFlight, at position: Int) -> Bool {
        guard gauge.measures, entry.client != UpstreamConnection.nobody else { return false }
        gauge.begin(at: position)
        return true
    }

    /// Counts bytes of a reply.
    @inline(never)
    func gauge(upTo end: Int, isComplete: Bool) {
        let before = gauge.most
        gauge.note(upTo: end, isComplete: isComplete, now: worker.now.nanoseconds)
        let most = gauge.most
        guard most != before else { return }
        setMost(most)
        if most < before { server.largestReply.note(gauge.size, now: worker.now.nanoseconds) }
    }
}
