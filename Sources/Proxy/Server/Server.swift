// Carries out the actions of one state machine on real connections.

import Config
import EventLoop
import Logging
import Pool
import RESP
import Telemetry

/// One server as one worker sees it: the state machine of its connections, the connections, and
/// what is known about the server. `PoolFront` has what the clients of the pool share.
final class Server {
    let worker: Worker
    /// The pool whose server it is. They refer to each other until `PoolFront.close`.
    let pool: PoolFront
    /// What the workers of the pool share of it.
    let node: PoolNode
    /// Its number among the pool's servers. It can be another one's when this one is gone.
    var number: UInt32 = 0
    /// When MOVED or ASK has last named it.
    var namedAt: MonotonicTime?
    var share: PermitShare
    /// No new work goes to it: another server has taken its place.
    var departure: Departure?
    var machine: PoolStateMachine
    private var upstreams: ContiguousArray<UpstreamConnection?> = []
    /// Shared connections whose last reply has come in this iteration.
    private var emptied = WorkList<UpstreamConnection>()
    /// Clients that wait for one particular connection, see `waitForReturn`.
    var awaitingReturn: [SlotID] = []
    var names: NameResolution
    var failures = ServerFailures()
    /// Nil if the server is spoken to without TLS.
    var tls: ServerTLS?
    var facts = ServerFacts()
    /// Upstreams that are spent on commands that are not understood.
    var oneOffs: OneOffLine
    var scripts = ScriptTrust()
    /// Blocked clients are unblocked during a drain.
    var unblocking = Unblocking()
    var strangers = Strangers()
    /// Which processes have answered at the address.
    var processes = Processes()
    var fences = FenceForms()
    var largestReply = LargestReply()
    var looks = Looks()
    /// Users of whom it is not known whether the server still accepts them.
    var checks = UserChecks()
    /// What clients that read from replicas have to know of it.
    var replication = Replication()
    private var deadlineTimer: DeadlineTimer?
    private var hasWork = false
    /// Clients have waited for an upstream since before the last tick.
    private(set) var isCrowded = false

    /// - Parameters:
    ///   - pool: everything but its servers is set.
    ///   - seed: seeds the state machine's random numbers.
    init(pool: PoolFront, node: PoolNode, address: UpstreamAddress?, seed: UInt64) {
        self.pool = pool
        self.node = node
        worker = pool.worker
        names = NameResolution(address, refresh: pool.config.dnsRefresh)
        tls = pool.config.upstreamTLS.map { ServerTLS($0, at: address) }
        share = PermitShare(member: pool.member ?? 0)
        oneOffs = OneOffLine(gate: node.oneOffs)
        // Only a worker that serves the pool alone has all permits from the start.
        let hasAll = pool.member != nil && node.budget == nil
        machine = PoolStateMachine(
            limits: pool.config.limits(
                member: pool.member ?? 0, of: pool.group.members.count),
            permits: hasAll ? nil : PoolPermits(), warmKey: pool.warmKey, seed: seed,
            now: pool.worker.now)
        deadlineTimer = DeadlineTimer(
            loop: pool.worker.loop, owner: Unmanaged.passUnretained(self).toOpaque())
    }

    /// The connection with this id; nil when it is gone.
    subscript(id: UpstreamID) -> UpstreamConnection? {
        let slot = Int(id.slot)
        guard slot < upstreams.count, let found = upstreams[slot], found.id == id else {
            return nil
        }
        return found
    }

    /// Asks for an upstream for a client.
    @inline(__always)
    func lease(_ kind: LeaseKind, _ key: PoolKey, for client: SlotID) -> LeaseOutcome {
        let outcome = machine.lease(
            kind, key: key, for: WaiterID(raw: client.raw), now: worker.now)
        // The pool may have asked for another connection, whatever the outcome.
        if machine.hasActions { noteWork() }
        return outcome
    }

    /// The upstream of a lease.
    @inline(__always)
    func lent(_ id: UpstreamID) -> UpstreamConnection {
        guard let found = self[id] else {
            preconditionFailure("the pool has lent a connection that does not exist")
        }
        return found
    }

    var allUpstreams: [UpstreamConnection] { upstreams.compactMap { $0 } }

    /// Where it is, in the syntax of the configuration.
    var place: String { names.place }

    /// Lets the state machine and the queues look at the clock.
    func tick() {
        passTime()
        wakeAwaitingReturn(.max)
        closeOverdueOneOffs()
        callOneOffs()
        callStrangers()
        lookAtServer()
        share.isTickDue = true
        judgeCrowd()
        names.tick(self)
    }

