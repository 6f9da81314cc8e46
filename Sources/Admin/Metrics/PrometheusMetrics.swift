// All metrics, in the order in which they are served. docs/monitoring.md has each.

import Pool
import Proxy

/// Writes a snapshot, a metric or a few at a time, so that the main thread can do something else
/// between them.
struct PrometheusMetrics {
    private let snapshot: Snapshot
    private var text = PrometheusText()
    private var next = 0

    init(_ snapshot: Snapshot) { self.snapshot = snapshot }

    /// Nil until everything is written.
    var result: [UInt8]? { next < PrometheusMetrics.parts.count ? nil : text.bytes }

    /// Writes the next part.
    mutating func write() {
        guard next < PrometheusMetrics.parts.count else { return }
        PrometheusMetrics.parts[next](snapshot, &text)
        next += 1
    }

    /// The whole text.
    static func text(_ snapshot: Snapshot) -> String {
        var metrics = PrometheusMetrics(snapshot)
        while metrics.result == nil { metrics.write() }
        return String(decoding: metrics.result ?? [], as: UTF8.self)
    }

    private typealias Part = @Sendable (Snapshot, inout PrometheusText) -> Void
    private static let parts: [Part] = [
        process, system, configuration, clients, bytes, commands, pools, upstreams, sight, leases,
        errorReplies, lives, tls, sentinels, clusters, replicaReads, pubsub, waits, replies, dials,
        workers, log,
    ]

    // MARK: The process

    private static func process(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let process = snapshot.process
        text.metric("redpool_build_info", .gauge, "Always 1; the version is a label.")
        text.sample([Label("version", process.version)], 1)
        text.metric("redpool_draining", .gauge, "1 while Redpool ends and accepts no clients.")
        text.sample([], process.isDraining)
        text.metric("redpool_max_clients", .gauge, "The most clients at once, of all pools.")
        text.sample([], process.maxClients)
    }

    private static func system(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let process = snapshot.process
        text.metric(
            "process_start_time_seconds", .gauge, "When the process began, since 1970.")
        text.seconds([], process.startedAt)
        if let cpu = process.cpu {
            text.metric("process_cpu_seconds_total", .counter, "Processor time, all threads.")
            text.seconds([], cpu)
        }
        if let bytes = process.residentBytes {
            text.metric("process_resident_memory_bytes", .gauge, "Memory that is resident.")
            text.sample([], bytes)
        }
        if let files = process.openFiles {
            text.metric("process_open_fds", .gauge, "Descriptors that are open.")
            text.sample([], files)
        }
        if let files = process.maxFiles {
            text.metric("process_max_fds", .gauge, "The limit of open descriptors.")
            text.sample([], files)
        }
    }

    private static func configuration(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let reload = snapshot.process.reload
        text.metric(
            "redpool_config_last_reload_successful", .gauge,
            "1 if the configuration was accepted when it was last read.")
        text.sample([], reload.wasSuccessful)
        text.metric(
            "redpool_config_last_reload_success_timestamp_seconds", .gauge,
            "When the configuration in force was read, since 1970.")
        text.seconds([], reload.at)
        text.metric(
            "redpool_config_restart_required", .gauge,
            "1 if a key was changed that takes effect only with a restart.")
        text.sample([], reload.needsRestart)
    }

    private static func workers(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_worker_busy_seconds_total", .counter, "Processor time of the worker's thread.")
        for worker in snapshot.workers {
            text.seconds([Label("worker", "\(worker.index)")], worker.busy)
        }
        text.metric(
            "redpool_worker_longest_turn_seconds", .gauge,
            "The longest turn of the worker's loop in the last one to two minutes, until it writes; "
                + "or how late the loop came round, if that is more.")
        for worker in snapshot.workers {
            text.seconds([Label("worker", "\(worker.index)")], worker.longestTurn)
        }
    }

    private static func log(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric("redpool_log_lines_total", .counter, "Lines for the log, lost ones included.")
        for lines in snapshot.process.logLines {
            text.sample([Label("level", lines.level)], lines.written)
        }
        text.metric(
            "redpool_log_lines_lost_total", .counter,
            "Lines that could not be written because nobody reads the log fast enough.")
        for lines in snapshot.process.logLines {
            text.sample([Label("level", lines.level)], lines.lost)
        }
    }
}

// MARK: - Pools

extension PrometheusMetrics {
    private static func label(_ pool: PoolView) -> [Label] { [Label("pool", pool.name)] }

