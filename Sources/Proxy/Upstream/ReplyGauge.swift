// How many commands may be in flight on a connection, where the server limits the output buffers of
// its clients (`client-output-buffer-limit normal`): replies to many clients of ours add up on one
// connection of the server's, which closes it, and with it all of them.

import Pool
import RESP

/// What replies on one connection have been like of late.
struct ReplyGauge {
    /// The server's limit in bytes; 0 is none, and then nothing is measured.
    private(set) var limit = 0
    /// Bytes of a reply that has not come whole.
    private var begun = 0
    /// Where in what was read last the bytes begin that have not been noted.
    private var position = 0
    /// The largest reply of this span of time and of the one before.
    private var largest = 0
    private var previous = 0
    private var spanEnd: Int64 = 0

    /// How long a large reply counts, at least.
    private static let span: Int64 = 10_000_000_000
    /// In flight before the first reply has shown how large they are.
    static let mostAtFirst: Int32 = 16
    /// The part of the limit that replies may fill: they may be larger than those before.
    private static let part = 4

    var measures: Bool { limit > 0 }

    /// `largest` is what replies on other connections have been like.
    init(limit: Int = 0, largest: Int = 0, now: Int64 = 0) {
        self.limit = limit
        self.largest = largest
        spanEnd = largest > 0 ? now + Self.span : 0
    }

    /// The next bytes to note are at `position`.
    mutating func begin(at position: Int) { self.position = position }

    /// What comes before `end` belongs to the reply at the head, which `isComplete` or not.
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

    /// The largest reply of late.
    var size: Int { max(largest, previous) }

    /// The most commands in flight; at least one.
    var most: Int32 {
        if size == 0 { return Self.mostAtFirst }
        return Int32(clamping: max(1, limit / Self.part / size))
    }
}

/// The largest reply of late on any connection of a pool. One that is opened in place of a connection
/// that the server has closed over such replies begins with it.
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
    /// The connection is ready, or the server has another limit now: it holds from here on.
    func startGauge() {
        let limit = server.facts.outputLimit
        guard limit != gauge.limit else { return }
        let now = worker.now.nanoseconds
        gauge = ReplyGauge(limit: limit, largest: server.largestReply.size(at: now), now: now)
        setMost(gauge.measures ? gauge.most : .max)
    }

    private func setMost(_ most: Int32) {
        server.machine.setMost(id, most)
        if server.machine.hasActions { server.noteWork() }
    }

    /// Whether the replies to this entry are measured, from `position` on.
    @inline(__always)
    func beginGauging(_ entry: InFlight, at position: Int) -> Bool {
        guard gauge.measures, entry.client != UpstreamConnection.nobody else { return false }
        gauge.begin(at: position)
        return true
    }

    /// Bytes of a reply have come.
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