    /// Wakes the worker for a deadline that comes before the next tick.
    private func armDeadline() {
        guard let deadline = machine.nextDeadline else { return }
        deadlineTimer?.arm(deadline)
    }

    func deadlinePassed() {
        worker.updateNow()
        deadlineTimer?.armed = nil
        passTime()
    }

    /// Updates `isCrowded`. While clients wait for an upstream, shared upstreams are read even if
    /// one of their clients is slow.
    private func judgeCrowd() {
        let isCrowded = machine.oldestWait(now: worker.now) >= Worker.tickInterval
        if isCrowded == self.isCrowded { return }
        self.isCrowded = isCrowded
        for upstream in upstreams { upstream?.judgeReading() }
    }

    private func passTime() {
        // Decisions from before this tick are carried out first.
        runActions()
        // A connection whose time to close has run out must be gone before its place is used.
        for upstream in upstreams {
            if let upstream { upstream.checkDeadline() }
        }
        machine.tick(now: worker.now)
        noteWork()
    }

    /// The worker has not read for a long time. Shared connections that seem stalled may have
    /// answered meanwhile.
    func lookAtStalled() {
        for upstream in upstreams {
            guard let upstream, machine.isStalled(upstream.id, now: worker.now) else { continue }
            if upstream.channel.hasInput { machine.hasAnswered(upstream.id, now: worker.now) }
        }
    }

    /// A shared connection has nothing in flight. The epilogue settles it, because another client
    /// may still use it in this iteration.
    func noteEmptied(_ upstream: UpstreamConnection) {
        if upstream.isEmptiedNoted { return }
        upstream.isEmptiedNoted = true
        emptied.append(upstream)
        noteWork()
    }

    /// Puts this server on the epilogue's list: there is a decision, or there may be one.
    func noteWork() {
        if hasWork { return }
        hasWork = true
        worker.work.servers.append(self)
    }

    /// True when the server is on the epilogue's list, or has no actions left. For tests.
    var hasNotedWork: Bool { hasWork || !machine.hasActions }

    /// The epilogue's work for a server on its list.
    func settle() {
        hasWork = false
        settleEmptied()
        runActions()
        armDeadline()
        wakeAwaitingReturn(Server.wokenWithWork)
    }

    private func settleEmptied() {
        if emptied.isEmpty { return }
        for index in 0..<emptied.count {
            emptied[index]._withUnsafeGuaranteedRef { upstream in
                upstream.isEmptiedNoted = false
                machine.settle(upstream.id, now: worker.now)
            }
        }
        emptied.removeAll()
    }

    /// Carries out the state machine's decisions.
    private func runActions() {
        repeat { carryOutActions() } while balance()
    }

    func carryOutActions() {
        while let action = machine.nextAction() {
            switch action {
            case .dial(let id, let key): dial(id, key)
            case .convert(let id, from: _, let key): self[id]?.convert(to: key)
            case .probe(let id): self[id]?.probe()
            case .close(let id, let reason): close(id, reason)
            case .grant(let waiter, let id): grant(waiter, id)
            case .refuse(let waiter, let refusal): refuse(waiter, refusal)
            }
        }
    }

    private func close(_ id: UpstreamID, _ reason: CloseReason) {
        if let upstream = self[id] {
            upstream.retire(reason)
        } else if names.forget(id) {
            // There is no connection yet, and there will be none.
            machine.closed(id, now: worker.now)
        }
    }

    private func refuse(_ waiter: WaiterID, _ refusal: Refusal) {
        switch OwnWaiter(waiter) {
        case .scripts: endScriptQuestion(patience: ScriptTrust.shortPatience)
        case .unblocker: unblockFailed(refusalText(refusal))
        // `checkUsers` ends it at its deadline.
        case .users: break
        // The next round asks again.
        case .replication: break
        case .hub(let ref): pool.subscribers.refused(ref, by: self, refusal)
        case nil:
            if let client = worker.clients[SlotID(raw: waiter.raw)] {
                let reason = RefusedReason(word: refusal.word)
                client.refused(refusalText(refusal), reason ?? .upstream_down)
            }
        }
    }

    private func grant(_ waiter: WaiterID, _ id: UpstreamID) {
        switch OwnWaiter(waiter) {
        case .scripts:
            if let upstream = self[id] {
                upstream.askAboutScripts()
            } else {
                endScriptQuestion(patience: ScriptTrust.shortPatience)
            }
        case .unblocker:
            if let upstream = self[id] { upstream.beginUnblocking() } else { endUnblocking() }
        case .users:
            if let upstream = self[id] { giveBack(upstream) }
        case .replication: self[id]?.askReplication()
        case .hub(let ref): pool.subscribers.granted(ref, id, by: self)
        case nil: grantClient(waiter, id)
        }
    }

