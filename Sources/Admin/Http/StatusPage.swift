// The page at `/`: what is wrong first, then the pools, their latencies and refusals, and two
// curves for each. It has no script, loads nothing, and shows no address of a client.

import Pool
import Proxy
import Telemetry

/// Writes the page, a part at a time, so that the main thread can do something else between them.
struct StatusPage {
    /// A part of the page. Those with a number are of one pool.
    private enum Part {
        case head
        case pools
        case pool(Int)
        case latencies
        case latency(Int)
        case endOfTable
        case refusals
        case curves(Int)
        case foot
    }

    private let snapshot: Snapshot
    private let histories: [PoolHistory]
    /// The wall clock in nanoseconds since 1970.
    private let wall: Int64
    private let parts: [Part]
    private var next = 0
    private var html = Html()

    /// - Parameter histories: one for each pool of the snapshot.
    init(_ snapshot: Snapshot, histories: [PoolHistory], wall: Int64) {
        self.snapshot = snapshot
        self.histories = histories
        self.wall = wall
        let pools = snapshot.pools.indices.filter { snapshot.pools[$0].isConfigured }
        parts =
            [.head, .pools] + pools.map(Part.pool) + [.endOfTable, .latencies]
            + pools.map(Part.latency) + [.endOfTable, .refusals] + pools.map(Part.curves) + [.foot]
    }

    static let mediaType = "text/html; charset=utf-8"
    /// The page can load nothing.
    static let policy = "default-src 'none'; style-src 'unsafe-inline'"

    /// The whole page; nil until everything is written.
    var result: [UInt8]? { next < parts.count ? nil : html.bytes }

    /// Writes the next part.
    mutating func write() {
        guard next < parts.count else { return }
        switch parts[next] {
        case .head: writeHead()
        case .pools: beginPools()
        case .pool(let index): write(snapshot.pools[index])
        case .latencies:
            begin(
                "Latencies of the last minute",
                ["pool", "what", "per s", "p50", "p90", "p99", "max"])
        case .latency(let index): writeLatencies(snapshot.pools[index], histories[index])
        case .endOfTable: end()
        case .refusals: writeRefusals()
        case .curves(let index): writeCurves(snapshot.pools[index], histories[index])
        case .foot:
            writeFailovers()
            writeClusters()
            writeSubscribers()
            html.raw(
                "<footer><a href=/metrics>metrics</a> <a href=/healthz>healthz</a> "
                    + "<a href=/readyz>readyz</a></footer></html>\n")
        }
        next += 1
    }

    private mutating func writeHead() {
        let troubles = Trouble.all(in: snapshot)
        head(troubles.count)
        write(troubles)
    }

    private mutating func head(_ troubles: Int) {
        let state = troubles == 0 ? "well" : troubles == 1 ? "1 problem" : "\(troubles) problems"
        html.raw(
            "<!doctype html><html lang=en><meta charset=utf-8>"
                + "<meta name=viewport content=\"width=device-width,initial-scale=1\">"
                + "<meta http-equiv=refresh content=2><title>Redpool: \(state)</title>"
                + "<style>\(StatusPage.style)</style>\n<h1>Redpool <small>")
        let clients = snapshot.pools.reduce(0) { $0 + $1.metrics.clients }
        html.text(
            "\(snapshot.process.version), up \(Readable.time(wall - snapshot.process.startedAt)), "
                + "\(clients) of \(snapshot.process.maxClients) clients")
        html.raw("</small></h1>\n")
    }

    private mutating func write(_ troubles: [Trouble]) {
        if troubles.isEmpty {
            html.raw("<p class=well>All is well.</p>\n")
            return
        }
        html.raw("<ul class=wrong>")
        for trouble in troubles { html.element("li", trouble.text) }
        html.raw("</ul>\n")
    }

    private mutating func begin(_ title: String, _ columns: [String]) {
        html.element("h2", title)
        html.raw("<div><table>")
        html.row(columns, isHead: true)
    }

    private mutating func end() { html.raw("</table></div>\n") }

    private mutating func beginPools() {
        begin(
            "Pools",
            [
                "pool", "state", "clients", "waiting", "oldest wait", "in flight", "unanswered for",
                "open", "idle", "shared", "pinned", "connecting",
            ])
    }

