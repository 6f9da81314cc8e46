import Config
import Pool
import Telemetry
import Topology

@testable import Admin
@testable import Proxy

func at(_ seconds: Double) -> MonotonicTime {
    MonotonicTime(nanoseconds: Int64(seconds * 1_000_000_000))
}

/// A pool with different numbers everywhere, so that a mix-up shows.
func sampleMetrics(_ name: String = "main", factor: UInt64 = 1) -> PoolMetrics {
    var metrics = PoolMetrics(pool: name)
    metrics.clients = 148
    metrics.waitingBytes = 4096
    metrics.accepted = 1000 * factor
    metrics.clientsClosed = metrics.clientsClosed.indices.map { UInt64($0) * factor }
    metrics.bytes.fromClients = 11 * factor
    metrics.bytes.toClients = 12 * factor
    metrics.bytes.fromServer = 13 * factor
    metrics.bytes.toServer = 14 * factor
    metrics.commands.shared = 100 * factor
    metrics.commands.pinned = 20 * factor
    metrics.commands.local = 3 * factor
    metrics.commands.retriedShared = 2 * factor
    metrics.commands.retriedPinned = factor
    metrics.refused = metrics.refused.indices.map { UInt64($0 + 1) * factor }
    metrics.errorReplies = metrics.errorReplies.indices.map { UInt64($0 + 100) * factor }
    metrics.census.idle = 1
    metrics.census.shared = 2
    metrics.census.pinned = 3
    metrics.census.control = 4
    metrics.census.connecting = 5
    metrics.census.probing = 6
    metrics.census.converting = 7
    metrics.census.closing = 8
    metrics.census.waiting = 9
    metrics.sight.waiting = 9
    metrics.sight.waiterSince = at(99.5).nanoseconds
    metrics.sight.inFlight = 17
    metrics.sight.commandSince = at(99.75).nanoseconds
    metrics.cluster = ClusterCounts(
        moved: 21 * factor, asked: 22 * factor, triedAgain: 23 * factor, split: 24 * factor,
        replicaReads: 25 * factor)
    metrics.subscribers.isShared = true
    metrics.subscribers.traffic.messages = 41 * factor
    metrics.subscribers.traffic.deliveries = 42 * factor
    metrics.subscribers.traffic.losses = 43 * factor
    metrics.subscribers.traffic.gaps = 44_500_000_000 * Int64(factor)
    metrics.subscribers.present.hubs = 45
    metrics.subscribers.present.clients = 46
    metrics.subscribers.present.channels = 47
    metrics.subscribers.present.patterns = 48
    metrics.subscribers.present.shards = 49
    metrics.subscribers.present.subscriptions = 50
    metrics.subscribers.present.backlog = 51
    metrics.leases.atOnce = 50 * factor
    metrics.leases.refused = 4 * factor
    metrics.leases.left = 5 * factor
    metrics.upstreams.opened = 60 * factor
    metrics.upstreams.closed = metrics.upstreams.closed.indices.map { UInt64($0 + 200) * factor }
    metrics.upstreams.connected = 55 * factor
    metrics.upstreams.probesAnswered = 31 * factor
    metrics.upstreams.probesFailed = 2 * factor
    metrics.clientTLS.full = 60 * factor
    metrics.clientTLS.resumed = 61 * factor
    metrics.clientTLS.failures = metrics.clientTLS.failures.indices.map {
        UInt64($0 + 90) * factor
    }
    metrics.upstreamTLS.full = 70 * factor
    metrics.upstreamTLS.resumed = 71 * factor
    metrics.upstreamTLS.failures = metrics.upstreamTLS.failures.indices.map {
        UInt64($0 + 80) * factor
    }
    for _ in 0..<factor {
        for microseconds: UInt32 in [10, 70, 1500, 9_000_000] {
            metrics.waits.record(microseconds: microseconds)
        }
        for _ in 0..<3 { metrics.replies.record(microseconds: 250) }
        metrics.dials.record(microseconds: 12_345)
    }
    return metrics
}

