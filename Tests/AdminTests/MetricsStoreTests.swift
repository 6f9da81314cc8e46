import HandOver
import Pool
import Telemetry
import Testing

@testable import Admin
@testable import Proxy

private func report(_ worker: Int, _ pools: PoolMetrics..., busy: Int64 = 0) -> WorkerMetrics {
    WorkerMetrics(worker: worker, at: at(1), busy: busy, longestTurn: 0, pools: pools)
}

@Suite("What is kept of the workers' numbers")
struct MetricsStoreTests {
    @Test("the numbers of all workers are added, and a silent one keeps its last")
    func adding() throws {
        var store = MetricsStore()
        store.take(report(0, sampleMetrics()))
        store.take(report(1, sampleMetrics(factor: 2)))
        #expect(store.pools(named: ["main"])[0].accepted == 3000)
        store.take(report(0, sampleMetrics(factor: 3)))
        let pools = store.pools(named: ["main"])
        #expect(pools.count == 1)
        #expect(pools[0].accepted == 5000)
        #expect(pools[0].clients == 2 * 148)
        #expect(store.views.map(\.index) == [0, 1])
    }

    @Test("totals of a pool that is gone, or was made anew, stay; what is of the moment goes")
    func reload() throws {
        var store = MetricsStore()
        store.take(report(0, sampleMetrics("main"), sampleMetrics("old", factor: 4)))
        store.take(report(0, sampleMetrics("main", factor: 2)))
        var pools = store.pools(named: ["main"])
        #expect(pools.map(\.pool) == ["main", "old"])
        #expect(pools[1].accepted == 4000 && pools[1].clients == 0)
        #expect(pools[1].census.open == 0 && pools[1].replies.count == 12)
        // It comes back and counts from 0.
        store.take(report(0, sampleMetrics("main", factor: 2), sampleMetrics("old")))
        pools = store.pools(named: ["main", "old"])
        #expect(pools[1].accepted == 5000 && pools[1].clients == 148)
        // A worker has made it anew between two reports.
        store.take(report(0, PoolMetrics(pool: "main"), sampleMetrics("old")))
        pools = store.pools(named: ["main", "old"])
        #expect(pools[0].accepted == 2000 && pools[0].clients == 0)
        store.take(report(0, sampleMetrics("main"), sampleMetrics("old")))
        #expect(store.pools(named: ["main", "old"])[0].accepted == 3000)
    }

    @Test("totals go on in another program, whatever its pools and counters are")
    func totalsAreHandedOver() throws {
        var told = sampleMetrics("main")
        told.rejected = (3, 4)
        let carried = told.carried + [CarriedCounter(pool: "main", name: "no such", values: [7])]
        let totals = PoolMetrics.totals(of: carried + sampleMetrics("old").carried)
        #expect(totals.map(\.pool) == ["main", "old"])
        #expect(totals[0].carried == told.carried && totals[0].rejected == (3, 4))
        #expect(totals[0].accepted == 1000 && totals[0].clients == 0)
        #expect(totals[0].replies.quantile(0.5) == told.replies.quantile(0.5))
        var store = MetricsStore()
        store.take(former: totals)
        store.take(report(0, sampleMetrics("main", factor: 2)))
        var pools = store.pools(named: ["main"])
        #expect(pools[0].accepted == 3000 && pools[0].clients == 148)
        #expect(pools[1].pool == "old" && pools[1].upstreams.opened == totals[1].upstreams.opened)
        // The next program gets what is gone, and what the workers have.
        store.take(report(0, PoolMetrics(pool: "main")))
        #expect(store.formerTotals.map(\.accepted) == [3000, 1000])
        pools = store.pools(named: ["main", "old"])
        #expect(pools.map(\.accepted) == [3000, 1000])
    }

    @Test("a point is the mean and the p99 of its interval; ten minutes are kept")
    func points() throws {
        var store = MetricsStore()
        var metrics = PoolMetrics(pool: "main")
        for step in 0..<200 {
            if step > 0 {
                metrics.commands.shared += 50
                for _ in 0..<50 {
                    metrics.replies.record(microseconds: step == 199 ? 8000 : 1000)
                }
            }
            store.sample([metrics], at: at(Double(step * 5)))
        }
        let history = store.history(of: "main")
        #expect(history.points.count == 121)
        #expect(history.points.allSatisfy { $0.commandsPerSecond == 10 })
        #expect((1_000_000...1_250_000).contains(history.points[0].p99))
        #expect((8_000_000...10_000_000).contains(try #require(history.points.last).p99))
        #expect(store.history(of: "other").points.isEmpty)
    }

    @Test("the numbers of a minute ago")
    func minute() throws {
        var store = MetricsStore()
        var metrics = PoolMetrics(pool: "main")
        #expect(store.history(of: "main").minuteAgo(now: at(0)) == nil)
        store.sample([metrics], at: at(0))
        #expect(store.history(of: "main").minuteAgo(now: at(0)) == nil)
        for step in 1...40 {
            metrics.accepted = UInt64(step * 5)
            store.sample([metrics], at: at(Double(step * 5)))
            let now = at(Double(step * 5) + 1)
            let before = try #require(store.history(of: "main").minuteAgo(now: now))
            let seconds = Double(step * 5) + 1 - Double(before.metrics.accepted)
            #expect(abs(before.seconds - seconds) < 0.001)
            #expect(step * 5 < 60 ? before.metrics.accepted == 0 : (60...75).contains(seconds))
        }
    }
}
