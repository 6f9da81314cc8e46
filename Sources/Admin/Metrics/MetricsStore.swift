// What the main thread keeps of the workers' numbers: the latest of each worker, because a worker
// that hangs still counts, and some of the last ten minutes.

package import Pool
package import Proxy
import Telemetry

/// The latest numbers of all workers, and their recent past. Pure: the time is passed in.
package struct MetricsStore {
    /// A pool on one worker.
    private struct Place: Hashable {
        let worker: Int
        let pool: String
    }

    private var latest: [Place: PoolMetrics] = [:]
    /// Totals of pools that are gone, and of those that were made anew with the same name.
    private var former: [Place: PoolMetrics] = [:]
    private var workers: [Int: WorkerView] = [:]
    private(set) var histories: [String: PoolHistory] = [:]

    package init() {}

    /// Takes a worker's report. No total falls: what a pool had counted before it was removed, or
    /// made anew, stays.
    package mutating func take(_ report: WorkerMetrics) {
        workers[report.worker] = WorkerView(
            index: report.worker, busy: report.busy, longestTurn: report.longestTurn)
        for metrics in report.pools {
            let place = Place(worker: report.worker, pool: metrics.pool)
            if let old = latest[place], !metrics.continues(old) { retire(place) }
            latest[place] = metrics
        }
        let present = Set(report.pools.map(\.pool))
        for place in latest.keys
        where place.worker == report.worker && !present.contains(place.pool) { retire(place) }
    }

    /// Takes the totals of a program that this one has taken over from.
    package mutating func take(former totals: [PoolMetrics]) {
        for metrics in totals {
            let place = Place(worker: MetricsStore.formerProgram, pool: metrics.pool)
            former[place] = metrics.totals
        }
    }

    /// Stands for the number of a worker.
    private static let formerProgram = -1

    /// The totals of what is gone, by pool.
    package var formerTotals: [PoolMetrics] {
        Set(former.keys.map(\.pool)).sorted().map { name in
            var sum = PoolMetrics(pool: name)
            for (place, metrics) in former where place.pool == name { sum.add(metrics) }
            return sum
        }
    }

    private mutating func retire(_ place: Place) {
        guard let gone = latest.removeValue(forKey: place)?.totals else { return }
        if former[place] == nil { former[place] = gone } else { former[place]?.add(gone) }
    }

    /// The numbers of each pool over all workers: those that are `named`, in that order, and behind
    /// them those that there were once.
    package func pools(named names: [String]) -> [PoolMetrics] {
        let gone = Set(former.keys.map(\.pool) + latest.keys.map(\.pool)).subtracting(names)
        return (names + gone.sorted()).map { name in
            var sum = PoolMetrics(pool: name)
            for (place, metrics) in latest where place.pool == name { sum.add(metrics) }
            for (place, metrics) in former where place.pool == name { sum.add(metrics) }
            return sum
        }
    }

    /// The workers that have ever reported.
    package var views: [WorkerView] { workers.values.sorted { $0.index < $1.index } }

    /// Keeps a sample of these pools. Called every `PoolHistory.interval`.
    package mutating func sample(_ pools: [PoolMetrics], at now: MonotonicTime) {
        for metrics in pools {
            histories[metrics.pool, default: PoolHistory()].add(metrics, at: now)
        }
    }

    /// The past of a pool; empty if there is none yet.
    package func history(of pool: String) -> PoolHistory { histories[pool] ?? PoolHistory() }
}

/// Ten minutes of a pool.
package struct PoolHistory: Sendable {
    /// A point of the curves.
    package struct Point: Equatable, Sendable {
        package let at: MonotonicTime
        package let commandsPerSecond: Double
        /// In nanoseconds; 0 if there was no command.
        package let p99: UInt64
    }

    private struct Sample {
        let at: MonotonicTime
        let metrics: PoolMetrics
    }

    package private(set) var points: [Point] = []
    /// One for every other point, for a minute.
    private var samples: [Sample] = []
    private var last: Sample?

    /// Between two points, in nanoseconds.
    package static let interval: Int64 = .seconds(5)
    /// How far back the points go.
    package static let span: Int64 = .seconds(600)
    private static let minute: Int64 = .seconds(60)

    fileprivate mutating func add(_ metrics: PoolMetrics, at now: MonotonicTime) {
        let sample = Sample(at: now, metrics: metrics)
        if let last, now > last.at {
            let seconds = Double(now - last.at) / 1e9
            let commands = Double(metrics.commands.all) - Double(last.metrics.commands.all)
            points.append(
                Point(
                    at: now, commandsPerSecond: max(0, commands / seconds),
                    p99: metrics.replies.since(last.metrics.replies).quantile(0.99)))
        }
        last = sample
        points.removeAll { now - $0.at > PoolHistory.span }
        if samples.last.map({ now - $0.at >= 2 * PoolHistory.interval - .seconds(1) }) ?? true {
            samples.append(sample)
        }
        // The first one is the one from a minute ago.
        while samples.count > 1, now - samples[1].at >= PoolHistory.minute { samples.removeFirst() }
    }

    /// The numbers of about a minute ago, and the seconds since; nil if nothing was kept yet.
    package func minuteAgo(now: MonotonicTime) -> (metrics: PoolMetrics, seconds: Double)? {
        guard let first = samples.first, now - first.at > 0 else { return nil }
        return (first.metrics, Double(now - first.at) / 1e9)
    }
}

extension PoolMetrics {
    /// They can be later numbers of the same pool: no total is less.
    fileprivate func continues(_ old: PoolMetrics) -> Bool {
        accepted >= old.accepted && upstreams.opened >= old.upstreams.opened
            && leases.atOnce >= old.leases.atOnce && commands.all >= old.commands.all
            && bytes.fromClients >= old.bytes.fromClients
    }
}
