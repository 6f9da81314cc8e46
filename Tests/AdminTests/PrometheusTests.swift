import Foundation
import Pool
import Telemetry
import Testing

@testable import Admin
@testable import Proxy

private let golden = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "metrics.txt").path()
private let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

/// The name, labels and value of a line.
private struct Series: Hashable {
    let name: String
    let labels: String
}

private func series(_ text: String) -> [Series: Double] {
    var found: [Series: Double] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
        let parts = line.split(separator: " ")
        let name = parts[0].prefix { $0 != "{" }
        let key = Series(name: String(name), labels: String(parts[0].dropFirst(name.count)))
        #expect(found[key] == nil, "\(line)")
        found[key] = Double(parts[1])
    }
    return found
}

@Suite("Prometheus's text")
struct PrometheusTests {
    /// With REDPOOL_REGENERATE=1 in the environment the file is written anew.
    @Test("it is exactly this")
    func exact() throws {
        let text = PrometheusMetrics.text(sampleSnapshot())
        if ProcessInfo.processInfo.environment["REDPOOL_REGENERATE"] == "1" {
            try Data(text.utf8).write(to: URL(filePath: golden))
        }
        let expected = try String(contentsOfFile: golden, encoding: .utf8)
        for (line, wanted) in zip(text.split(separator: "\n"), expected.split(separator: "\n")) {
            try #require(line == wanted)
        }
        #expect(text == expected)
    }

    @Test("a few lines by hand")
    func lines() {
        let text = PrometheusMetrics.text(sampleSnapshot())
        for line in [
            "# HELP redpool_clients Clients that are connected.\n# TYPE redpool_clients gauge\n"
                + "redpool_clients{pool=\"main\"} 148\n",
            "redpool_build_info{version=\"0.9.0\"} 1\n",
            "process_start_time_seconds 1700000000.5\n",
            "redpool_clients_rejected_total{pool=\"main\",reason=\"max_clients\"} 6\n",
            "redpool_pool_up{pool=\"main\"} 1\n",
            "redpool_pool_oldest_wait_seconds{pool=\"main\"} 0.5\n",
            "redpool_pool_oldest_in_flight_seconds{pool=\"main\"} 0.25\n",
            // 50 at once, which are zeros, and 10 us.
            "redpool_wait_seconds_bucket{pool=\"main\",le=\"0.000065536\"} 51\n",
            "redpool_wait_seconds_bucket{pool=\"main\",le=\"0.000131072\"} 52\n",
            "redpool_wait_seconds_bucket{pool=\"main\",le=\"8.589934592\"} 53\n",
            "redpool_wait_seconds_bucket{pool=\"main\",le=\"+Inf\"} 54\n",
            "redpool_wait_seconds_sum{pool=\"main\"} 9.00158\n",
            "redpool_wait_seconds_count{pool=\"main\"} 54\n",
            "redpool_upstream_seconds_sum{pool=\"main\"} 0.00075\n",
            "redpool_worker_busy_seconds_total{worker=\"0\"} 2.000000001\n",
            "redpool_worker_longest_turn_seconds{worker=\"0\"} 0.0035\n",
            "redpool_log_lines_lost_total{level=\"error\"} 1\n",
        ] {
            #expect(text.contains("\n\(line)") || text.hasPrefix(line), "\(line)")
        }
    }

    @Test("each metric has HELP and TYPE once, before its samples, and its name says its type")
    func families() throws {
        var names: Set<String> = []
        var types: [String: String] = [:]
        var present = ""
        for line in PrometheusMetrics.text(sampleSnapshot()).split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if words[0] == "#" {
                if words[1] == "HELP" {
                    #expect(names.insert(words[2]).inserted)
                    #expect(words[3].hasSuffix("."))
                    present = words[2]
                } else {
                    #expect(words[2] == present)
                    types[present] = words[3]
                }
                continue
            }
            let name = String(words[0].prefix { $0 != "{" })
            let suffixes = types[present] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
            #expect(suffixes.contains { name == present + $0 }, "\(line)")
        }
        for (name, type) in types {
            #expect((type == "counter") == name.hasSuffix("_total"), "\(name)")
        }
    }

    @Test("all series but the process's have the pool, and the buckets do not fall")
    func labels() {
        for (key, _) in series(PrometheusMetrics.text(sampleSnapshot())) {
            let isProcess =
                key.name.hasPrefix("process_") || key.labels.contains("worker=")
                || key.labels.contains("level=") || key.labels.contains("version=")
                || key.name.hasPrefix("redpool_config_") || key.name == "redpool_draining"
                || key.name == "redpool_max_clients"
            #expect(isProcess == !key.labels.contains("pool=\"main\""), "\(key)")
        }
        var metrics = PoolMetrics(pool: "a")
        for exponent in 10..<40 {
            metrics.replies.record(microseconds: UInt32(clamping: (1 << exponent) / 1000))
        }
        var snapshot = Snapshot()
        snapshot.pools = [PoolView(metrics)]
        var last: UInt64 = 0
        for line in PrometheusMetrics.text(snapshot).split(separator: "\n")
        where line.hasPrefix("redpool_upstream_seconds_bucket") {
            let value = UInt64(line.split(separator: " ")[1]) ?? 0
            #expect(value >= last)
            last = value
        }
        #expect(last == 30)
    }

    @Test("the manual has every metric")
    func manual() throws {
        let page = root.appending(path: "docs/monitoring.md").path()
        let manual = try String(contentsOfFile: page, encoding: .utf8)
        for line in PrometheusMetrics.text(sampleSnapshot()).split(separator: "\n")
        where line.hasPrefix("# TYPE") {
            let name = line.split(separator: " ")[2]
            #expect(manual.contains("`\(name)`"), "\(name)")
        }
    }

    @Test(
        "nanoseconds are written as seconds without rounding",
        arguments: [
            (0, "0"), (1, "0.000000001"), (65_536, "0.000065536"), (1_000_000_000, "1"),
            (1_500_000_000, "1.5"), (UInt64.max, "18446744073.709551615"),
        ])
    func seconds(nanoseconds: UInt64, text: String) {
        #expect(PrometheusText.decimal(nanoseconds) == text)
    }

    @Test("values of labels are escaped")
    func escaping() {
        #expect(PrometheusText.escaped("a\"b\\c\nd") == "a\\\"b\\\\c\\nd")
        #expect(PrometheusText.escaped("plain") == "plain")
    }
}
