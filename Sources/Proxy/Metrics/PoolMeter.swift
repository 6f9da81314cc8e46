// What a worker counts of a pool while it works. Totals since the start. Counting allocates nothing
// and reads no clock.

import Config
import Pool
import Session
import Telemetry

/// The counters of one pool on one worker that nobody else keeps; `ClientTraffic` and
/// `PoolCounters` have the others.
struct PoolMeter {
    /// Bytes from clients that have left, and bytes that their sockets had taken.
    var receivedBefore: UInt64 = 0
    var sentBefore: UInt64 = 0
    /// Bytes from the server.
    var upstreamReceived: UInt64 = 0
    /// Bytes that went to the server on upstreams that are closed.
    var upstreamSentBefore: UInt64 = 0
    /// From the turn that queued a command to the turn that read the last byte of its reply.
    var replies = ReplyTimes()
    /// The waits of clients for an upstream that ended with one.
    var waits = LatencyHistogram()
    /// Dials that succeeded, the handshake included.
    var dials = LatencyHistogram()
    /// Leases that were refused, at once or after a wait.
    var leasesRefused: UInt64 = 0
    /// Clients that left while they waited for a lease.
    var leasesLeft: UInt64 = 0
    /// Pins of a particular upstream, past the queue.
    var directPins: UInt64 = 0
    /// Commands that were sent again, on shared upstreams and on others.
    var retriedShared: UInt64 = 0
    var retriedPinned: UInt64 = 0
    /// Handshakes with the server, and with clients. Clients that leave in theirs do not count.
    var upstreamTLS = TLSCounts()
    var clientTLS = TLSCounts()
    var errors = ErrorTable()
    var slow: SlowLog
    /// Microseconds up to which a reply is neither slow nor the slowest so far.
    private(set) var usualReply: UInt32 = 0
    /// What the state machines of servers that the pool no longer has had counted.
    var before = PoolCounters()

    init(_ config: PoolConfig) { slow = SlowLog(limit: config.slowLog) }

    /// A reply has taken longer than `usualReply`.
    fileprivate mutating func longReply(_ microseconds: UInt32) {
        replies.lengthen(to: microseconds)
        findUsual()
    }

    /// The limit of the slow log changes.
    mutating func setSlowLog(_ limit: Int64) {
        slow.setLimit(limit)
        findUsual()
    }

    private mutating func findUsual() {
        usualReply = min(replies.longest, slow.usual)
    }
}

extension PoolFront {
    /// An error reply of the server to a client's command.
    func countErrorReply(_ word: ErrorWord) {
        meter.errors.count(.reply, word.rawValue, now: worker.now)
    }

    /// Commands get an error of Redpool's own.
    func countRefused(_ reason: RefusedReason, _ text: String, times: Int = 1) {
        meter.errors.count(.refused, reason.rawValue, times: times, text, now: worker.now)
    }

    /// A client was closed.
    func countClosed(_ client: ClientConnection, _ reason: ClientCloseReason) {
        meter.receivedBefore &+= client.counted.bytesIn
        meter.sentBefore &+= client.bytesTaken
        meter.errors.count(.client, reason.rawValue, now: worker.now)
    }

    /// An upstream is about to be closed, or was lost.
    func countClosed(_ reason: CloseReason, _ text: String = "") {
        meter.errors.count(.upstream, reason.rawValue, text, now: worker.now)
    }

    /// A dial has failed.
    func countFailedDial(_ reason: CloseReason, _ text: String) {
        meter.errors.count(.dial, reason.rawValue, text, now: worker.now)
    }

    /// A client's wait for an upstream has ended with one.
    func countWait(_ wait: LeaseWait) {
        meter.waits.record(microseconds: SlowLog.microseconds(worker.now - wait.since))
    }
}

extension UpstreamConnection {
    /// The first `count` replies to an entry are complete. One comparison finds both a new maximum
    /// and a slow command.
    @inline(__always)
    func countReplies(_ count: UInt32, _ entry: InFlight) {
        guard entry.client.slot != .max, sole == nil || sole?.isBlocking == false else { return }
        let age = worker.clock.stamp &- entry.stamp
        pool.meter.replies.count(age, times: count)
        if age > pool.meter.usualReply { countLongReply(age, entry) }
    }

    /// The same for a reply that means something to Redpool. Those to its own questions and fences
    /// do not count.
    @inline(never)
    func countRareReply(_ entry: InFlight) {
        if entry.expectation.isQuestion || entry.expectation == .fence { return }
        countReplies(1, entry)
    }

    @inline(never)
    private func countLongReply(_ age: UInt32, _ entry: InFlight) {
        pool.meter.longReply(age)
        noteSlow(entry, age)
    }
}

/// The times of replies. It is here, and not a `LatencyHistogram`, because each command is counted
/// and functions of another module are not inlined.
struct ReplyTimes {
    private var cells = InlineArray<256, UInt64>(repeating: 0)
    private var sum: UInt64 = 0
    /// In microseconds.
    private(set) var longest: UInt32 = 0

    /// Counts a time in microseconds, but for `longest`. Less than one counts as 4 ns, which spares
    /// a branch.
    @inline(__always)
    mutating func count(_ microseconds: UInt32, times: UInt32) {
        let value = UInt64(microseconds) &* 1000
        let leading = value | 4
        let exponent = 63 &- leading.leadingZeroBitCount
        let quarter = Int(truncatingIfNeeded: leading &>> UInt64(exponent &- 2)) & 3
        cells[exponent &* 4 &+ quarter] &+= UInt64(times)
        sum &+= value &* UInt64(times)
    }

    mutating func lengthen(to microseconds: UInt32) { longest = max(longest, microseconds) }

    var histogram: LatencyHistogram {
        LatencyHistogram(cells: cells, sum: sum, maximum: UInt64(longest) * 1000)
    }
}
