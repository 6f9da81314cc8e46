// Warnings about a pool. Repeated ones are merged.

import Config
import Logging
import Pool
import Telemetry

extension PoolFront {
    /// Logs a warning or critical message. Repeated ones are merged into one line per 10 seconds.
    func warnLimit(_ event: String, reason: String, _ text: String) {
        let key = RateLimiter.Key(event: event, pool: config.name, reason: reason)
        guard let count = limiter.record(key, now: worker.now.nanoseconds) else { return }
        worker.log.log(
            level: PoolFront.level(of: event), "\(text)",
            metadata: [
                "event": "\(event)", "pool": "\(config.name)", "reason": "\(reason)",
                "count": "\(count)",
            ])
    }

    /// A client gets an error of Redpool's own in place of a reply. `text` has the error's words and
    /// numbers; `reason` is a refusal's word, or `denied`.
    func warnRefused(_ reason: String, _ text: String) {
        warnLimit("client.refused", reason: reason, text)
    }

    static let desyncEvent = "upstream.desync"

    /// A desync is critical: replies have gone to the wrong clients.
    static func level(of event: String) -> Logger.Level {
        event == desyncEvent ? .critical : .warning
    }

    /// Logs a last line with the count of merged warnings whose burst is over.
    func logHeldBack() {
        for summary in limiter.due(now: worker.now.nanoseconds) where summary.count > 0 {
            worker.log.log(
                level: PoolFront.level(of: summary.key.event), "repeated since the last line",
                metadata: [
                    "event": "\(summary.key.event)", "pool": "\(config.name)",
                    "reason": "\(summary.key.reason)", "count": "\(summary.count)",
                ])
        }
    }
}
