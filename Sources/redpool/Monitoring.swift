// The numbers of the process on the main thread, and the HTTP endpoints that show them. The console
// shows them too.

import Admin
import Config
import EventLoop
import Glibc
import HandOver
import Logging
import Proxy
import Telemetry

final class Monitoring {
    /// Nil where nobody would ask.
    private(set) var center: MetricsCenter?
    /// Adds what the daemon knows of itself.
    var describe: (inout ProcessFacts) -> Void = { _ in }
    /// What is known of the Sentinels of a pool; nil for a pool without.
    var sentinels: (_ pool: String) -> SentinelReport? = { _ in nil }
    /// What is known of the cluster of a pool; nil for a pool without.
    var clusters: (_ pool: String) -> ClusterReport? = { _ in nil }
    /// The pools of the configuration in force.
    var pools: [PoolConfig] { didSet { certificates = Monitoring.certificates(of: pools) } }
    private var certificates: [CertificateFacts]
    /// The last time that the configuration was read.
    var reload = ReloadFacts()

    /// The limit on clients that is in force.
    var maxClients: Int
    private let loop: EventLoop
    private let log: Logger
    /// When the process began, in nanoseconds since 1970.
    var startedAt = wallClock()
    private var front: HttpFront?
    private var sockets: [Int32] = []
    private var place: ListenAddress?
    private static let backlog: Int32 = 64
    private static let levels: [Logger.Level] = [
        .critical, .error, .warning, .notice, .info, .debug,
    ]

    /// Listens, if the configuration says where. If that fails, Redpool runs without.
    init?(
        _ settings: WorkerSettings, loop: EventLoop, group: WorkerGroup, log: Logger,
        hasConsole: Bool, adopted: [CarriedListener] = []
    ) {
        self.loop = loop
        self.log = log
        pools = settings.config.pools
        certificates = Monitoring.certificates(of: settings.config.pools)
        maxClients = settings.maxClients
        reload.at = startedAt
        let address = settings.config.http.listen
        guard hasConsole || address != nil,
            let collector = ReportCollector(loop: loop, group: group)
        else { return nil }
        let made = MetricsCenter(
            loop: loop, group: group, collector: collector,
            source: ProcessSource(
                pools: { [unowned self] in pools }, facts: { [unowned self] in facts },
                sentinels: { [unowned self] in sentinels($0) },
                clusters: { [unowned self] in clusters($0) }))
        center = made
        if let address { serve(made, at: address, adopted) }
    }

    /// The workers have started.
    func start() { center?.start() }

    /// The lines of the log, by level.
    static func lines(of sink: LogSink) -> [LogLines] {
        levels.map { level in
            let (written, lost) = sink.lines(of: level)
            return LogLines(level: "\(level)", written: written, lost: lost)
        }
    }

    private static func certificates(of pools: [PoolConfig]) -> [CertificateFacts] {
        pools.flatMap { pool in
            ((pool.upstreamTLS?.expiries ?? []) + (pool.listenTLS?.expiries ?? [])).map {
                CertificateFacts(pool: pool.name, key: $0.key, expiresAt: $0.at)
            }
        }
    }

    private var facts: ProcessFacts {
        var facts = ProcessFacts()
        facts.version = redpoolVersion
        facts.maxClients = maxClients
        facts.startedAt = startedAt
        facts.reload = reload
        facts.certificates = certificates
        describe(&facts)
        return facts
    }

    /// As it is handed over to another program.
    var carriedListeners: [CarriedListener] {
        guard let address = place else { return [] }
        return sockets.map {
            CarriedListener(
                descriptor: $0, purpose: .http, address: address.description, number: 0)
        }
    }

    private func serve(
        _ center: MetricsCenter, at address: ListenAddress, _ adopted: [CarriedListener]
    ) {
        guard case .tcp(let host, let port, _) = address else { return }
        place = address
        sockets = adopted.filter { $0.address == address.description }.map(\.descriptor)
        if sockets.isEmpty { sockets = bind(host, port, address) }
        if sockets.isEmpty { return }
        front = HttpFront(loop: loop, sockets: sockets, center: center)
        if front == nil { warn("no memory") }
    }

    /// None if one of them cannot be had.
    private func bind(_ host: String, _ port: UInt16, _ address: ListenAddress) -> [Int32] {
        var sockets: [Int32] = []
        for host in host == "*" ? ["0.0.0.0", "::"] : [host] {
            let socket =
                SocketAddress(numericHost: host, port: port)?.listen(backlog: Monitoring.backlog)
                ?? -EADDRNOTAVAIL
            guard socket >= 0 else {
                for other in sockets { close(other) }
                warn("cannot listen on \(address): \(System.errorText(-socket))")
                return []
            }
            sockets.append(socket)
        }
        return sockets
    }

    private func warn(_ cause: String) {
        log.warning(
            "http: \(cause); metrics are not served", metadata: ["event": "http.unavailable"])
    }
}