    private static func clients(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric("redpool_clients", .gauge, "Clients that are connected.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.clients) }
        text.metric(
            "redpool_client_waiting_bytes", .gauge,
            "Bytes held for clients: replies that they have not read, and commands behind one that "
                + "blocks.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.waitingBytes) }
        text.metric("redpool_clients_accepted_total", .counter, "Clients that have connected.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.accepted) }
        text.metric(
            "redpool_clients_rejected_total", .counter,
            "Connections that were not taken. fd_limit: how often accepting paused for a second.")
        for pool in snapshot.pools {
            let (atLimit, withoutFiles) = pool.metrics.rejected
            text.sample(label(pool) + [Label("reason", "max_clients")], atLimit)
            text.sample(label(pool) + [Label("reason", "fd_limit")], withoutFiles)
        }
        text.metric(
            "redpool_client_auth_failures_total", .counter,
            "Logins of clients that Redpool has refused.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.loginsRefused) }
        text.metric("redpool_clients_closed_total", .counter, "Clients whose connection has ended.")
        for pool in snapshot.pools {
            write(
                ClientCloseReason.allCases.map(\.word), pool.metrics.clientsClosed, "reason", pool,
                &text)
        }
    }

    private static func write(
        _ words: [String], _ counts: [UInt64], _ name: StaticString, _ pool: PoolView,
        _ text: inout PrometheusText
    ) {
        for (word, count) in zip(words, counts) {
            text.sample(label(pool) + [Label(name, word)], count)
        }
    }

    private static func bytes(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric("redpool_received_bytes_total", .counter, "Bytes from clients and upstreams.")
        for pool in snapshot.pools {
            let bytes = pool.metrics.bytes
            text.sample(label(pool) + [Label("side", "client")], bytes.fromClients)
            text.sample(label(pool) + [Label("side", "upstream")], bytes.fromServer)
        }
        text.metric("redpool_sent_bytes_total", .counter, "Bytes to clients and upstreams.")
        for pool in snapshot.pools {
            let bytes = pool.metrics.bytes
            text.sample(label(pool) + [Label("side", "client")], bytes.toClients)
            text.sample(label(pool) + [Label("side", "upstream")], bytes.toServer)
        }
    }

    private static func commands(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_commands_total", .counter,
            "Commands by where they went: over an upstream that clients share, over one of the "
                + "client's own, or answered by Redpool. What passes through a pipe is not counted."
        )
        for pool in snapshot.pools {
            let commands = pool.metrics.commands
            text.sample(label(pool) + [Label("route", "shared")], commands.shared)
            text.sample(label(pool) + [Label("route", "pinned")], commands.pinned)
            text.sample(label(pool) + [Label("route", "local")], commands.local)
        }
        text.metric(
            "redpool_retried_commands_total", .counter,
            "Commands that a server provably had not received, and that were sent again.")
        for pool in snapshot.pools {
            let commands = pool.metrics.commands
            text.sample(label(pool) + [Label("route", "shared")], commands.retriedShared)
            text.sample(label(pool) + [Label("route", "pinned")], commands.retriedPinned)
        }
        text.metric(
            "redpool_refused_commands_total", .counter,
            "Commands that got an error of Redpool's own.")
        for pool in snapshot.pools {
            write(RefusedReason.allCases.map(\.word), pool.metrics.refused, "reason", pool, &text)
        }
    }

    private static func pools(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_pool_up", .gauge,
            "0 from a dial that failed while there was no upstream, until "
                + "there is one.")
        for pool in snapshot.pools { text.sample(label(pool), pool.isUp && pool.isConfigured) }
        text.metric("redpool_pool_paused", .gauge, "1 while PAUSE holds the pool's commands.")
        for pool in snapshot.pools { text.sample(label(pool), pool.isPaused) }
        text.metric("redpool_pool_max_open", .gauge, "The pool's maxOpen.")
        for pool in snapshot.pools { text.sample(label(pool), pool.maxOpen) }
        text.metric("redpool_pool_max_pinned", .gauge, "The pool's maxPinned.")
        for pool in snapshot.pools { text.sample(label(pool), pool.maxPinned) }
    }

    private static func upstreams(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric("redpool_pool_upstreams", .gauge, "Upstreams by what they do; all count.")
        for pool in snapshot.pools {
            let census = pool.metrics.census
            for (state, count) in [
                ("idle", census.idle), ("shared", census.shared), ("pinned", census.pinned),
                ("control", census.control), ("connecting", census.connecting),
                ("probing", census.probing), ("converting", census.converting),
                ("closing", census.closing),
            ] {
                text.sample(label(pool) + [Label("state", state)], count)
            }
        }
    }

    private static func sight(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric("redpool_pool_waiting", .gauge, "Clients that wait for an upstream.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.census.waiting) }
        text.metric(
            "redpool_pool_oldest_wait_seconds", .gauge, "How long the oldest of them has waited.")
        for pool in snapshot.pools {
            text.seconds(label(pool), pool.metrics.sight.oldestWait(now: snapshot.at))
        }
        text.metric(
            "redpool_pool_in_flight", .gauge,
            "Commands that are sent and not answered, without those that may block.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.sight.inFlight) }
        text.metric(
            "redpool_pool_oldest_in_flight_seconds", .gauge,
            "The age of the oldest of them. Beyond an hour it may begin again at 0.")
        for pool in snapshot.pools {
            text.seconds(label(pool), pool.metrics.sight.oldestCommand(now: snapshot.at))
        }
    }

    private static func leases(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_leases_total", .counter,
            "Leases of an upstream: had at once, or after a wait; refused; or the client left.")
        for pool in snapshot.pools {
            let leases = pool.metrics.leases
            text.sample(label(pool) + [Label("result", "at_once")], leases.atOnce)
            text.sample(label(pool) + [Label("result", "waited")], pool.metrics.leasesWaited)
            text.sample(label(pool) + [Label("result", "refused")], leases.refused)
            text.sample(label(pool) + [Label("result", "left")], leases.left)
        }
    }

    private static func errorReplies(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_error_replies_total", .counter,
            "The server's error replies to clients' commands, by their first word.")
        for pool in snapshot.pools {
            write(ErrorWord.allCases.map(\.word), pool.metrics.errorReplies, "code", pool, &text)
        }
    }

    private static func lives(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric("redpool_upstreams_opened_total", .counter, "Upstreams that were dialled.")
        for pool in snapshot.pools { text.sample(label(pool), pool.metrics.upstreams.opened) }
        text.metric("redpool_upstreams_closed_total", .counter, "Upstreams that are gone.")
        for pool in snapshot.pools {
            write(
                CloseReason.allCases.map(\.word), pool.metrics.upstreams.closed, "reason", pool,
                &text)
        }
        text.metric("redpool_dials_total", .counter, "Dials that have ended.")
        for pool in snapshot.pools {
            let upstreams = pool.metrics.upstreams
            text.sample(label(pool) + [Label("result", "ok")], upstreams.connected)
            for reason in [CloseReason.connectFailed, .connectTimeout, .handshakeFailed] {
                text.sample(
                    label(pool) + [Label("result", reason.word)],
                    upstreams.closed[Int(reason.rawValue)])
            }
        }
        text.metric(
            "redpool_probes_total", .counter, "PINGs on idle upstreams that have ended.")
        for pool in snapshot.pools {
            let upstreams = pool.metrics.upstreams
            text.sample(label(pool) + [Label("result", "ok")], upstreams.probesAnswered)
            text.sample(label(pool) + [Label("result", "failed")], upstreams.probesFailed)
        }
    }

    /// The handshakes of each pool and side that has TLS, with their labels.
    private static func handshakes(_ snapshot: Snapshot) -> [(labels: [Label], counts: TLSCounts)] {
        snapshot.pools.flatMap { pool in
            let client = pool.hasListenTLS ? [("client", pool.metrics.clientTLS)] : []
            let upstream = pool.hasUpstreamTLS ? [("upstream", pool.metrics.upstreamTLS)] : []
            return (client + upstream).map { (label(pool) + [Label("side", $0.0)], $0.1) }
        }
    }

    private static func tls(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        let handshakes = handshakes(snapshot)
        if !handshakes.isEmpty {
            text.metric(
                "redpool_tls_handshakes_total", .counter,
                "Handshakes of TLS: full, resumed from an earlier connection, or failed.")
        }
        for (labels, counts) in handshakes {
            for (result, count) in [
                ("full", counts.full), ("resumed", counts.resumed), ("failed", counts.failed),
            ] {
                text.sample(labels + [Label("result", result)], count)
            }
        }
        if !handshakes.isEmpty {
            text.metric(
                "redpool_tls_failures_total", .counter,
                "Handshakes that have failed, and connections that were refused behind theirs.")
        }
        for (labels, counts) in handshakes {
            for (failure, count) in zip(TLSFailure.allCases, counts.failures) {
                text.sample(labels + [Label("reason", failure.rawValue)], count)
            }
        }
        if snapshot.process.certificates.isEmpty { return }
        text.metric(
            "redpool_tls_certificate_expiry_timestamp_seconds", .gauge,
            "When the first certificate of a file expires, since 1970.")
        for file in snapshot.process.certificates {
            text.sample(
                [Label("pool", file.pool), Label("key", file.key)], Int(clamping: file.expiresAt))
        }
    }

    private static func waits(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_wait_seconds", .histogram,
            "From needing an upstream to having one, zeros included.")
        for pool in snapshot.pools {
            text.histogram(
                label(pool), pool.metrics.waits, zeros: pool.metrics.leases.atOnce)
        }
    }

    private static func replies(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_upstream_seconds", .histogram,
            "From the turn that queued a command to the turn that read the last byte of its reply. "
                + "Commands that block and what passes through a pipe are not in it.")
        for pool in snapshot.pools { text.histogram(label(pool), pool.metrics.replies) }
    }

    private static func dials(_ snapshot: Snapshot, _ text: inout PrometheusText) {
        text.metric(
            "redpool_dial_seconds", .histogram,
            "Dials that succeeded, login and handshake included.")
        for pool in snapshot.pools { text.histogram(label(pool), pool.metrics.dials) }
    }
}
