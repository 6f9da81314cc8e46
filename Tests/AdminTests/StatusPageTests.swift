import Foundation
import Pool
import Telemetry
import Testing

@testable import Admin
@testable import Proxy

private func page(_ snapshot: Snapshot, _ history: PoolHistory = PoolHistory()) -> String {
    var page = StatusPage(
        snapshot, histories: snapshot.pools.map { _ in history },
        wall: snapshot.process.startedAt + .seconds(3600))
    while page.result == nil { page.write() }
    return String(decoding: page.result ?? [], as: UTF8.self)
}

/// A snapshot in which all is well.
private func well() -> Snapshot {
    var snapshot = sampleSnapshot()
    snapshot.process.logLines = []
    snapshot.pools[0].metrics.sight = PoolSight()
    snapshot.pools[0].metrics.census.waiting = 0
    snapshot.pools[0].metrics.refused = snapshot.pools[0].metrics.refused.map { _ in 0 }
    snapshot.pools[0].metrics.rejected = (0, 0)
    return snapshot
}

@Suite("The status page")
struct StatusPageTests {
    @Test("it has no script and loads nothing")
    func harmless() {
        let text = page(sampleSnapshot())
        for part in ["<script", "src=", "http:", "https:", "@import", "url(", "javascript:"] {
            #expect(!text.contains(part), "\(part)")
        }
        #expect(text.contains("<meta http-equiv=refresh content=2>"))
        #expect(text.hasPrefix("<!doctype html>") && text.hasSuffix("</html>\n"))
    }

    @Test("subscriptions are on it where they are shared")
    func subscriptions() {
        var snapshot = well()
        #expect(page(snapshot).contains("Shared subscriptions"))
        let row = ["45", "46", "144", "50", "41", "42", "51", "43"]
        #expect(page(snapshot).contains(row.map { "<td>\($0)</td>" }.joined()))
        snapshot.pools[0].metrics.subscribers = SubscriberMetrics()
        #expect(!page(snapshot).contains("Shared subscriptions"))
    }

    @Test("it is written in parts, none for more than one pool")
    func parts() {
        func parts(pools: Int) -> Int {
            var snapshot = well()
            snapshot.pools = (0..<pools).map { _ in snapshot.pools[0] }
            var page = StatusPage(
                snapshot, histories: snapshot.pools.map { _ in PoolHistory() }, wall: 0)
            var count = 0
            while page.result == nil {
                page.write()
                count += 1
            }
            return count
        }
        #expect(parts(pools: 10) - parts(pools: 1) == 9 * 3)
    }

