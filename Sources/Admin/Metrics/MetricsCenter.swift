// The numbers of the process on the main thread: asks the workers when somebody wants them, and
// every five seconds for the recent past.

package import Config
package import EventLoop
import Pool
package import Proxy
import Telemetry

/// What the main thread can tell of the process that workers cannot.
package struct ProcessSource {
    /// The pools of the configuration in force.
    package let pools: () -> [PoolConfig]
    /// Everything but what the system tells.
    package let facts: () -> ProcessFacts
    /// What is known of the Sentinels of a pool; nil for a pool without.
    package let sentinels: (_ pool: String) -> SentinelReport?
    /// What is known of the cluster of a pool; nil for a pool without.
    package let clusters: (_ pool: String) -> ClusterReport?

    package init(
        pools: @escaping () -> [PoolConfig], facts: @escaping () -> ProcessFacts,
        sentinels: @escaping (_ pool: String) -> SentinelReport? = { _ in nil },
        clusters: @escaping (_ pool: String) -> ClusterReport? = { _ in nil }
    ) {
        self.pools = pools
        self.facts = facts
        self.sentinels = sentinels
        self.clusters = clusters
    }
}

/// Collects, keeps and hands out the numbers. It belongs to the thread of its loop.
package final class MetricsCenter {
    private let group: WorkerGroup
    private let collector: ReportCollector
    private let source: ProcessSource
    private var store = MetricsStore()
    private var timer: Timer?
    /// Who waits for the answers that are on the way.
    private var waiting: [(Snapshot) -> Void] = []

    package init(
        loop: EventLoop, group: WorkerGroup, collector: ReportCollector, source: ProcessSource
    ) {
        self.group = group
        self.collector = collector
        self.source = source
        timer = Timer(
            loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(), callback: centerTimer)
    }

    /// Begins to keep the recent past. The workers have started.
    package func start() { takeSample() }

    /// Goes on with the totals of a program that this one has taken over from.
    package func resume(_ totals: [PoolMetrics]) { store.take(former: totals) }

    /// The totals of pools, and of programs, that are gone.
    package var formerTotals: [PoolMetrics] { store.formerTotals }

    /// Asks the workers and calls `done` when they have answered, or are silent. Those who ask
    /// meanwhile get the same answer.
    package func refresh(_ done: @escaping (Snapshot) -> Void) {
        waiting.append(done)
        guard waiting.count == 1 else { return }
        collector.collect(.metrics) { [unowned self] collection in
            take(collection)
            let snapshot = snapshot(silent: collection.silent)
            let all = waiting
            waiting = []
            for done in all { done(snapshot) }
        }
    }

    /// The past of each pool of a snapshot.
    package func histories(of snapshot: Snapshot) -> [PoolHistory] {
        snapshot.pools.map { store.history(of: $0.name) }
    }

    /// The workers that have not come round their loops lately.
    package var stuckWorkers: [Int] { group.stuck(for: MetricsCenter.longestTurn) }

    /// A worker that has not come round for this long does not turn, in nanoseconds.
    private static let longestTurn: Int64 = .seconds(2)

    fileprivate func takeSample() {
        timer?.start(after: PoolHistory.interval)
        collector.collect(.metrics) { [unowned self] collection in
            take(collection)
            let names = source.pools().map(\.name)
            let now = MonotonicTime(nanoseconds: EventLoop.now())
            store.sample(Array(pools(named: names).prefix(names.count)), at: now)
        }
    }

    private func take(_ collection: CollectedReports) {
        for case .metrics(let metrics) in collection.reports { store.take(metrics) }
    }

    /// The numbers of each pool, with what this thread knows.
    private func pools(named names: [String]) -> [PoolMetrics] {
        store.pools(named: names).map { metrics in
            var metrics = metrics
            metrics.rejected = group.rejected(of: metrics.pool)
            return metrics
        }
    }

    private func snapshot(silent: [Int]) -> Snapshot {
        var snapshot = Snapshot()
        let configured = source.pools()
        snapshot.process = source.facts()
        snapshot.process.cpu = System.processTime
        snapshot.process.residentBytes = System.residentBytes.map { UInt64(clamping: $0) }
        snapshot.process.openFiles = System.openFiles
        snapshot.process.maxFiles = System.maxFiles
        snapshot.pools = pools(named: configured.map(\.name)).map(PoolView.init)
        for (index, config) in configured.enumerated() {
            snapshot.pools[index].configure(config, group)
            snapshot.pools[index].sentinels = source.sentinels(config.name)
            snapshot.pools[index].cluster = source.clusters(config.name)
        }
        for index in snapshot.pools.indices.dropFirst(configured.count) {
            snapshot.pools[index].isConfigured = false
        }
        snapshot.workers = store.views
        snapshot.silent = silent
        snapshot.at = MonotonicTime(nanoseconds: EventLoop.now())
        return snapshot
    }
}

extension PoolView {
    fileprivate mutating func configure(_ config: PoolConfig, _ group: WorkerGroup) {
        maxOpen = config.maxOpen
        maxPinned = config.maxPinned
        minIdle = config.minIdle
        upstream = config.source.description
        hasListenTLS = config.listenTLS != nil || metrics.clientTLS != TLSCounts()
        hasUpstreamTLS = config.upstreamTLS != nil || metrics.upstreamTLS != TLSCounts()
        outage = group.outage(of: config.name)
        isPaused = group.isPaused(config.name)
    }
}

private func centerTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<MetricsCenter>.fromOpaque(owner).takeUnretainedValue().takeSample()
}
