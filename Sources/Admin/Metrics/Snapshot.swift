// Everything that /metrics and the page show, as one value.

package import Pool
package import Proxy
import Telemetry

/// The process and its pools at one moment.
package struct Snapshot: Sendable {
    package var process = ProcessFacts()
    /// In the order of the configuration; behind them, those that a reload has removed.
    package var pools: [PoolView] = []
    package var workers: [WorkerView] = []
    /// Workers that have not answered; their numbers are the last that are known.
    package var silent: [Int] = []
    /// When it was taken, by the monotonic clock.
    package var at = MonotonicTime(nanoseconds: 0)

    package init() {}
}

/// What is known of the process.
package struct ProcessFacts: Sendable {
    package var version = ""
    /// All workers have started.
    package var isListening = true
    package var isDraining = false
    package var maxClients = 0
    /// In nanoseconds since 1970.
    package var startedAt: Int64 = 0
    /// Nil where the system does not tell.
    package var cpu: Int64?
    package var residentBytes: UInt64?
    package var openFiles: UInt64?
    package var maxFiles: UInt64?
    package var reload = ReloadFacts()
    /// Lines by level, and those of them that were lost.
    package var logLines: [LogLines] = []
    /// The files with certificates.
    package var certificates: [CertificateFacts] = []

    package init() {}
}

/// Lines of the log of one level.
package struct LogLines: Equatable, Sendable {
    package let level: String
    package let written: UInt64
    package let lost: UInt64

    package init(level: String, written: UInt64, lost: UInt64) {
        self.level = level
        self.written = written
        self.lost = lost
    }
}

/// A file with certificates that a pool uses.
package struct CertificateFacts: Equatable, Sendable {
    package let pool: String
    /// The key of the file.
    package let key: String
    /// When the first certificate of the file expires, in seconds since 1970.
    package let expiresAt: Int64

    package init(pool: String, key: String, expiresAt: Int64) {
        self.pool = pool
        self.key = key
        self.expiresAt = expiresAt
    }
}

/// The last time that the configuration was read.
package struct ReloadFacts: Equatable, Sendable {
    package var wasSuccessful = true
    /// When it was last read with success, in nanoseconds since 1970.
    package var at: Int64 = 0
    /// Something in it takes effect only with a restart.
    package var needsRestart = false

    package init() {}
}

/// A pool: its numbers, and what the main thread knows of it.
package struct PoolView: Sendable {
    package var metrics: PoolMetrics
    package var maxOpen = 0
    package var maxPinned = 0
    package var minIdle = 0
    /// Where its upstream is.
    package var upstream = ""
    /// Why it has no upstream; nil if it is up.
    package var outage: String?
    package var isPaused = false
    /// It has clients with TLS, or has had.
    package var hasListenTLS = false
    /// It speaks TLS to its server, or has.
    package var hasUpstreamTLS = false
    /// Sentinels name its primary; nil for a pool without.
    package var sentinels: SentinelReport?
    /// The cluster that it is in front of; nil for a pool without.
    package var cluster: ClusterReport?
    /// It is in the configuration.
    package var isConfigured = true

    package init(_ metrics: PoolMetrics) { self.metrics = metrics }

    package var name: String { metrics.pool }
    package var isUp: Bool { outage == nil }
}

/// A worker.
package struct WorkerView: Sendable {
    package let index: Int
    /// Processor time since the start, in nanoseconds.
    package let busy: Int64
    /// In nanoseconds.
    package let longestTurn: Int64

    package init(index: Int, busy: Int64, longestTurn: Int64) {
        self.index = index
        self.busy = busy
        self.longestTurn = longestTurn
    }
}
