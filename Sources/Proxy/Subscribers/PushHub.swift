// An upstream that the subscriptions of many clients are on: one for each user of a worker's pool
// that subscribes with `pubsub: shared`. It speaks RESP3, whatever its clients speak, so that a
// message cannot be taken for a reply.

import Config
import EventLoop
import Pool
import RESP
import Session

/// One hub. `SubscriberDesk` decides what it is used for.
final class PushHub {
    enum State {
        /// Nobody needs it.
        case closed
        /// It waits for an upstream; without a ticket it is about to ask.
        case waiting(WaitTicket?)
        /// It is on this upstream.
        case open(UpstreamConnection)
        /// Its upstream is lost, and another one is tried until this time; with a ticket while that
        /// is waited for.
        case lost(since: MonotonicTime, WaitTicket?)
    }

    /// Where its messages come from.
    enum Place: Equatable {
        /// Channels and patterns, and shard channels of a pool that is not in front of a cluster:
        /// the primary; in a cluster, a primary that the worker keeps to.
        case anyPrimary
        /// The shard channels of a node.
        case shards(of: NodeID)
    }

    let ref: HubRef
    let user: UInt32
    let place: Place
    /// The server whose upstream it has, or waits for.
    private(set) var server: Server
    private(set) var state = State.closed
    /// A frame that has not come whole.
    var frame = PartialPush()
    /// Commands that wait for its first upstream, while it is not known whether the server has
    /// RESP3.
    private var unsent: [UnsentAsk] = []
    /// Since when kept clients are without messages: it is open again, and not all is subscribed.
    private(set) var gapSince: MonotonicTime?
    /// When it was probed last, or was opened.
    var probedAt = MonotonicTime(nanoseconds: 0)

    init(_ ref: HubRef, user: UInt32, _ place: Place, at server: Server) {
        self.ref = ref
        self.user = user
        self.place = place
        self.server = server
    }

    /// For how long a lost upstream is replaced.
    static let patience = Int64.seconds(30)

    var upstream: UpstreamConnection? {
        if case .open(let upstream) = state { upstream } else { nil }
    }

    /// Since when it is lost; nil if it is not.
    var lostSince: MonotonicTime? {
        if case .lost(let since, _) = state { since } else { nil }
    }

    private var ticket: WaitTicket? {
        switch state {
        case .waiting(let ticket): ticket
        case .lost(_, let ticket): ticket
        case .closed, .open: nil
        }
    }

    /// Asks for an upstream at this server.
    func ask(_ server: Server, now: MonotonicTime) -> LeaseOutcome {
        cancel()
        self.server = server
        // In front of a cluster, and with databases, messages are the same everywhere.
        let key = PoolKey(user: user, protocolVersion: 3, database: 0)
        let outcome = server.machine.lease(
            .pin, key: key, for: OwnWaiter.hub(ref).id, now: now)
        server.noteWork()
        if case .queued(let ticket) = outcome {
            state = lostSince.map { .lost(since: $0, ticket) } ?? .waiting(ticket)
        } else if lostSince == nil {
            state = .waiting(nil)
        }
        return outcome
    }

    func opened(_ upstream: UpstreamConnection, now: MonotonicTime) {
        frame = PartialPush()
        unsent = []
        gapSince = lostSince
        probedAt = now
        state = .open(upstream)
    }

    /// It has no upstream any more, and tries for another one.
    func lost(now: MonotonicTime) {
        frame = PartialPush()
        state = .lost(since: gapSince ?? now, nil)
        gapSince = nil
    }

    /// All is subscribed anew. Returns since when clients were without messages.
    func takeGap() -> MonotonicTime? {
        defer { gapSince = nil }
        return gapSince
    }

    /// Keeps a command that is about to wait for the first upstream.
    func keepUnsent(_ bytes: UnsafeRawBufferPointer, of client: SlotID, isSilent: Bool) {
        switch state {
        case .closed, .waiting:
            guard server.facts.newProtocol == .unknown else { return }
            unsent.append(UnsentAsk(client: client, bytes: Array(bytes), isSilent: isSilent))
        case .open, .lost: break
        }
    }

    /// The commands that have waited, the oldest first.
    func takeUnsent() -> [UnsentAsk] {
        defer { unsent = [] }
        return unsent
    }

    /// What it has waited for has come, or does not come.
    func waitEnded() {
        switch state {
        case .waiting: state = .waiting(nil)
        case .lost(let since, _): state = .lost(since: since, nil)
        case .closed, .open: break
        }
    }

    /// It waits for this server's answer to a dial.
    func waits(for server: Server) -> Bool { ticket != nil && self.server === server }

    /// It needs an upstream, and has none.
    var isWanted: Bool {
        switch state {
        case .waiting, .lost: true
        case .closed, .open: false
        }
    }

    /// It is not needed any more. Returns the upstream that it had.
    func close() -> UpstreamConnection? {
        cancel()
        defer {
            state = .closed
            frame = PartialPush()
            unsent = []
            gapSince = nil
        }
        return upstream
    }

    /// It waits no longer.
    func cancel() {
        guard let ticket else { return }
        server.machine.cancel(ticket)
        server.noteWork()
        waitEnded()
    }
}

/// A client's command that waits for a hub, as it came.
struct UnsentAsk {
    let client: SlotID
    let bytes: [UInt8]
    let isSilent: Bool
}

/// A frame of a hub that is coming in.
struct PartialPush {
    /// Its bytes so far; empty between two frames, and while it is skipped.
    var bytes: [UInt8] = []
    /// It is longer than what a listener may have waiting, and is dropped as it comes.
    var isSkipped = false
}
