// What the console needs of the daemon.

package import Config
package import EventLoop
package import Logging
package import Proxy
package import Telemetry

/// A connection to the console that another program may answer.
package struct ConsoleCaller {
    package let descriptor: Int32
    package let isRESP3: Bool
    /// What has been read behind the command.
    package let input: [UInt8]

    package init(descriptor: Int32, isRESP3: Bool, input: [UInt8]) {
        self.descriptor = descriptor
        self.isRESP3 = isRESP3
        self.input = input
    }
}

/// The daemon as the console sees it. All of it belongs to the main thread.
package final class ConsoleHost {
    package let loop: EventLoop
    package let group: WorkerGroup
    package let collector: ReportCollector
    package let desk: OperatorDesk
    package let log: Logger
    package let logControl: LogControl
    package let version: String
    /// The limit on clients that is in force.
    package internal(set) var maxClients: Int
    /// The configuration in force, and the text that it was made of.
    package internal(set) var config: Config
    package internal(set) var source: ConfigSource
    /// The changes in the file that only a restart would apply, by the keys of SHOW CONFIG.
    package var pending: () -> [String: ConfigChange] = { [:] }
    /// What became of the last reload.
    package var lastReload: () -> ReloadState.Outcome = { .none }
    /// Reads the configuration again. Calls back with what has changed and waits for a restart, or,
    /// with `false`, with all problems.
    package var reload: (@escaping (_ isDone: Bool, _ messages: [String]) -> Void) -> Void = {
        $0(false, ["there is no reload"])
    }
    /// Has another program take over, with `true` also if that closes clients. Calls back if
    /// it does not, with the reason; else the other program answers the caller.
    package var upgrade: (_ cuts: Bool, ConsoleCaller, @escaping (String) -> Void) -> Void = {
        $2("there is no upgrade")
    }
    /// Begins a drain; with `true` ends the process at once.
    package var shutDown: (_ now: Bool) -> Void = { _ in }
    package var isDraining: () -> Bool = { false }
    /// What is known of the Sentinels of a pool; nil for a pool without.
    package var sentinels: (_ pool: String) -> SentinelReport? = { _ in nil }
    /// What is known of the cluster of a pool; nil for a pool without.
    package var clusters: (_ pool: String) -> ClusterReport? = { _ in nil }
    /// Nil until the daemon has made it.
    package var metrics: MetricsCenter?
    package let lostLines: () -> UInt64
    /// When the process began, in nanoseconds of `CLOCK_MONOTONIC`.
    package var startedAt = EventLoop.now()
    /// How often another program has taken over since.
    package var upgrades = 0

    package init(
        loop: EventLoop, group: WorkerGroup, collector: ReportCollector, desk: OperatorDesk,
        log: Logger, logControl: LogControl, version: String, maxClients: Int, config: Config,
        source: ConfigSource, lostLines: @escaping () -> UInt64
    ) {
        self.loop = loop
        self.group = group
        self.collector = collector
        self.desk = desk
        self.log = log
        self.logControl = logControl
        self.version = version
        self.maxClients = maxClients
        self.config = config
        self.source = source
        self.lostLines = lostLines
    }

    /// Nanoseconds since the process began.
    package var uptime: Int64 { EventLoop.now() - startedAt }
}
