// Warnings about a pool, merged with their like.

import Config
import Logging
import Pool
import Telemetry

extension PoolFront {
    /// A warning, or worse, that is merged with its like to one line per 10 seconds.
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

    static let desyncEvent = "upstream.desync"

    /// Replies that went to the wrong clients are the worst that a proxy can do.
    static func level(of event: String) -> Logger.Level {
        event == desyncEvent ? .critical : .warning
    }

    /// Warnings that were merged and whose burst is over get a last line with their number.
    func logHeldBack() {
        for summary in limiter.due(now: worker.now.nanoseconds) where summary.count > 0 {
            worker.log.log(
                level: PoolFront.level(of: summary.key.event), "the same again",
                metadata: [
                    "event": "\(summary.key.event)", "pool": "\(config.name)",
                    "reason": "\(summary.key.reason)", "count": "\(summary.count)",
                ])
        }
    }
}
