// The totals of a pool in an upgrade: no counter falls. A counter goes by its name, so that another
// version can have others: what it does not know is left out.

package import HandOver
import Pool
import Telemetry

extension PoolMetrics {
    /// The totals, those that are not 0.
    package var carried: [CarriedCounter] {
        var copy = self
        var found: [CarriedCounter] = []
        copy.visit { name, value in
            if value > 0 { found.append(CarriedCounter(pool: pool, name: name, values: [value])) }
        }
        copy.visit { name, histogram in
            guard histogram.count > 0 else { return }
            found.append(CarriedCounter(pool: pool, name: name, values: histogram.numbers))
        }
        return found
    }

    /// The totals of a former program, one for each pool that it names.
    package static func totals(of counters: [CarriedCounter]) -> [PoolMetrics] {
        var pools: [String: [String: [UInt64]]] = [:]
        for counter in counters {
            if let pool = counter.pool { pools[pool, default: [:]][counter.name] = counter.values }
        }
        return pools.sorted { $0.key < $1.key }.map { pool, values in
            var metrics = PoolMetrics(pool: pool)
            metrics.visit { name, value in value = values[name]?.first ?? 0 }
            metrics.visit { name, histogram in
                if let numbers = values[name].flatMap({ LatencyHistogram(numbers: $0) }) {
                    histogram = numbers
                }
            }
            return metrics
        }
    }

    private mutating func visit(_ body: (String, inout UInt64) -> Void) {
        body("clients.accepted", &accepted)
        body("clients.logins_refused", &loginsRefused)
        body("clients.at_limit", &rejected.atLimit)
        body("clients.without_files", &rejected.withoutFiles)
        body("bytes.from_clients", &bytes.fromClients)
        body("bytes.to_clients", &bytes.toClients)
        body("bytes.from_server", &bytes.fromServer)
        body("bytes.to_server", &bytes.toServer)
        body("commands.shared", &commands.shared)
        body("commands.pinned", &commands.pinned)
        body("commands.local", &commands.local)
        body("commands.retried_shared", &commands.retriedShared)
        body("commands.retried_pinned", &commands.retriedPinned)
        body("leases.at_once", &leases.atOnce)
        body("leases.refused", &leases.refused)
        body("leases.left", &leases.left)
        body("upstreams.opened", &upstreams.opened)
        body("upstreams.connected", &upstreams.connected)
        body("upstreams.probes_answered", &upstreams.probesAnswered)
        body("upstreams.probes_failed", &upstreams.probesFailed)
        visitNodes(body)
        PoolMetrics.visit(&clientsClosed, ClientCloseReason.allCases.map(\.word), "closed", body)
        PoolMetrics.visit(&refused, RefusedReason.allCases.map(\.word), "refused", body)
        PoolMetrics.visit(&errorReplies, ErrorWord.allCases.map(\.word), "errors", body)
        let reasons = CloseReason.allCases.map(\.word)
        PoolMetrics.visit(&upstreams.closed, reasons, "upstreams.closed", body)
        PoolMetrics.visit(&upstreamTLS, "handshakes.of_upstreams", body)
        PoolMetrics.visit(&clientTLS, "handshakes.of_clients", body)
    }

    private mutating func visitNodes(_ body: (String, inout UInt64) -> Void) {
        body("cluster.moved", &cluster.moved)
        body("cluster.asked", &cluster.asked)
        body("cluster.tried_again", &cluster.triedAgain)
        body("cluster.split", &cluster.split)
        body("cluster.replica_reads", &cluster.replicaReads)
        body("pubsub.messages", &subscribers.traffic.messages)
        body("pubsub.deliveries", &subscribers.traffic.deliveries)
        body("pubsub.losses", &subscribers.traffic.losses)
        var gaps = UInt64(max(0, subscribers.traffic.gaps))
        body("pubsub.gaps", &gaps)
        subscribers.traffic.gaps = Int64(clamping: gaps)
    }

    private mutating func visit(_ body: (String, inout LatencyHistogram) -> Void) {
        body("times.waits", &waits)
        body("times.replies", &replies)
        body("times.dials", &dials)
    }

    /// One counter for each word.
    private static func visit(
        _ values: inout [UInt64], _ words: [String], _ name: String,
        _ body: (String, inout UInt64) -> Void
    ) {
        for (index, word) in words.enumerated() { body("\(name).\(word)", &values[index]) }
    }

    private static func visit(
        _ counts: inout TLSCounts, _ name: String, _ body: (String, inout UInt64) -> Void
    ) {
        body("\(name).resumed", &counts.resumed)
        body("\(name).full", &counts.full)
        visit(&counts.failures, TLSFailure.allCases.map(\.rawValue), "\(name).failures", body)
    }
}
