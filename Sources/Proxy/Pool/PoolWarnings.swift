// What the workers of a pool share for its warnings: each line is one for the pool, whichever
// worker has the event, and the lines of an outage are in order.

import Pool
import Synchronization
import Telemetry

/// Merges the warnings of a pool over all its workers, and follows its outages, stalls and queues.
/// The lock is held for one look-up; only warnings and ticks take it, no command does.
final class PoolWarnings: Sendable {
    private struct State {
        var limiter = RateLimiter()
        /// Nil while there is an upstream.
        var outage: Outage?
        /// Clients closed with their upstreams, up to `lossAt`, which may begin an outage.
        var losses = 0
        var lossAt = Int64.min / 2
        var watch: PoolWatch
    }

    private let state: Mutex<State>

    /// A dial that fails this long after a loss, in nanoseconds, belongs to it.
    private static let lossWindow: Int64 = 1_000_000_000

    /// - Parameter members: the number of workers that serve the pool.
    init(members: Int = 1) { state = Mutex(State(watch: PoolWatch(members: members))) }

    /// A worker tells what it sees, with every tick. Returns the lines that are due.
    func look(_ sight: PoolSight, of member: Int, now: MonotonicTime) -> [PoolNotice] {
        state.withLock { state in
            let isDown = state.outage != nil
            let notices = state.watch.look(sight, of: member, isDown: isDown, now: now)
            if isDown { state.outage?.countLeft(state.watch.takeLeft()) }
            return notices
        }
    }

    /// An event at `now`. Returns the number of events that its line stands for; nil if it has no
    /// line.
    func record(_ key: RateLimiter.Key, _ said: RateLimiter.Said, now: Int64) -> Int? {
        state.withLock { state in
            if Outage.causes(key), state.outage != nil {
                return state.outage?.count(key, said) == true ? 1 : nil
            }
            return state.limiter.record(key, said, now: now)
        }
    }

    /// The merged lines that are due.
    func due(now: Int64) -> [RateLimiter.Summary] {
        state.withLock { $0.limiter.due(now: now) }
    }

    /// A client was closed because its upstream was lost.
    func clientLost(now: Int64) {
        state.withLock { state in
            if state.outage != nil {
                state.outage?.countClosed()
                return
            }
            if now - state.lossAt > PoolWarnings.lossWindow { state.losses = 0 }
            state.losses += 1
            state.lossAt = now
        }
    }

    /// No worker has an upstream, and a dial has failed. Returns the outage that begins and the
    /// merged lines from before it; nil if it has begun before.
    func begin(
        _ key: RateLimiter.Key, error: String, now: Int64
    ) -> (outage: Outage, before: [RateLimiter.Summary])? {
        state.withLock { state in
            guard state.outage == nil else { return nil }
            let closed = now - state.lossAt > PoolWarnings.lossWindow ? 0 : state.losses
            state.losses = 0
            let outage = Outage(key, error: error, closed: closed, now: now)
            state.outage = outage
            return (outage, state.limiter.flush())
        }
    }

    /// A worker has an upstream. Returns the outage that ends and the merged lines from its time;
    /// nil if there was none.
    func end() -> (outage: Outage, before: [RateLimiter.Summary])? {
        state.withLock { state in
            guard let outage = state.outage else { return nil }
            state.outage = nil
            return (outage, state.limiter.flush())
        }
    }

    /// The present outage, if its line is due.
    func reminder(now: Int64) -> Outage? {
        state.withLock { state in
            state.outage?.isLineDue(now: now) == true ? state.outage : nil
        }
    }

    /// The latest cause of the present outage; nil if there is none.
    var outageError: String? { state.withLock { $0.outage?.error } }

    /// The pool has no upstream.
    var isDown: Bool { state.withLock { $0.outage != nil } }
}