    private func grantClient(_ waiter: WaiterID, _ id: UpstreamID) {
        guard let upstream = self[id] else {
            // The connection was lost after the decision: the client leases again.
            worker.clients[SlotID(raw: waiter.raw)]?.leaseAnew()
            return
        }
        if let client = worker.clients[SlotID(raw: waiter.raw)], client.granted(upstream) { return }
        // The client left after the decision: the lease is returned unused.
        giveBack(upstream)
    }

    /// An upstream that one client had to itself is free again.
    func returned(_ upstream: UpstreamConnection) {
        if let reason = upstream.ending.spoiled {
            machine.retire(upstream.id, reason, now: worker.now)
        } else {
            machine.release(upstream.id, key: upstream.key, now: worker.now)
        }
        noteWork()
    }

    /// Returns an unused lease.
    func giveBack(_ upstream: UpstreamConnection) {
        if machine.isExclusivelyLeased(upstream.id) {
            machine.release(upstream.id, key: upstream.key, now: worker.now)
        } else {
            machine.finish(upstream.id, now: worker.now)
            noteEmptied(upstream)
        }
        noteWork()
    }

    func closeEverything() {
        for upstream in allUpstreams { upstream.destroy() }
        emptied.removeAll()
    }
}

// MARK: - Connecting

extension Server {
    func dial(_ id: UpstreamID, _ key: PoolKey) {
        guard let address = names.next() else {
            names.wait(id, key)
            names.resolve(self)
            return
        }
        let descriptor = address.connect(
            keepaliveSeconds: Int32(clamping: pool.config.keepalive / 1_000_000_000),
            userTimeoutMilliseconds: 30_000)
        if descriptor < 0 {
            dialFailed(id, .connectFailed, System.errorText(-descriptor))
            return
        }
        let upstream = UpstreamConnection(
            id: id, key: key, descriptor: descriptor, address: address.description, server: self)
        keep(upstream)
        upstream.trace("upstream.dialled", ["address": upstream.origin.address])
        upstream.awaitConnect()
    }

    /// From now on it is found by its id.
    func keep(_ upstream: UpstreamConnection) {
        let slot = Int(upstream.id.slot)
        while upstreams.count <= slot { upstreams.append(nil) }
        if let former = upstreams[slot] { worker.work.departed.add(former) }
        upstreams[slot] = upstream
    }

    /// Takes the resolver's answer.
    func resolved(_ answer: NameAnswer) {
        let (dials, givenUp) = names.resolved(answer.addresses)
        for upstream in allUpstreams where givenUp.contains(upstream.origin.address) {
            upstream.retireWhenFree(.addressChanged)
        }
        for (id, key) in dials {
            if names.next() == nil {
                dialFailed(
                    id, .connectFailed,
                    "the name \(names.name) cannot be resolved: \(answer.problem)")
            } else {
                dial(id, key)
            }
        }
        noteWork()
    }

    /// A connect or its handshake has failed. `text` is the cause, for messages.
    func dialFailed(_ id: UpstreamID, _ reason: CloseReason, _ text: String) {
        failures.dialFailed(text, at: worker.now)
        names.failed()
        names.suspect(self)
        doubtReplica()
        if reason == .connectFailed || reason == .connectTimeout { tell(.dialFailed) }
        machine.connectFailed(id, reason, now: worker.now)
        noteWork()
        pool.countFailedDial(reason, text)
        pool.dialFailed(of: self, reason, text)
    }

    func connected(_ upstream: UpstreamConnection, as key: PoolKey? = nil) {
        machine.connected(upstream.id, as: key, now: worker.now)
        pool.meter.dials.record(
            microseconds: SlowLog.microseconds(worker.now - upstream.origin.dialledAt))
        noteWork()
        noteConnected()
        noteAnswered()
    }

    /// A connection was lost while in use.
    func noteLoss(_ reason: CloseReason, at address: String) {
        failures.lost(reason, at: worker.now)
        doubtReplica()
        if reason == .upstreamClosed || reason == .upstreamReset {
            names.suspect(self)
            tell(.lost)
        }
        pool.warnLimit(
            "upstream.lost", reason: reason.word,
            "a connection to \(address) was lost while in use")
    }

    /// Drops a connection whose descriptor is closed.
    func forget(_ upstream: UpstreamConnection) {
        let slot = Int(upstream.id.slot)
        worker.work.departed.add(upstream)
        if slot < upstreams.count, upstreams[slot] === upstream { upstreams[slot] = nil }
        if !processes.unidentified.isEmpty {
            processes.unidentified.removeAll { $0 == upstream.id }
        }
        noteWork()
    }
}
