// Warnings about a pool. Repeated ones are merged.

import Config
import Logging
import Pool
import Telemetry

extension PoolFront {
    /// Logs a warning or critical message. Repeated ones are merged into one line per 10 seconds.
    func warnLimit(
        _ event: String, reason: String, _ text: String, error: String = "", peer: String = ""
    ) {
        let key = RateLimiter.Key(event: event, pool: config.name, reason: reason)
        let said = RateLimiter.Said(text, error: error, peer: peer)
        let now = worker.now.nanoseconds
        guard let count = group.warnings.record(key, said, now: now) else { return }
        log(RateLimiter.Summary(key: key, count: count, last: said))
    }

    /// A client gets an error of Redpool's own in place of a reply. `text` has the error's words
    /// and numbers; `reason` is a refusal's word, or `denied`.
    func warnRefused(_ reason: String, _ text: String) {
        traffic.refused += 1
        if let counted = RefusedReason(word: reason) { countRefused(counted, text) }
        warnLimit(Outage.clientRefused, reason: reason, text)
    }

    static let desyncEvent = "upstream.desync"

    /// A desync is critical: replies have gone to the wrong clients.
    private static func level(of event: String) -> Logger.Level {
        event == desyncEvent ? .critical : .warning
    }

    /// Logs what is due once a second: merged warnings whose burst is over, and the outage.
    func logHeldBack() {
        let now = worker.now.nanoseconds
        if primary.machine.census.connected > 0 { logUp() }
        for summary in group.warnings.due(now: now) { log(summary) }
        if let outage = group.warnings.reminder(now: now) {
            logDown(outage, "there is still no upstream connection")
        }
    }

    private func log(_ summary: RateLimiter.Summary) {
        var fields: Logger.Metadata = [
            "event": "\(summary.key.event)", "pool": "\(config.name)",
            "reason": "\(summary.key.reason)", "count": "\(summary.count)",
        ]
        if !summary.last.error.isEmpty { fields["err"] = "\(summary.last.error)" }
        if !summary.last.peer.isEmpty { fields["peer"] = "\(summary.last.peer)" }
        worker.log.log(
            level: PoolFront.level(of: summary.key.event), "\(summary.last.text)",
            metadata: fields)
    }

    // MARK: Outages

    /// A dial to one of its servers has failed, for `reason`. If that is the one that work goes to,
    /// and no worker has an upstream, the pool is down; else it is a warning.
    func dialFailed(of server: Server, _ reason: CloseReason, _ error: String) {
        let text = server.names.isNamed ? "cannot connect to \(server.place): \(error)" : error
        let key = RateLimiter.Key(
            event: Outage.connectFailed, pool: config.name, reason: reason.word)
        guard server === primary, server.hasNone,
            let begun = group.warnings.begin(key, error: error, now: worker.now.nanoseconds)
        else {
            warnLimit(key.event, reason: key.reason, text, error: error)
            return
        }
        begun.before.forEach(log)
        logDown(begun.outage, "no upstream connection is left")
    }

    private func logDown(_ outage: Outage, _ text: String) {
        let waiting = use.waiting
        worker.log.error(
            "\(text)",
            metadata: numbers(of: outage).merging([
                "event": "pool.down", "err": "\(outage.error)", "waiting": "\(waiting)",
            ]) { $1 })
    }

    /// A worker of the pool has an upstream. Logged if that ends an outage.
    func logUp() {
        guard let ended = group.warnings.end() else { return }
        ended.before.forEach(log)
        worker.log.notice(
            "connected again",
            metadata: numbers(of: ended.outage).merging(["event": "pool.up"]) { $1 })
    }

    private func numbers(of outage: Outage) -> Logger.Metadata {
        [
            "pool": "\(config.name)", "upstream": "\(primary.place)",
            "down_ms": "\(outage.milliseconds(now: worker.now.nanoseconds))",
            "clients": "\(use.clients)", "closed": "\(outage.closed)",
            "dial_failures": "\(outage.dialFailures)", "refused": "\(outage.refused)",
            "left": "\(outage.left)",
        ]
    }
}