    @Test("what is wrong comes first, and in the title")
    func troubles() throws {
        #expect(page(well()).contains("<title>Redpool: well</title>"))
        #expect(page(well()).contains("All is well."))
        var snapshot = well()
        snapshot.pools[0].outage = "connect: <Connection> refused"
        snapshot.silent = [3]
        let text = page(snapshot)
        #expect(text.contains("<title>Redpool: 2 problems</title>"))
        #expect(text.contains("<li>worker 3 does not answer</li>"))
        #expect(
            text.contains(
                "<li>pool main has no upstream connection: connect: &lt;Connection&gt; refused</li>"
            ))
        let list = try #require(text.range(of: "<ul class=wrong>"))
        let table = try #require(text.range(of: "<table>"))
        #expect(list.lowerBound < table.lowerBound)
        #expect(text.contains("<td class=bad>down</td>"))
    }

    @Test("each kind of trouble has its words")
    func words() {
        func texts(_ change: (inout Snapshot) -> Void) -> [String] {
            var snapshot = well()
            change(&snapshot)
            return Trouble.all(in: snapshot).map(\.text)
        }
        #expect(texts { _ in }.isEmpty)
        #expect(
            texts {
                $0.pools[0].metrics.sight.inFlight = 300
                $0.pools[0].metrics.sight.commandSince = at(78).nanoseconds
            } == [
                "pool main is stalled: 300 commands are not answered, the oldest for 22.0 s"
            ])
        #expect(
            texts {
                $0.pools[0].metrics.census.waiting = 18
                $0.pools[0].metrics.sight.open = 32
                $0.pools[0].metrics.sight.pinned = 28
                $0.pools[0].metrics.sight.waiterSince = at(98).nanoseconds
            } == [
                "pool main is short of connections: 18 clients wait, the oldest for 2.00 s "
                    + "(32/32 open, 28/28 pinned)"
            ])
        #expect(
            texts {
                $0.pools[0].isPaused = true
                $0.pools[0].metrics.census.waiting = 1
            } == ["pool main is paused: 1 client waits"])
        #expect(
            texts {
                $0.pools[0].outage = "Connection refused"
                $0.pools[0].metrics.census.waiting = 6
                $0.pools[0].metrics.sight.waiterSince = at(90).nanoseconds
            } == [
                "pool main has no upstream connection: Connection refused; 6 clients wait, "
                    + "the oldest for 10.0 s"
            ])
        #expect(
            texts { $0.pools[0].sentinels = sampleSentinels(down: 1) } == [
                "pool main: Sentinel 10.0.0.1:26379 is down: connection refused"
            ])
        #expect(
            texts { $0.pools[0].sentinels = sampleSentinels(down: 2) } == [
                "pool main: no Sentinel can be asked"
            ])
        #expect(
            texts { $0.pools[0].sentinels = sampleSentinels(isKnown: false) } == [
                "pool main: no Sentinel knows mymaster (10.0.0.1:26379: it names no primary; "
                    + "10.0.0.2:26379: it names no primary)"
            ])
        #expect(
            texts {
                $0.pools[0].sentinels = sampleSentinels(isKnown: false)
                $0.pools[0].outage = "no Sentinel knows mymaster"
            } == ["pool main has no upstream connection: no Sentinel knows mymaster"],
            "said once")
        #expect(
            texts { $0.pools[0].cluster = sampleCluster(down: 1, served: 16383) } == [
                "pool main: 1 slot has no owner",
                "pool main: node 10.0.1.1:7000 is down: connect timed out",
            ])
        #expect(
            texts { $0.pools[0].cluster = sampleCluster(isKnown: false) } == [
                "pool main: the cluster's map is not known, last error: CLUSTER NODES: ERR no"
            ])
        #expect(texts { $0.process.isDraining = true } == ["Redpool is shutting down"])
        #expect(
            texts { $0.process.reload.wasSuccessful = false } == [
                "the configuration was refused when it was last read"
            ])
        #expect(
            texts { $0.process.reload.needsRestart = true } == [
                "a change of the configuration needs a restart"
            ])
        #expect(
            texts { $0.process.logLines = [LogLines(level: "info", written: 9, lost: 2)] } == [
                "2 lines of the log were lost"
            ])
    }

    @Test("without a primary a pool is not ready, even while clients hold upstreams")
    func readiness() {
        var snapshot = well()
        #expect(Readiness(snapshot, pool: nil) == .ready)
        snapshot.pools[0].sentinels = sampleSentinels(isKnown: false)
        #expect(
            Readiness(snapshot, pool: "main")
                == .not([
                    "pool main: no Sentinel knows mymaster (10.0.0.1:26379: it names no primary; "
                        + "10.0.0.2:26379: it names no primary)"
                ]))
    }

    @Test("without a map a pool is not ready; slots without an owner are no reason")
    func readinessOfClusters() {
        var snapshot = well()
        snapshot.pools[0].cluster = sampleCluster(served: 16000)
        #expect(Readiness(snapshot, pool: nil) == .ready)
        snapshot.pools[0].cluster = sampleCluster(isKnown: false)
        #expect(
            Readiness(snapshot, pool: "main")
                == .not([
                    "pool main: the cluster's map is not known, last error: CLUSTER NODES: ERR no"
                ]))
    }

    @Test("refusals of the last minute and since the start")
    func refusals() {
        var store = MetricsStore()
        var metrics = sampleMetrics()
        store.sample([metrics], at: at(50))
        metrics.refused[0] += 5
        var snapshot = sampleSnapshot()
        snapshot.pools[0].metrics = metrics
        let text = page(snapshot, store.history(of: "main"))
        #expect(
            text.contains(
                "<td>main</td><td>pool_timeout</td><td class=bad>5</td><td>6</td></tr>"))
        #expect(text.contains("<td>main</td><td>queue_full</td><td>0</td><td>2</td></tr>"))
        #expect(page(well()).contains("No command has been refused."))
    }

    @Test("a latency of nothing is no time")
    func nothing() {
        var snapshot = well()
        snapshot.pools[0].metrics = PoolMetrics(pool: "main")
        let row = "<td>main</td><td>dial</td><td>0</td><td>-</td><td>-</td><td>-</td><td>-</td>"
        #expect(page(snapshot).contains(row))
        var html = Html()
        Curve("p99", [(at(1), 0)], now: at(2), top: { "\($0)" }).write(to: &html)
        #expect(String(decoding: html.bytes, as: UTF8.self).contains("<small>none</small>"))
    }

    @Test("a curve spans ten minutes, newest at the right, largest at the top")
    func curve() {
        var html = Html()
        Curve(
            "commands/s", [(at(400), 5.0), (at(700), 10.0), (at(1000), 0.0)], now: at(1000),
            top: { "\(Int($0))/s" }
        ).write(to: &html)
        let text = String(decoding: html.bytes, as: UTF8.self)
        #expect(text.contains("<polyline points=\"0,40 300,1 600,79\"/>"))
        #expect(text.contains("<small>at most 10/s</small>"))
        var empty = Html()
        Curve("p99", [], now: at(1), top: { "\($0)" }).write(to: &empty)
        #expect(String(decoding: empty.bytes, as: UTF8.self).contains("nothing yet"))
    }

    @Test(
        "times for people",
        arguments: [
            (0, "0"), (400, "0 us"), (350_400, "350 us"), (1_204_000, "1.20 ms"),
            (12_340_000, "12.3 ms"), (999_000_000, "999 ms"), (1_000_000_000, "1.00 s"),
            (22_040_000_000, "22.0 s"), (130_000_000_000, "2 min"),
            (7_300_000_000_000, "2 h"), (200_000_000_000_000, "2 days"),
            (UInt64.max, "213503 days"),
        ])
    func times(nanoseconds: UInt64, text: String) {
        #expect(Readable.time(nanoseconds) == text)
    }

    @Test("numbers per second")
    func rates() {
        #expect(Readable.rate(0) == "0")
        #expect(Readable.rate(0.25) == "0.25")
        #expect(Readable.rate(12.34) == "12.3")
        #expect(Readable.rate(1234.6) == "1235")
        #expect(Readable.rate(.nan) == "0")
    }

    @Test("quantiles with zeros")
    func quantiles() {
        var times = LatencyHistogram()
        times.record(microseconds: 1000)
        #expect(times.quantile(0.5, zeros: 9) == 0)
        #expect(times.quantile(0.99, zeros: 9) == 1_000_000)
        #expect(LatencyHistogram().quantile(0.99, zeros: 5) == 0)
    }
}
