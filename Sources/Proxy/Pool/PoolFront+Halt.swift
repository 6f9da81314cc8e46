// An operator's pause of a pool (PAUSE and RESUME of the console) on one worker. In code and
// comments it is a halt: a pause is the server's (CLIENT PAUSE).
//
// No command is sent to the server any more, and every upstream closes when it is free. What has
// been sent ends: replies are relayed, uploads that have begun go on, transactions go on until they
// are over, and blocked commands are released. Then the pool is quiet: what is left are upstreams
// that hold a client's state, with nothing in flight.
//
// Commands wait where they would wait anyway, for a lease, for replies, or at the start of a pipe:
//
//   for a lease         the state machine grants none, and their time stands still
//   behind others       `ReplyGauge.close` and `isFull`: the client waits for its replies, and then
//                       for a lease
//   on a held upstream  `mustAwaitResume`
//   in a pipe           `isPipeHalted`

import Config
import EventLoop
import Logging
import Pool
import RESP
import Session

/// The halt of a pool on one worker.
struct PoolHalt {
    let began: MonotonicTime
    /// When it ends by itself.
    var until: MonotonicTime
    /// Clients whose state keeps an upstream are closed.
    var closesHolders: Bool
    /// Those who wait until the pool is quiet.
    var askers: [OperatorAsker] = []
    /// When blocked clients are released next.
    var nextRelease: MonotonicTime
    let timer: HaltTimer

    /// How long to wait after a release that has failed, in nanoseconds: each costs a connection.
    static let releaseInterval: Int64 = 1_000_000_000
    /// How often to look whether the pool is quiet, in nanoseconds: its clients wait meanwhile.
    static let lookInterval: Int64 = 5_000_000
}

/// Wakes the worker to look at a halted pool.
final class HaltTimer {
    let timer: Timer

    init(_ pool: PoolFront) {
        timer = Timer(
            loop: pool.worker.loop, owner: Unmanaged.passUnretained(pool).toOpaque(),
            callback: haltTimer)
    }
}

private func haltTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    let pool = Unmanaged<PoolFront>.fromOpaque(owner).takeUnretainedValue()
    pool.worker.updateNow()
    pool.judgeHalt()
}

extension PoolFront {
    @inline(__always)
    var isHalted: Bool { halt != nil }

    /// Halts the pool, or changes the end of a halt. `asker` is told when the pool is quiet, or
    /// that the halt is over.
    func beginHalt(until: MonotonicTime, closesHolders: Bool, for asker: OperatorAsker) {
        guard worker.now < until else {
            asker.answer(.ended(.expired, uses), from: worker.index)
            return
        }
        if halt == nil {
            halt = PoolHalt(
                began: worker.now, until: until, closesHolders: closesHolders,
                nextRelease: worker.now, timer: HaltTimer(self))
            if group.countHalted(1) == 1 { logHalt(until - worker.now) }
            // One of the upstreams that are idle now may carry this.
            releaseBlocked()
            for server in servers where server.departure == nil { server.halt() }
        }
        halt?.until = until
        halt?.closesHolders = closesHolders
        halt?.askers.append(asker)
        judgeHalt()
    }

    /// Ends the halt. False if there is none.
    @discardableResult
    func endHalt(_ end: HaltEnd) -> Bool {
        guard let ended = halt else { return false }
        let uses = uses
        let waiting = use.waiting + awaitingResume
        halt = nil
        for asker in ended.askers { asker.answer(.ended(end, uses), from: worker.index) }
        let duration = worker.now - ended.began
        if group.countHalted(-1) == 0 { logResume(end, duration, uses, waiting) }
        for server in servers where server.departure == nil {
            if !server.releasesBlocked, server.unblocking.ticket != nil { server.endUnblocking() }
            server.resume(after: duration)
        }
        worker.renewTargets(of: self)
        worker.clients.forEach { client in
            guard client.pool === self else { return }
            client.haltEnded(after: duration)
        }
        return true
    }

    /// How many upstreams are in which state, and how many clients wait. During a halt those wait
    /// too that hold an upstream or have a pipe.
    var census: PoolCensus {
        var census = PoolCensus()
        for server in servers { census.add(server.machine.census) }
        census.waiting += awaitingResume
        return census
    }

    /// How many clients wait for RESUME without a place in the queue.
    private var awaitingResume: Int {
        guard isHalted else { return 0 }
        var count = 0
        worker.clients.forEach { client in
            if client.pool === self, client.isAwaitingResume { count += 1 }
        }
        return count
    }

    /// Called with every tick, and more often while somebody waits for it: ends the halt when its
    /// time is over, and says when the pool is quiet.
    func judgeHalt() {
        guard let halt else { return }
        if worker.now >= halt.until {
            endHalt(.expired)
            return
        }
        if worker.now >= halt.nextRelease { releaseBlocked() }
        if halt.closesHolders { closeHolders() }
        guard !halt.askers.isEmpty else { return }
        let uses = uses
        guard uses.busy == 0 else {
            halt.timer.timer.start(after: PoolHalt.lookInterval)
            return
        }
        self.halt?.askers = []
        for asker in halt.askers { asker.answer(.quiet(uses), from: worker.index) }
    }

