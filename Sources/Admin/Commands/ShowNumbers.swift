// SHOW STATS, SHOW LATENCY, SHOW ERRORS and SHOW SLOWLOG: what has been counted.

import EventLoop
import Pool
import Proxy
import RESP
import Telemetry

enum ShowNumbers {
    static let all: [ConsoleCommand] = [
        ConsoleCommand(
            "SHOW STATS", "[pool]",
            "every counter, total and per second",
            arguments: 0...1
        ) { stats($0) },
        ConsoleCommand(
            "SHOW LATENCY", "[pool]",
            "waits, replies and dials", arguments: 0...1
        ) { latency($0) },
        ConsoleCommand(
            "SHOW ERRORS", "[pool]", "what has gone wrong, latest first", arguments: 0...1
        ) { errors($0) },
        ConsoleCommand(
            "SHOW SLOWLOG", "[n]", "slow commands, latest first",
            arguments: 0...1
        ) { slowLog($0) },
    ]

    // MARK: SHOW STATS

    private static func stats(_ call: Call) {
        snapshot(call) { pools, process in
            var rows: [[Cell]] = []
            for (pool, history) in pools {
                let before = history.minuteAgo(now: now)
                let (present, past) = (counters(of: pool), before.map { counters(of: $0.metrics) })
                let isInFront = call.host.clusters(pool.pool) != nil
                let hasReplicas = isInFront || call.host.sentinels(pool.pool) != nil
                for (index, counter) in present.enumerated()
                where (isInFront || !counter.name.hasPrefix("cluster_"))
                    && (hasReplicas || counter.name != "replica_reads")
                    && (pool.subscribers.isShared || !counter.name.hasPrefix("pubsub_"))
                {
                    var rate = Cell.absent
                    if let past, let before {
                        let grown = counter.total - min(counter.total, past[index].total)
                        rate = .text(Readable.rate(Double(grown) / before.seconds))
                    }
                    rows.append(
                        [.text(pool.pool), .text(counter.name), .count(counter.total), rate])
                }
            }
            if call.arguments.isEmpty {
                rows += counters(of: process).map {
                    [.absent, .text($0.name), .count($0.total), .absent]
                }
            }
            call.reply(.table(Table(["pool", "name", "total", "per_s"], rows)))
        }
    }

    /// The counters of the process. Times are in whole seconds.
    private static func counters(of process: Snapshot) -> [(name: String, total: UInt64)] {
        var all: [(String, UInt64)] = []
        let second: Int64 = .seconds(1)
        if let cpu = process.process.cpu {
            all.append(("process_cpu_seconds", UInt64(max(0, cpu / second))))
        }
        all += process.workers.map {
            ("worker_busy_seconds.\($0.index)", UInt64(max(0, $0.busy / second)))
        }
        for lines in process.process.logLines {
            all.append(("log_lines.\(lines.level)", lines.written))
            all.append(("log_lines_lost.\(lines.level)", lines.lost))
        }
        return all
    }

    /// Every counter of a pool. The names are those of the metrics, with their labels.
    static func counters(of pool: PoolMetrics) -> [(name: String, total: UInt64)] {
        let upstreams = pool.upstreams
        let second: Int64 = .seconds(1)
        var all: [(String, UInt64)] = [
            ("clients_accepted", pool.accepted),
            ("clients_rejected.max_clients", pool.rejected.atLimit),
            ("clients_rejected.fd_limit", pool.rejected.withoutFiles),
            ("client_auth_failures", pool.loginsRefused),
            ("received_bytes.client", pool.bytes.fromClients),
            ("received_bytes.upstream", pool.bytes.fromServer),
            ("sent_bytes.client", pool.bytes.toClients),
            ("sent_bytes.upstream", pool.bytes.toServer),
            ("commands.shared", pool.commands.shared), ("commands.pinned", pool.commands.pinned),
            ("commands.local", pool.commands.local),
            ("retried_commands.shared", pool.commands.retriedShared),
            ("retried_commands.pinned", pool.commands.retriedPinned),
            ("leases.at_once", pool.leases.atOnce), ("leases.waited", pool.leasesWaited),
            ("leases.refused", pool.leases.refused), ("leases.left", pool.leases.left),
            ("cluster_redirects.moved", pool.cluster.moved),
            ("cluster_redirects.asked", pool.cluster.asked),
            ("cluster_redirects.tryagain", pool.cluster.triedAgain),
            ("cluster_split_commands", pool.cluster.split),
            ("replica_reads", pool.cluster.replicaReads),
            ("pubsub_messages", pool.subscribers.traffic.messages),
            ("pubsub_deliveries", pool.subscribers.traffic.deliveries),
            ("pubsub_hub_losses", pool.subscribers.traffic.losses),
            ("pubsub_gap_seconds", UInt64(max(0, pool.subscribers.traffic.gaps / second))),
            ("upstreams_opened", upstreams.opened), ("dials.ok", upstreams.connected),
        ]
        for reason in [CloseReason.connectFailed, .connectTimeout, .handshakeFailed] {
            all.append(("dials.\(reason.word)", upstreams.closed[Int(reason.rawValue)]))
        }
        all.append(("probes.ok", upstreams.probesAnswered))
        all.append(("probes.failed", upstreams.probesFailed))
        for (side, tls) in [("client", pool.clientTLS), ("upstream", pool.upstreamTLS)] {
            all.append(("tls_handshakes.\(side).full", tls.full))
            all.append(("tls_handshakes.\(side).resumed", tls.resumed))
            all.append(("tls_handshakes.\(side).failed", tls.failed))
        }
        for (name, words, counts) in [
            ("refused_commands", RefusedReason.allCases.map(\.word), pool.refused),
            ("error_replies", ErrorWord.allCases.map(\.word), pool.errorReplies),
            ("clients_closed", ClientCloseReason.allCases.map(\.word), pool.clientsClosed),
            ("upstreams_closed", CloseReason.allCases.map(\.word), upstreams.closed),
            (
                "tls_failures.client", TLSFailure.allCases.map(\.rawValue),
                pool.clientTLS.failures
            ),
            (
                "tls_failures.upstream", TLSFailure.allCases.map(\.rawValue),
                pool.upstreamTLS.failures
            ),
        ] {
            all += zip(words, counts).map { ("\(name).\($0)", $1) }
        }
        return all
    }

