// What is wrong, in words, the worst first.

import Pool
import Proxy

/// The state of a pool in one word.
enum PoolStanding: String {
    case up, down, stalled, waiting, paused
}

/// Something that is wrong.
struct Trouble: Equatable {
    let text: String

    /// Everything that is wrong in a snapshot.
    static func all(in snapshot: Snapshot) -> [Trouble] {
        var found: [String] = []
        for worker in snapshot.silent { found.append("worker \(worker) does not answer") }
        for pool in snapshot.pools where pool.isConfigured {
            let standing = state(of: pool, now: snapshot.at)
            // Without a primary the outage has the same words.
            if let sentinels = pool.sentinels, sentinels.primary != nil || standing != .down {
                found += ofSentinels(sentinels).map { "pool \(pool.name): \($0)" }
            }
            if let cluster = pool.cluster, cluster.isKnown || standing != .down {
                found += ofCluster(cluster).map { "pool \(pool.name): \($0)" }
            }
            let sight = pool.metrics.sight
            let waiting = pool.metrics.census.waiting
            let oldest = Readable.time(sight.oldestWait(now: snapshot.at))
            switch standing {
            case .up: break
            case .down:
                found.append(
                    "pool \(pool.name) has no upstream connection: \(pool.outage ?? "")"
                        + (waiting > 0 ? "; \(clients(waiting)), the oldest for \(oldest)" : ""))
            case .stalled:
                let age = Readable.time(sight.oldestCommand(now: snapshot.at))
                found.append(
                    "pool \(pool.name) is stalled: \(sight.inFlight) commands are not answered, "
                        + "the oldest for \(age)")
            case .waiting:
                found.append(
                    "pool \(pool.name) is short of connections: \(clients(waiting)), "
                        + "the oldest for \(oldest) (\(sight.open)/\(pool.maxOpen) open, "
                        + "\(sight.pinned)/\(pool.maxPinned) pinned)")
            case .paused: found.append("pool \(pool.name) is paused: \(clients(waiting))")
            }
        }
        if snapshot.process.isDraining { found.append("Redpool is shutting down") }
        if !snapshot.process.reload.wasSuccessful {
            found.append("the configuration was refused when it was last read")
        }
        if snapshot.process.reload.needsRestart {
            found.append("a change of the configuration needs a restart")
        }
        let lost = snapshot.process.logLines.reduce(0) { $0 + $1.lost }
        if lost > 0 { found.append("\(lost) lines of the log were lost") }
        return found.map(Trouble.init)
    }

    /// What is wrong with those who name a primary.
    private static func ofSentinels(_ report: SentinelReport) -> [String] {
        if report.primary == nil { return [report.problem] }
        let down = report.sentinels.filter { $0.state == .down }
        if down.isEmpty { return [] }
        if down.count == report.sentinels.count { return ["no Sentinel can be asked"] }
        return down.map { "Sentinel \($0.address) is down: \($0.error)" }
    }

    /// What is wrong with the nodes of a cluster.
    private static func ofCluster(_ report: ClusterReport) -> [String] {
        guard report.isKnown else { return [report.problem] }
        let slots = report.isWhole ? [] : [report.missing]
        let down = report.nodes.filter { $0.state == .down }
        let shown = down.prefix(mostNodes).map { "node \($0.address) is down: \($0.error)" }
        let more = down.count - shown.count
        return slots + shown + (more > 0 ? ["\(more) more nodes are down"] : [])
    }

    /// So many nodes are named.
    private static let mostNodes = 8

    private static func clients(_ waiting: Int) -> String {
        waiting == 1 ? "1 client waits" : "\(waiting) clients wait"
    }

    /// The state of a pool.
    static func state(of pool: PoolView, now: MonotonicTime) -> PoolStanding {
        let sight = pool.metrics.sight
        if pool.isPaused { return .paused }
        if !pool.isUp { return .down }
        if sight.oldestCommand(now: now) >= PoolWatch.longestReply { return .stalled }
        return sight.oldestWait(now: now) >= PoolWatch.longestWait ? .waiting : .up
    }
}
