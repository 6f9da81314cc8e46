// The main thread asks workers for reports and collects what they answer. A worker that hangs holds
// up an answer for half a second; then the answer says that this worker is silent.

package import EventLoop
import Pool

/// What workers have answered.
package struct CollectedReports: Sendable {
    /// In the order in which they came.
    package internal(set) var reports: [Report] = []
    /// The workers that have not answered, or not to the end, in order.
    package internal(set) var silent: [Int] = []

    package init(reports: [Report] = [], silent: [Int] = []) {
        self.reports = reports
        self.silent = silent
    }

    /// The reports of pools, those of different workers added, in order of appearance.
    package var pools: [PoolReport] {
        var found: [PoolReport] = []
        for case .pools(let pools) in reports {
            for pool in pools {
                if let index = found.firstIndex(where: { $0.pool == pool.pool }) {
                    found[index].add(pool)
                } else {
                    found.append(pool)
                }
            }
        }
        return found
    }

    package var upstreams: [UpstreamReport] {
        var found: [UpstreamReport] = []
        for case .upstreams(let upstreams) in reports { found += upstreams }
        return found.sorted { $0.id < $1.id }
    }

    /// The names that `selection` means, in its order.
    package func subscriptions(_ selection: SubscriptionSelection) -> [SubscriptionReport] {
        var found: [SubscriptionReport] = []
        for case .subscriptions(let names) in reports { found += names }
        found.sort { $0.isBefore($1) }
        if found.count > selection.limit { found.removeLast(found.count - selection.limit) }
        return found
    }

    /// What has gone wrong, the latest first.
    package var errors: [ErrorRow] {
        var found: [ErrorRow] = []
        for case .errors(let rows) in reports { found += rows }
        return ErrorRow.merged(found)
    }

    /// The commands that took long, the latest first.
    package var slowCommands: [SlowCommand] {
        var found: [SlowCommand] = []
        for case .slowCommands(let commands) in reports { found += commands }
        return found.sorted { $0.at > $1.at }
    }

    /// The clients that `selection` means, in its order.
    package func clients(_ selection: ClientSelection) -> [ClientReport] {
        var places: [ClientPlace] = []
        for (part, report) in reports.enumerated() {
            guard case .clients(let clients) = report else { continue }
            for (index, client) in clients.enumerated() {
                places.append(
                    ClientPlace(rank: client.rank, id: client.id, part: part, index: index))
            }
        }
        places.sort { $0.isBefore($1) }
        return places.prefix(selection.limit).compactMap { place in
            guard case .clients(let clients) = reports[place.part] else { return nil }
            return clients[place.index]
        }
    }
}

/// Where the report of a client is. To sort these is a tenth of the work of sorting the reports.
private struct ClientPlace {
    let rank: Int64
    let id: UInt64
    let part: Int
    let index: Int

    func isBefore(_ other: ClientPlace) -> Bool {
        rank == other.rank ? id < other.id : rank > other.rank
    }
}

/// Asks workers, on the loop of the main thread.
package final class ReportCollector {
    private struct Pending {
        var collection = CollectedReports()
        /// When a worker counts as silent, unless something comes from it before.
        var deadlines: [Int: Int64]
        let finish: (CollectedReports) -> Void
    }

    private let loop: EventLoop
    private let group: WorkerGroup
    private let mailbox: Mailbox<ReportPart>
    private var watch: DescriptorWatch?
    private var timer: Timer?
    private var pending: [UInt64: Pending] = [:]
    private var lastToken: UInt64 = 0
    /// A worker that says nothing for this long is silent, in nanoseconds.
    package static let patience: Int64 = 500_000_000

    /// Nil when no descriptor is left.
    package init?(loop: EventLoop, group: WorkerGroup) {
        guard let mailbox = Mailbox<ReportPart>() else { return nil }
        self.loop = loop
        self.group = group
        self.mailbox = mailbox
        let me = Unmanaged.passUnretained(self).toOpaque()
        watch = DescriptorWatch(
            descriptor: mailbox.wakeup.descriptor, loop: loop, owner: me, callback: collectorMail)
        timer = Timer(loop: loop, owner: me, callback: collectorTimer)
    }

    /// Asks all workers. Calls `finish` once, on this loop and never before this call returns, when
    /// all have answered or are silent.
    package func collect(_ kind: ReportKind, finish: @escaping (CollectedReports) -> Void) {
        lastToken += 1
        let deadline = EventLoop.now() + ReportCollector.patience
        var deadlines: [Int: Int64] = [:]
        for worker in 0..<group.workers { deadlines[worker] = deadline }
        pending[lastToken] = Pending(deadlines: deadlines, finish: finish)
        for mailbox in group.mailboxes {
            mailbox.post(.report(kind, token: lastToken, to: self.mailbox))
        }
        armTimer()
    }

    fileprivate func readMail() {
        var finished: [UInt64] = []
        for part in mailbox.takeAll() {
            // What comes too late is dropped.
            guard pending[part.token]?.deadlines[part.worker] != nil else { continue }
            pending[part.token]?.collection.reports.append(part.report)
            let next = part.isLast ? nil : EventLoop.now() + ReportCollector.patience
            pending[part.token]?.deadlines[part.worker] = next
            if pending[part.token]?.deadlines.isEmpty == true { finished.append(part.token) }
        }
        for token in finished { finish(token) }
    }

    fileprivate func lookForSilence() {
        let now = EventLoop.now()
        for (token, wait) in pending {
            let silent = wait.deadlines.filter { $0.value <= now }.map(\.key)
            if silent.isEmpty { continue }
            pending[token]?.collection.silent += silent
            for worker in silent { pending[token]?.deadlines[worker] = nil }
            if pending[token]?.deadlines.isEmpty == true { finish(token) }
        }
        armTimer()
    }

    private func finish(_ token: UInt64) {
        guard var done = pending.removeValue(forKey: token) else { return }
        done.collection.silent.sort()
        done.finish(done.collection)
    }

    private func armTimer() {
        let deadlines = pending.values.flatMap(\.deadlines.values)
        if let earliest = deadlines.min() { timer?.start(at: earliest) }
    }
}

private func collectorMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ReportCollector>.fromOpaque(owner).takeUnretainedValue().readMail()
}

private func collectorTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ReportCollector>.fromOpaque(owner).takeUnretainedValue().lookForSilence()
}
