import Pool
import Testing

/// A pool with a clock of its own, so that a test reads as a script: a call, and what it answers.
/// After every call the pool must not contradict itself.
final class PoolScript {
    private var pool: PoolStateMachine
    private(set) var now = MonotonicTime(nanoseconds: .seconds(1000))

    init(_ limits: PoolLimits, warmKey: PoolKey = db0, seed: UInt64 = 1) {
        pool = PoolStateMachine(limits: limits, warmKey: warmKey, seed: seed, now: now)
    }

    func lease(_ kind: LeaseKind, _ key: PoolKey = db0, by client: UInt64 = 1) -> LeaseOutcome {
        defer { check() }
        return pool.lease(kind, key: key, for: WaiterID(raw: client), now: now)
    }

    /// Leases and expects it to be granted.
    func granted(
        _ kind: LeaseKind, _ key: PoolKey = db0, at location: SourceLocation = #_sourceLocation
    ) -> UpstreamID {
        let outcome = lease(kind, key)
        if case .granted(let id) = outcome { return id }
        Issue.record("not granted but \(outcome)", sourceLocation: location)
        return up(.max)
    }

    /// Leases and expects it to be queued.
    @discardableResult
    func queued(
        _ kind: LeaseKind, _ key: PoolKey = db0, by client: UInt64,
        at location: SourceLocation = #_sourceLocation
    ) -> WaitTicket? {
        let outcome = lease(kind, key, by: client)
        if case .queued(let ticket) = outcome { return ticket }
        Issue.record("not queued but \(outcome)", sourceLocation: location)
        return nil
    }

    func pin(_ id: UpstreamID) -> Bool {
        defer { check() }
        return pool.pin(id)
    }
    func add(_ id: UpstreamID, _ kind: LeaseKind = .shared) { does { $0.add(id, kind) } }
    func finish(_ id: UpstreamID) { does { $0.finish(id, now: now) } }
    func addFence(_ id: UpstreamID) -> Bool {
        defer { check() }
        return pool.addFence(id)
    }
    func finishFence(_ id: UpstreamID) { does { $0.finishFence(id) } }
    func settle(_ id: UpstreamID) { does { $0.settle(id, now: now) } }
    func release(_ id: UpstreamID, _ key: PoolKey = db0) {
        does { $0.release(id, key: key, now: now) }
    }
    func rekey(_ id: UpstreamID, _ key: PoolKey) { does { $0.rekey(id, to: key) } }
    func retire(_ id: UpstreamID, _ reason: CloseReason) {
        does { $0.retire(id, reason, now: now) }
    }
    func setAvailable(_ id: UpstreamID, _ isAvailable: Bool) {
        does { $0.setAvailable(id, isAvailable) }
    }
    func setMost(_ id: UpstreamID, _ most: Int32) { does { $0.setMost(id, most) } }
    func isFull(_ id: UpstreamID) -> Bool { pool.isFull(id) }
    func cancel(_ ticket: WaitTicket?) {
        if let ticket { does { $0.cancel(ticket) } }
    }
    func connected(_ id: UpstreamID, as key: PoolKey? = nil) {
        does { $0.connected(id, as: key, now: now) }
    }
    func connectFailed(_ id: UpstreamID, _ reason: CloseReason = .connectFailed) {
        does { $0.connectFailed(id, reason, now: now) }
    }
    func converted(_ id: UpstreamID, as key: PoolKey? = nil) {
        does { $0.converted(id, as: key, now: now) }
    }
    func probed(_ id: UpstreamID) { does { $0.probed(id, now: now) } }
    func lost(_ id: UpstreamID, _ reason: CloseReason = .upstreamClosed) {
        does { $0.lost(id, reason, now: now) }
    }
    func closed(_ id: UpstreamID) { does { $0.closed(id, now: now) } }
    func tick() { does { $0.tick(now: now) } }
    func halt() { does { $0.halt(now: now) } }
    func resume() { does { $0.resume(now: now) } }
    func leaseToRelease(_ key: PoolKey = db0, by client: UInt64) -> LeaseOutcome {
        defer { check() }
        return pool.leaseToRelease(key: key, for: WaiterID(raw: client), now: now)
    }
    func replaceAll() { does { $0.replaceAll(.reconnect, now: now) } }
    func drain() { does { $0.drain(now: now) } }
    func setLimits(_ limits: PoolLimits) { does { $0.setLimits(limits, now: now) } }
    func setPingInterval(_ interval: Int64) { does { $0.setPingInterval(interval) } }

    func carried(_ id: UpstreamID) -> CarriedSlot? { pool.carried(id) }
    func adopt(_ slot: CarriedSlot, _ key: PoolKey = db0) -> UpstreamID {
        defer { check() }
        return pool.adopt(slot, key: key, now: now)
    }

    private func does(_ call: (inout PoolStateMachine) -> Void) {
        call(&pool)
        check()
    }

    private func check() {
        let broken = pool.brokenInvariant()
        #expect(broken == nil)
    }

    /// Moves the clock, without a tick.
    func pass(_ duration: Int64) { now = now + duration }

    /// Everything that the pool wants done since the last call of this.
    func actions() -> [PoolAction] {
        var actions: [PoolAction] = []
        while let action = pool.nextAction() { actions.append(action) }
        return actions
    }

    /// Ticks and answers every dial, until no more are wanted; then forgets the actions.
    func warm() {
        var isDialling = true
        while isDialling {
            isDialling = false
            tick()
            for case .dial(let id, _) in actions() {
                connected(id)
                isDialling = true
            }
        }
    }

    var counters: PoolCounters { pool.counters }
    var census: PoolCensus { pool.census }
    var breaker: BreakerState { pool.breaker }
    var lastFailure: CloseReason? { pool.lastFailure }
    var consecutiveFailures: Int { pool.consecutiveFailures }
    var nextDeadline: MonotonicTime? { pool.nextDeadline }
    var oldestWait: Int64 { pool.oldestWait(now: now) }
    func isExclusivelyLeased(_ id: UpstreamID) -> Bool { pool.isExclusivelyLeased(id) }
    var isDraining: Bool { pool.isDraining }
    func view(_ id: UpstreamID) -> UpstreamView? { pool.view(of: id, now: now) }
}

func client(_ raw: UInt64) -> WaiterID { WaiterID(raw: raw) }