    private mutating func write(_ pool: PoolView) {
        let (census, sight) = (pool.metrics.census, pool.metrics.sight)
        let state = Trouble.state(of: pool, now: snapshot.at)
        var bad: Set<Int> = state == .up ? [] : [1]
        if sight.oldestWait(now: snapshot.at) >= PoolWatch.longestWait { bad.insert(4) }
        if state == .stalled { bad.insert(6) }
        html.row(
            [
                pool.name, state.rawValue, "\(pool.metrics.clients)", "\(census.waiting)",
                Readable.time(sight.oldestWait(now: snapshot.at)), "\(sight.inFlight)",
                Readable.time(sight.oldestCommand(now: snapshot.at)),
                "\(census.open)/\(pool.maxOpen)", "\(census.idle)", "\(census.shared)",
                "\(census.pinned)/\(pool.maxPinned)", "\(census.connecting)",
            ], bad: bad)
    }

    private mutating func writeLatencies(_ pool: PoolView, _ history: PoolHistory) {
        let before = history.minuteAgo(now: snapshot.at)
        let then = before?.metrics ?? PoolMetrics(pool: pool.name)
        let seconds = before?.seconds ?? .infinity
        for (what, times, zeros) in ShowNumbers.times(of: pool.metrics, since: then) {
            let count = times.count + zeros
            let shown = [0.5, 0.9, 0.99].map { times.quantile($0, zeros: zeros) } + [times.maximum]
            html.row(
                [pool.name, what, Readable.rate(Double(count) / seconds)]
                    + shown.map { count == 0 ? "-" : Readable.time($0) })
        }
    }

    /// The primaries that Sentinels name, and when they have changed.
    private mutating func writeFailovers() {
        let pools = snapshot.pools.compactMap { pool in
            pool.sentinels.map { (name: pool.name, report: $0) }
        }
        if pools.isEmpty { return }
        begin(
            "Primaries", ["pool", "primary", "sentinels", "failovers", "last", "ago", "it took"])
        for (name, report) in pools {
            let last = report.lastFailover
            let up = report.sentinels.count { $0.state == .connected }
            html.row(
                [
                    name, report.primary?.name ?? "unknown",
                    "\(up)/\(report.sentinels.count)", "\(report.failovers)",
                    last?.way ?? "-",
                    last.map { Readable.time(wall - $0.at) } ?? "-",
                    last.map { Readable.time($0.duration) } ?? "-",
                ], bad: Set((report.primary == nil ? [1] : []) + (up == 0 ? [2] : [])))
        }
        end()
    }

    /// The clusters that pools are in front of, and their nodes.
    private mutating func writeClusters() {
        let pools = snapshot.pools.compactMap { pool in
            pool.cluster.map { (name: pool.name, report: $0) }
        }
        if pools.isEmpty { return }
        begin("Clusters", ["pool", "map", "changed", "slots", "nodes", "down", "failovers"])
        for (name, report) in pools {
            let down = report.nodes.count { $0.state == .down }
            html.row(
                [
                    name, report.isKnown ? "\(report.version)" : "unknown",
                    report.isKnown ? Readable.time(wall - report.changedAt) : "-",
                    "\(report.served)/\(ClusterReport.slots)", "\(report.nodes.count)", "\(down)",
                    "\(report.failovers)",
                ],
                bad: Set(
                    (report.isKnown ? [] : [1]) + (report.isWhole ? [] : [3])
                        + (down > 0 ? [5] : [])
                ))
        }
        end()
    }

    /// The subscriptions that clients share.
    private mutating func writeSubscribers() {
        let pools = snapshot.pools.filter { $0.metrics.subscribers.isShared }
        if pools.isEmpty { return }
        begin(
            "Shared subscriptions",
            [
                "pool", "hubs", "listeners", "names", "subscriptions", "messages", "deliveries",
                "bytes waiting", "hubs lost", "gaps",
            ])
        for pool in pools {
            let (present, traffic) = (
                pool.metrics.subscribers.present, pool.metrics.subscribers.traffic
            )
            html.row(
                [
                    pool.name, "\(present.hubs)", "\(present.clients)",
                    "\(present.channels + present.patterns + present.shards)",
                    "\(present.subscriptions)", "\(traffic.messages)", "\(traffic.deliveries)",
                    "\(present.backlog)", "\(traffic.losses)", Readable.time(traffic.gaps),
                ])
        }
        end()
    }