    private func releaseBlocked() {
        var hasFailed = false
        forEachServer { if $0.unblocking.hasFailedAgain() { hasFailed = true } }
        halt?.nextRelease =
            worker.now + (hasFailed ? PoolHalt.releaseInterval : Worker.tickInterval)
        forEachServer { $0.unblockAll() }
    }

    private var uses: UpstreamUses {
        var uses = UpstreamUses()
        for server in servers { uses.add(server.uses) }
        return uses
    }

    /// PAUSE with CLOSE: closes the clients that keep upstreams with nothing in flight.
    private func closeHolders() {
        for upstream in allUpstreams where upstream.use.isHeld {
            upstream.sole?.client?.closeAfterFlush(.paused)
            if upstream.sole?.hub != nil { subscribers.closeResting(.paused) }
        }
    }

    private func logHalt(_ duration: Int64) {
        worker.log.notice(
            "no command is sent until RESUME, for max_ms at most",
            metadata: [
                "event": "pool.paused", "pool": "\(config.name)",
                "max_ms": "\(duration / 1_000_000)", "clients": "\(use.clients)",
            ])
    }

    private func logResume(
        _ end: HaltEnd, _ duration: Int64, _ uses: UpstreamUses, _ waiting: Int
    ) {
        let text =
            end == .resumed
            ? "commands are sent again" : "the pause is over by itself: commands are sent again"
        worker.log.log(
            level: end == .resumed ? .notice : .warning, "\(text)",
            metadata: [
                "event": "pool.resumed", "pool": "\(config.name)",
                "reason": end == .resumed ? "resume" : "max",
                "paused_ms": "\(duration / 1_000_000)", "waiting": "\(waiting)",
                "busy": "\(uses.busy)",
            ])
    }
}

extension Server {
    /// Sends nothing any more.
    func halt() {
        for upstream in allUpstreams { upstream.gauge.close() }
        machine.halt(now: worker.now)
        worker.clients.forEach { client in
            // A grant that waits for something else, for example for other workers.
            guard client.server === self, let unused = client.granted else { return }
            client.granted = nil
            giveBack(unused.upstream)
        }
        noteWork()
    }

    /// Sends again. The name is looked up before the first dial: the server may have moved.
    func resume(after duration: Int64) {
        names.doubt()
        for upstream in allUpstreams { upstream.startGauge() }
        for index in oneOffs.waiting.indices {
            oneOffs.waiting[index].until = oneOffs.waiting[index].until + duration
        }
        machine.resume(now: worker.now)
        noteWork()
    }

    /// What the upstreams of a halted pool are used for.
    var uses: UpstreamUses {
        var uses = UpstreamUses()
        var counted = 0
        for upstream in allUpstreams where upstream.stage == .ready {
            uses.count(upstream.use)
            counted += 1
        }
        uses.count(.closing, max(0, machine.census.open - counted))
        return uses
    }
}

extension UpstreamConnection {
    /// What it is used for, if it is ready.
    fileprivate var use: UpstreamUses.Use {
        guard stage == .ready else { return .closing }
        guard let sole else { return .inFlight }
        if sole.isBlocking, !inFlight.isEmpty { return .blocked }
        if uploader?.isUploading == true { return .uploading }
        switch sole.kind {
        case .held(_, let state):
            if state.isInTransaction || state.isWatching { return .inTransaction }
            if !inFlight.isEmpty { return .inFlight }
            if state.isMonitoring { return .monitoring }
            if state.subscriptions > 0 { return .subscribed }
            return state.isTracking ? .tracking : .bound
        case .piped(let client): return client.isPipeOwed ? .inFlight : .piped
        case .hub: return inFlight.isEmpty ? .subscribed : .inFlight
        case .exclusive, .cleaning, .asking, .unblocking, .gate, .abandoned: return .inFlight
        }
    }
}

extension ClientConnection {
    /// A halt does not let this client send a command on the upstream that it holds: only an open
    /// transaction goes on. What is in flight decides first.
    var mustAwaitResume: Bool {
        guard pool.isHalted, let hold = upstream?.hold else { return false }
        if inFlight > 0 { return !session.isSendingTransaction }
        return !hold.isInTransaction && !hold.isWatching
    }

    /// A command of this client waits on its held upstream, or at the start of its pipe, until the
    /// halt is over.
    var isAwaitingResume: Bool {
        if isPipeHalted { return !input.isEmpty }
        return mode == .barrier && inFlight == 0 && mustAwaitResume
    }

    /// A halt stops this client's pipe at the end of a command.
    var isPipeHalted: Bool {
        guard pool.isHalted, case .piped(let pipe) = mode else { return false }
        return pipe.view == .watching
    }

    /// The server probably owes this client's pipe a reply.
    fileprivate var isPipeOwed: Bool {
        if case .piped(let pipe) = mode { pipe.isOwed } else { false }
    }

    /// The pool's halt is over: goes on with what waits at the head of the input.
    fileprivate func haltEnded(after duration: Int64) {
        if let limit = retryUntil { retryUntil = limit + duration }
        if isPiped || (mode == .barrier && inFlight == 0) { worker.ready(self) }
    }
}