func sampleSnapshot() -> Snapshot {
    var snapshot = Snapshot()
    snapshot.at = at(100)
    snapshot.process.version = "0.9.0"
    snapshot.process.maxClients = 10_000
    snapshot.process.startedAt = 1_700_000_000_500_000_000
    snapshot.process.cpu = 1_250_000_000
    snapshot.process.residentBytes = 9_000_000
    snapshot.process.openFiles = 42
    snapshot.process.maxFiles = 1024
    snapshot.process.reload.at = 1_700_000_000_500_000_000
    snapshot.process.certificates = [
        CertificateFacts(pool: "main", key: "tlsCaFile", expiresAt: 1_800_000_000)
    ]
    snapshot.process.logLines = [
        LogLines(level: "error", written: 3, lost: 1), LogLines(level: "info", written: 7, lost: 0),
    ]
    var pool = PoolView(sampleMetrics())
    pool.maxOpen = 32
    pool.maxPinned = 28
    pool.minIdle = 1
    pool.upstream = "10.0.0.5:6379"
    pool.hasListenTLS = true
    pool.hasUpstreamTLS = true
    pool.metrics.rejected = (6, 1)
    pool.sentinels = sampleSentinels()
    pool.cluster = sampleCluster()
    snapshot.pools = [pool]
    snapshot.workers = [WorkerView(index: 0, busy: 2_000_000_001, longestTurn: 3_500_000)]
    return snapshot
}

/// A cluster of two primaries and a replica, of which so many nodes are down.
func sampleCluster(down: Int = 0, served: Int = 16384, isKnown: Bool = true) -> ClusterReport {
    ClusterReport(
        version: isKnown ? 5 : 0, served: isKnown ? served : 0,
        changedAt: isKnown ? 1_700_000_003_500_000_000 : 0, changes: 4, failovers: 2,
        nodes: (0..<3).map { index in
            ClusterRow(
                address: "10.0.1.\(index + 1):7000", id: "\(index)", isPrimary: index < 2,
                primary: index < 2 ? nil : "10.0.1.1:7000", slots: index < 2 ? served / 2 : 0,
                ranges: index < 2 ? "0-1" : "", state: index < down ? .down : .up,
                error: index < down ? "connect timed out" : "", heardAt: 0)
        }, unknownNames: [], lastError: isKnown ? "" : "CLUSTER NODES: ERR no")
}

/// Two Sentinels, of which so many are down, and a failover.
func sampleSentinels(down: Int = 0, isKnown: Bool = true) -> SentinelReport? {
    guard let old = NodeAddress(host: Array("10.0.0.5".utf8), port: 6379),
        let new = NodeAddress(host: Array("10.0.0.6".utf8), port: 6379)
    else { return nil }
    let changedAt: Int64 = 1_700_000_001_250_000_000
    return SentinelReport(
        primaryName: "mymaster",
        primary: isKnown
            ? SentinelPrimary(
                node: new, address: .tcp(host: "10.0.0.6", port: 6379), epoch: 7, since: changedAt)
            : nil,
        isVerified: isKnown,
        failovers: 3,
        lastFailover: SentinelFailover(
            old: old, new: new, epoch: 7, at: changedAt, duration: 1_500_000_000, sign: .message),
        replicas: isKnown ? ["10.0.0.5:6379"] : nil,
        sentinels: (0..<2).map { index in
            let isDown = index < down
            return SentinelRow(
                address: "10.0.0.\(index + 1):26379", isConfigured: index == 0,
                state: isDown ? .down : .connected,
                claim: isDown || !isKnown ? nil : PrimaryClaim(address: new, epoch: 7),
                error: isDown ? "connection refused" : isKnown ? "" : "it names no primary",
                replicaError: "", heardAt: 1_700_000_002_000_000_000)
        })
}
