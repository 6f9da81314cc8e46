// What a `SentinelWatch` logs and reports.

import Config
import EventLoop
import Logging
import Pool
import Telemetry
import Topology

/// What is remembered of one Sentinel.
struct SentinelNote {
    /// Why it is down, or names no primary.
    var error = ""
    /// Why it names no replicas.
    var replicaError = ""
    /// When it has answered last, in nanoseconds since 1970.
    var heardAt: Int64 = 0
    /// Since when it is down; nil while it is connected, and before the first attempt has ended.
    var downSince: Int64?
    /// It has been said that it names no primary.
    var isUnknowing = false
}

extension SentinelWatch {
    // MARK: Notes

    /// The connections to a Sentinel have ended, or could not be made. Only the first time in a row
    /// is logged.
    func noteLost(_ link: SentinelLink, _ text: String) {
        var note = notes[link.id] ?? SentinelNote()
        note.error = text
        let isNew = note.downSince == nil
        if isNew { note.downSince = EventLoop.now() }
        notes[link.id] = note
        if isNew { warn("sentinel.lost", link.address, "a Sentinel is not there", error: text) }
    }

    /// A Sentinel is connected.
    func noteBack(_ link: SentinelLink) {
        var note = notes[link.id] ?? SentinelNote()
        note.error = ""
        if let since = note.downSince {
            log.notice(
                "a Sentinel is back",
                metadata: [
                    "event": "sentinel.back", "pool": "\(config.name)",
                    "sentinel": "\(link.address)",
                    "down_ms": "\((EventLoop.now() - since) / 1_000_000)",
                ])
        }
        note.downSince = nil
        notes[link.id] = note
    }

    /// A Sentinel has answered. `problem` says why it names no primary.
    func noteAnswer(_ link: SentinelLink, problem: String?) {
        var note = notes[link.id] ?? SentinelNote()
        note.error = problem ?? ""
        note.heardAt = wallClock()
        let isNew = problem != nil && !note.isUnknowing
        note.isUnknowing = problem != nil
        notes[link.id] = note
        if isNew {
            warn(
                "sentinel.unknowing", link.address, "a Sentinel does not know the primary",
                error: problem ?? "")
        }
    }

    /// A Sentinel has answered, and names a primary. `problem` says why it names no replicas.
    func noteReplicas(_ link: SentinelLink, problem: String?) {
        let isNew = problem != nil && notes[link.id]?.replicaError.isEmpty == true
        notes[link.id]?.replicaError = problem ?? ""
        if isNew {
            warn(
                "sentinel.no_replicas", link.address, "a Sentinel does not name replicas",
                error: problem ?? "")
        }
    }

    /// Others are the primary's replicas.
    func tell(ofReplicas addresses: [NodeAddress]) {
        let names = addresses.map(\.description).joined(separator: " ")
        log.info(
            "the primary's replicas are known",
            metadata: [
                "event": "sentinel.replicas", "pool": "\(config.name)", "replicas": "\(names)",
            ])
    }

    /// A server does not let Redpool ask for its role.
    func noteRefusal(of node: NodeAddress, _ text: String) {
        warn("sentinel.role_refused", node, "a server does not say its role", error: text)
    }

    /// Drops what is known of Sentinels that are not watched any more.
    func forgetNotes() {
        let views = tracker.views
        guard notes.count > views.count else { return }
        let watched = Set(views.map(\.id))
        notes = notes.filter { watched.contains($0.key) }
    }

    // MARK: Log

    /// The primary is known for the first time, or is another one.
    func tell(of primary: SentinelPrimary, _ failover: SentinelFailover?) {
        var fields: Logger.Metadata = [
            "pool": "\(config.name)", "primary": "\(primary.node)", "epoch": "\(primary.epoch)",
        ]
        guard let failover else {
            fields["event"] = "sentinel.primary"
            return log.info("the primary is known", metadata: fields)
        }
        fields["event"] = "failover"
        fields["old"] = "\(failover.old)"
        fields["sign"] = "\(failover.sign.rawValue)"
        fields["ms"] = "\(failover.duration / 1_000_000)"
        log.notice("another server is the primary", metadata: fields)
    }

    /// Logs a warning about a Sentinel or a server. Repeated ones are merged into one line per 10
    /// seconds.
    private func warn(_ event: String, _ node: NodeAddress, _ text: String, error: String) {
        let key = RateLimiter.Key(event: event, pool: config.name, reason: "\(node)")
        let said = RateLimiter.Said(text, error: error)
        guard let count = limiter.record(key, said, now: EventLoop.now()) else { return }
        log(RateLimiter.Summary(key: key, count: count, last: said))
    }

    /// Logs merged warnings that are due.
    func logHeldBack() {
        for summary in limiter.due(now: EventLoop.now()) { log(summary) }
    }

    private func log(_ summary: RateLimiter.Summary) {
        let isServer = summary.key.event == "sentinel.role_refused"
        log.warning(
            "\(summary.last.text)",
            metadata: [
                "event": "\(summary.key.event)", "pool": "\(summary.key.pool)",
                isServer ? "upstream" : "sentinel": "\(summary.key.reason)",
                "count": "\(summary.count)", "err": "\(summary.last.error)",
                "connected": "\(tracker.connectedSentinels)",
            ])
    }

    // MARK: Report

    /// What is known now.
    var report: SentinelReport {
        let rows = tracker.views.map { view in
            let note = notes[view.id] ?? SentinelNote()
            let state: SentinelRow.State =
                view.isConnected ? .connected : links[view.id] == nil ? .down : .connecting
            return SentinelRow(
                address: "\(view.address)", isConfigured: view.isConfigured, state: state,
                claim: view.claim, error: note.error, replicaError: note.replicaError,
                heardAt: note.heardAt)
        }
        let unknown = configured.problems.map { name, text in
            SentinelRow(
                address: name, isConfigured: true, state: text == nil ? .connecting : .down,
                claim: nil, error: text ?? "", replicaError: "", heardAt: 0)
        }
        return SentinelReport(
            primaryName: source.primaryName, primary: history.primary,
            isVerified: tracker.isVerified, failovers: history.failovers,
            lastFailover: history.last,
            replicas: tracker.wantsReplicas ? tracker.replicas.map(\.description) : nil,
            sentinels: rows + unknown)
    }
}