    private mutating func writeRefusals() {
        let rows = zip(snapshot.pools, histories).flatMap { pool, history in
            refusals(pool, history.minuteAgo(now: snapshot.at)?.metrics)
        }
        if rows.isEmpty {
            html.raw("<h2>Refusals</h2><p>No command has been refused.</p>\n")
            return
        }
        begin("Refusals", ["pool", "reason", "last minute", "since the start"])
        for (pool, reason, recent, all) in rows {
            html.row([pool, reason, "\(recent)", "\(all)"], bad: recent > 0 ? [2] : [])
        }
        end()
    }

    private func refusals(
        _ pool: PoolView, _ before: PoolMetrics?
    ) -> [(pool: String, reason: String, recent: UInt64, all: UInt64)] {
        var rows: [(String, String, UInt64, UInt64)] = []
        for (index, reason) in RefusedReason.allCases.enumerated() {
            let all = pool.metrics.refused[index]
            if all > 0 {
                rows.append((pool.name, reason.word, all - (before?.refused[index] ?? 0), all))
            }
        }
        let rejected = pool.metrics.rejected.atLimit + pool.metrics.rejected.withoutFiles
        if rejected > 0 { rows.append((pool.name, "connection rejected", 0, rejected)) }
        return rows
    }

    private mutating func writeCurves(_ pool: PoolView, _ history: PoolHistory) {
        html.element("h2", "\(pool.name), ten minutes")
        html.raw("<div class=curves>")
        Curve(
            "commands/s", history.points.map { ($0.at, $0.commandsPerSecond) },
            now: snapshot.at, top: { Readable.rate($0) + "/s" }
        ).write(to: &html)
        Curve(
            "p99", history.points.map { ($0.at, Double($0.p99)) }, now: snapshot.at,
            top: { Readable.time(UInt64($0)) }
        ).write(to: &html)
        html.raw("</div>\n")
    }

    private static let style =
        "body{font:15px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:76rem;padding:0 .8rem;"
        + "color:#1b1f23;background:#fff}h1{font-size:1.4rem;margin:.2rem 0 .8rem}"
        + "h2{font-size:1.05rem;margin:1.4rem 0 .4rem}small{font-weight:400;color:#57606a}"
        + "div{overflow-x:auto}table{border-collapse:collapse;width:100%}"
        + "th,td{text-align:right;padding:.25rem .55rem;border-bottom:1px solid #d0d7de;"
        + "white-space:nowrap;font-variant-numeric:tabular-nums}th{font-weight:600}"
        + "th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}"
        + ".well,.wrong{border-left:.4rem solid #1a7f37;background:#f0f8f1;padding:.5rem .8rem;"
        + "margin:.4rem 0}.wrong{border-color:#cf222e;background:#fff0ee;padding-left:1.8rem}"
        + ".bad{color:#b3151f;font-weight:600}.curves{display:flex;flex-wrap:wrap;gap:.8rem}"
        + "figure{flex:1 1 20rem;margin:0;min-width:0}figcaption{margin-bottom:.2rem}"
        + "svg{width:100%;height:5rem;background:#f6f8fa;display:block}"
        + "polyline{fill:none;stroke:#0969da;stroke-width:1.5;vector-effect:non-scaling-stroke}"
        + "@media(max-width:40rem){th,td{padding:.2rem .3rem;font-size:.8rem}}"
        + "footer{margin:1.5rem 0;color:#57606a}a{color:inherit}"
        + "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}"
        + "small,footer{color:#9198a1}th,td{border-color:#30363d}svg{background:#161b22}"
        + ".well{background:#0f2417}.wrong{background:#2d1214}.bad{color:#ff7b72}"
        + "polyline{stroke:#58a6ff}}"
}

extension LatencyHistogram {
    /// As `quantile`, with `zeros` more times that were zero.
    func quantile(_ quantile: Double, zeros: UInt64) -> UInt64 {
        let all = Double(count + zeros)
        guard count > 0, quantile * all > Double(zeros) else { return 0 }
        return self.quantile((quantile * all - Double(zeros)) / Double(count))
    }
}
