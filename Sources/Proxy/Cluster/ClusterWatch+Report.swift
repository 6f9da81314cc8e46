// What a `ClusterWatch` logs and reports.

import Config
import EventLoop
import Logging
import Pool
import Telemetry
import Topology

/// What is remembered of one node.
struct ClusterNote {
    /// Why it is down, or what it says in place of an answer.
    var error = ""
    /// When it has answered last, in nanoseconds since 1970.
    var heardAt: Int64 = 0
    /// Since when it is down; nil while it answers.
    var downSince: Int64?
    /// The log has said that it is down.
    var isTold = false
}

extension ClusterWatch {
    // MARK: Notes

    /// A node has answered.
    func noteAnswer(_ address: NodeAddress) {
        var note = notes[address] ?? ClusterNote()
        note.error = ""
        note.heardAt = wallClock()
        if note.isTold, let since = note.downSince {
            log.notice(
                "a node of the cluster is back",
                metadata: [
                    "event": "node.up", "pool": "\(config.name)", "node": "\(address)",
                    "down_ms": "\((EventLoop.now() - since) / 1_000_000)",
                ])
        }
        note.downSince = nil
        note.isTold = false
        notes[address] = note
    }

    /// A node cannot be asked. Only the first time in a row is logged, and that of a seed which is
    /// no node never: `cluster.unknown` is, if no other one answers.
    func noteDown(_ address: NodeAddress, _ text: String) {
        lastError = "\(address): \(text)"
        var note = notes[address] ?? ClusterNote()
        note.error = text
        note.downSince = note.downSince ?? EventLoop.now()
        let isNew = !note.isTold && isNode(address)
        note.isTold = note.isTold || isNew
        notes[address] = note
        if isNew { warn("node.down", "\(address)", "a node of the cluster is down", error: text) }
    }

    /// A node does not say what was asked.
    func noteError(_ address: NodeAddress, _ text: String) {
        lastError = text
        var note = notes[address] ?? ClusterNote()
        note.error = text
        note.heardAt = wallClock()
        notes[address] = note
        if isNode(address) {
            warn(
                "node.refused", "\(address)", "a node does not say what it knows of the cluster",
                error: text)
        }
    }

    private func isNode(_ address: NodeAddress) -> Bool {
        history.map?.nodes.contains { $0.address == address } ?? false
    }

    /// Drops what is known of addresses that are no nodes any more.
    func forgetNotes() {
        let known = Set(history.map?.nodes.map(\.address) ?? configured.addresses)
        guard notes.count > known.count else { return }
        notes = notes.filter { known.contains($0.key) || links[$0.key]?.isAsked == true }
    }

    // MARK: Log

    /// There is another map.
    func noteMap(_ map: SlotMap) {
        for move in history.take(map) {
            guard let from = move.from, let to = move.to else { continue }
            log.notice(
                "a replica has the slots of its primary",
                metadata: [
                    "event": "failover", "pool": "\(config.name)", "primary": "\(to.address)",
                    "old": "\(from.address)", "slots": "\(move.count)",
                ])
        }
        tellOfChanges()
    }

    private func tellOfChanges() {
        guard let map = history.map, let untold = history.takeUntold(now: EventLoop.now()) else {
            return
        }
        var fields: Logger.Metadata = [
            "event": "topology.changed", "pool": "\(config.name)", "version": "\(map.version)",
            "served": "\(map.served)", "nodes": "\(map.nodes.count)",
        ]
        if untold.slots > 0 { fields["slots"] = "\(untold.slots)" }
        if !untold.isFirst {
            if !untold.joined.isEmpty { fields["joined"] = "\(ClusterWatch.shown(untold.joined))" }
            if !untold.left.isEmpty { fields["left"] = "\(ClusterWatch.shown(untold.left))" }
        }
        let text =
            untold.isFirst ? "the cluster's map is known" : "the cluster's map is another one"
        if map.isWhole {
            log.info("\(text)", metadata: fields)
        } else {
            log.warning("\(text): slots have no owner", metadata: fields)
        }
    }

    private static func shown(_ addresses: [NodeAddress]) -> String {
        addresses.prefix(5).map(\.description).joined(separator: ", ")
            + (addresses.count > 5 ? ", ..." : "")
    }

    /// Nobody can say who serves which slot.
    func warnUnknown() {
        warn("cluster.unknown", "", "the cluster's map is not known", error: lastError)
    }

    /// Logs a warning. Repeated ones are merged into one line per 10 seconds.
    private func warn(_ event: String, _ node: String, _ text: String, error: String) {
        let key = RateLimiter.Key(event: event, pool: config.name, reason: node)
        let said = RateLimiter.Said(text, error: error)
        guard let count = limiter.record(key, said, now: EventLoop.now()) else { return }
        log(RateLimiter.Summary(key: key, count: count, last: said))
    }

    /// Logs what is due: merged warnings, and changes of the map.
    func logHeldBack() {
        for summary in limiter.due(now: EventLoop.now()) { log(summary) }
        tellOfChanges()
    }

    private func log(_ summary: RateLimiter.Summary) {
        var fields: Logger.Metadata = [
            "event": "\(summary.key.event)", "pool": "\(summary.key.pool)",
            "count": "\(summary.count)", "err": "\(summary.last.error)",
        ]
        if !summary.key.reason.isEmpty { fields["node"] = "\(summary.key.reason)" }
        log.warning("\(summary.last.text)", metadata: fields)
    }

    // MARK: Report

    /// What is known now.
    var report: ClusterReport {
        let names = configured.problems.map { name, text in
            text.map { "\(name): \($0)" } ?? "\(name): looking up"
        }
        guard let map = history.map else {
            return ClusterReport(
                version: 0, served: 0, changedAt: 0, changes: 0, failovers: 0,
                nodes: configured.addresses.map { row(of: $0) }, unknownNames: names,
                lastError: lastError)
        }
        let ranges = map.ranges
        let rows = zip(map.nodes, ranges).map { row(of: $0.address, $0, $1) }
        return ClusterReport(
            version: map.version, served: map.served, changedAt: history.changedAt,
            changes: history.changes, failovers: history.failovers, nodes: rows,
            unknownNames: names, lastError: lastError)
    }

    private func row(
        of address: NodeAddress, _ node: ClusterNode? = nil, _ ranges: [ClosedRange<UInt16>] = []
    ) -> ClusterRow {
        let note = notes[address]
        let primary = node?.primaryID.flatMap { id in
            history.map?.nodes.first { $0.id == id }?.address.description
        }
        let state: ClusterRow.State =
            note == nil ? .unasked : note?.error.isEmpty == true ? .up : .down
        return ClusterRow(
            address: "\(address)", id: node?.idText ?? "",
            isPrimary: node?.isPrimary ?? true, primary: primary,
            slots: ranges.reduce(0) { $0 + $1.count }, ranges: ClusterWatch.text(of: ranges),
            state: state, error: note?.error ?? "", heardAt: note?.heardAt ?? 0)
    }

    private static func text(of ranges: [ClosedRange<UInt16>]) -> String {
        let shown = ranges.prefix(8).map { range in
            range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
        }
        return shown.joined(separator: ",") + (ranges.count > 8 ? ",..." : "")
    }
}