    // MARK: SHOW LATENCY

    private static func latency(_ call: Call) {
        snapshot(call) { pools, _ in
            var rows: [[Cell]] = []
            for (pool, history) in pools {
                let before = history.minuteAgo(now: now)?.metrics ?? pool
                for (what, times, zeros) in times(of: pool, since: before) {
                    rows.append(latency(pool.pool, what, "minute", times, zeros))
                }
                for (what, times, zeros) in times(of: pool, since: PoolMetrics(pool: pool.pool)) {
                    rows.append(latency(pool.pool, what, "start", times, zeros))
                }
            }
            call.reply(
                .table(
                    Table(
                        [
                            "pool", "what", "since", "count", "p50_us", "p90_us", "p99_us",
                            "p99.9_us", "max_us",
                        ], rows)))
        }
    }

    /// The waits, the replies and the dials that came after `before`; waits of no time are
    /// counted apart.
    static func times(
        of pool: PoolMetrics, since before: PoolMetrics
    ) -> [(what: String, times: LatencyHistogram, zeros: UInt64)] {
        let zeros = pool.leases.atOnce - min(pool.leases.atOnce, before.leases.atOnce)
        return [
            ("wait", pool.waits.since(before.waits), zeros),
            ("upstream", pool.replies.since(before.replies), 0),
            ("dial", pool.dials.since(before.dials), 0),
        ]
    }

    private static func latency(
        _ pool: String, _ what: String, _ since: String, _ times: LatencyHistogram, _ zeros: UInt64
    ) -> [Cell] {
        let count = times.count + zeros
        let quantiles: [Cell] = [0.5, 0.9, 0.99, 0.999].map {
            count == 0 ? .absent : .count(times.quantile($0, zeros: zeros) / 1000)
        }
        return [.text(pool), .text(what), .text(since), .count(count)] + quantiles
            + [count == 0 ? .absent : .count(times.maximum / 1000)]
    }

    // MARK: SHOW ERRORS

    private static func errors(_ call: Call) {
        guard let name = pool(call) else { return }
        call.host.collector.collect(.errors(pool: name.found)) { found in
            let wall = wallClock() - EventLoop.now()
            call.reply(
                .table(
                    Table(
                        ["pool", "kind", "word", "count", "first", "last", "text"],
                        found.errors.map { row in
                            [
                                .text(row.pool), .text(row.kind.word), .text(row.word),
                                .count(row.count), time(row.first, wall), time(row.last, wall),
                                .plain(row.text, longest: 200),
                            ]
                        })))
        }
    }

    // MARK: SHOW SLOWLOG

    private static func slowLog(_ call: Call) {
        var most = SlowLogLength.standard
        if !call.arguments.isEmpty {
            guard let number = Word.integer(call.arguments[0], in: 1...1_000_000) else {
                call.fail("not understood: SHOW SLOWLOG [n], n is a number above 0")
                return
            }
            most = Int(number)
        }
        call.host.collector.collect(.slowCommands(pool: nil)) { found in
            let wall = wallClock() - EventLoop.now()
            call.reply(
                .table(
                    Table(
                        [
                            "time", "pool", "client", "name", "cmd", "others", "wait_ms",
                            "upstream_ms", "reason",
                        ],
                        found.slowCommands.prefix(most).map { command in
                            [
                                time(command.at, wall), .text(command.pool),
                                .count(command.client), .plain(command.name),
                                .plain(command.command), .count(command.others),
                                .milliseconds(command.wait), .milliseconds(command.reply),
                                .plain(command.reason),
                            ]
                        })))
        }
    }

    private enum SlowLogLength {
        static let standard = 256
    }

    // MARK: Parts

    private static var now: MonotonicTime { MonotonicTime(nanoseconds: EventLoop.now()) }

    /// A moment as people write it, in UTC. `wall` is what the wall clock is ahead of ours.
    private static func time(_ moment: MonotonicTime, _ wall: Int64) -> Cell {
        .text(formatTime(moment.nanoseconds + wall))
    }

    /// The pool that the first argument names; `found` is nil for all. Nil if there is no such
    /// pool; then that is answered.
    private static func pool(_ call: Call) -> (found: String?, Void)? {
        if call.arguments.isEmpty { return (nil, ()) }
        return call.pool(at: 0).map { ($0, ()) }
    }

    /// The numbers of the pools that are asked for, with their past, and all numbers.
    private static func snapshot(
        _ call: Call, _ answer: @escaping ([(PoolMetrics, PoolHistory)], Snapshot) -> Void
    ) {
        guard let name = pool(call) else { return }
        guard let metrics = call.host.metrics else {
            call.fail("nothing is counted yet")
            return
        }
        metrics.refresh { snapshot in
            let all = zip(snapshot.pools.map(\.metrics), metrics.histories(of: snapshot))
            answer(all.filter { name.found == nil || $0.0.pool == name.found }, snapshot)
        }
    }
}
