// A worker reports to the main thread. What is long is told in slices of 2 ms with rests between
// them, in which clients are served. The first report makes all of this: a worker that is never
// asked has neither a timer nor a list.

import Config
import EventLoop
import Pool

/// The reports that a worker has yet to finish. They have slices by turns, so none is silent for
/// long.
final class Reporting {
    private unowned let worker: Worker
    private var jobs: [ReportJob] = []
    private var timer: Timer?

    /// A worker works on reports for at most this long at a time, in nanoseconds.
    static let slice: Int64 = 2_000_000
    /// Between two slices, clients are served for this long.
    private static let rest: Int64 = 1_000_000

    init(_ worker: Worker) {
        self.worker = worker
        timer = Timer(
            loop: worker.loop, owner: Unmanaged.passUnretained(self).toOpaque(),
            callback: reportingTimer)
    }

    /// Begins with a report. A short one is told at once.
    func begin(_ job: ReportJob) {
        jobs.append(job)
        if jobs.count == 1 { goOn() }
    }

    fileprivate func goOn() {
        worker.updateNow()
        guard !jobs.isEmpty else { return }
        let job = jobs.removeFirst()
        job.work(until: EventLoop.now() + Reporting.slice, worker)
        if !job.isDone { jobs.append(job) }
        if !jobs.isEmpty { timer?.start(after: Reporting.rest) }
    }
}

private func reportingTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Reporting>.fromOpaque(owner).takeUnretainedValue().goOn()
}

extension Worker {
    /// The main thread asks for a report.
    func report(_ kind: ReportKind, token: UInt64, to box: Mailbox<ReportPart>) {
        let job = ReportJob(token: token, box: box, worker: index)
        switch kind {
        case .pools:
            let found = pools.filter { $0.member != nil }.map(\.report)
            job.post(.pools(found), isLast: true)
            return
        case .memory:
            job.post(.memory(memory), isLast: true)
            return
        case .upstreams(let name):
            let meant = pools.filter { name == nil || $0.config.name == name }
            job.tellUpstreams(meant.flatMap { $0.allUpstreams })
        case .clients(let selection):
            job.tellClients(selection)
        case .subscriptions(let selection):
            let meant = pools.filter { selection.pool == nil || $0.config.name == selection.pool }
            job.tellSubscriptions(selection, meant.compactMap(\.subscriberDesk))
        case .metrics:
            job.post(.metrics(metrics), isLast: true)
            return
        case .errors(let name):
            job.post(.errors(errorRows(of: name)), isLast: true)
            return
        case .slowCommands(let name):
            job.post(.slowCommands(slowCommands(of: name)), isLast: true)
            return
        }
        let reporting = questions.reporting ?? Reporting(self)
        questions.reporting = reporting
        reporting.begin(job)
    }
}

/// A report in progress.
final class ReportJob {
    /// What is to be done yet. Clients: `searching` -> `clients`.
    private enum Stage {
        /// Ranks clients, from this slot on.
        case searching(ClientSelection, slot: Int)
        /// Tells of the clients that were found, from this one on.
        case clients(next: Int)
        case upstreams([UpstreamConnection], next: Int)
        /// Collects names of these desks, from this one of the first desk on.
        case collecting(SubscriptionSelection, [SubscriberDesk], next: Int)
        /// Tells of the names that were found, from this one on.
        case subscriptions(next: Int)
        case done
    }

    private struct Found {
        let rank: Int64
        let serial: UInt64
        let id: SlotID

        /// Its place is before that of the other one.
        func isBefore(_ other: Found) -> Bool {
            rank == other.rank ? serial < other.serial : rank > other.rank
        }
    }

    private let token: UInt64
    private let box: Mailbox<ReportPart>
    private let worker: Int
    private var stage = Stage.done
    private var found: [Found] = []
    private var names: [SubscriptionReport] = []

    init(token: UInt64, box: Mailbox<ReportPart>, worker: Int) {
        self.token = token
        self.box = box
        self.worker = worker
    }

    var isDone: Bool { if case .done = stage { true } else { false } }

    func tellUpstreams(_ upstreams: [UpstreamConnection]) { stage = .upstreams(upstreams, next: 0) }

    func tellClients(_ selection: ClientSelection) { stage = .searching(selection, slot: 0) }

    func tellSubscriptions(_ selection: SubscriptionSelection, _ desks: [SubscriberDesk]) {
        stage = .collecting(selection, desks, next: 0)
    }

    func post(_ report: Report, isLast: Bool) {
        box.post(ReportPart(token: token, worker: worker, report: report, isLast: isLast))
    }

    /// Goes on until it is done or the deadline has passed, and tells what there is by then. Each
    /// call makes some progress.
    func work(until deadline: Int64, _ worker: Worker) {
        if case .searching(let selection, let slot) = stage {
            search(selection, from: slot, until: deadline, worker)
        }
        if case .collecting(let selection, let desks, let next) = stage {
            collect(selection, desks, from: next, until: deadline)
        }
        switch stage {
        case .clients(let next): tellClients(from: next, until: deadline, worker)
        case .upstreams(let all, let next): tell(all, from: next, until: deadline)
        case .subscriptions(let next): tellSubscriptions(from: next, until: deadline)
        // The main thread sees that the worker is at work.
        case .searching: post(.clients([]), isLast: false)
        case .collecting: post(.subscriptions([]), isLast: false)
        case .done: break
        }
    }

    private func search(
        _ selection: ClientSelection, from first: Int, until deadline: Int64, _ worker: Worker
    ) {
        var slot = first
        repeat {
            guard slot < worker.clients.slots else {
                select(selection.limit)
                stage = .clients(next: 0)
                return
            }
            if let client = worker.clients.element(at: slot),
                selection.pool == nil || client.pool.config.name == selection.pool
            {
                let rank = selection.rank.map { client.rank(by: $0) } ?? 0
                found.append(Found(rank: rank, serial: client.serial, id: client.id))
                if found.count >= 4096, found.count / 2 >= selection.limit {
                    select(selection.limit)
                }
            }
            slot += 1
        } while EventLoop.now() < deadline
        stage = .searching(selection, slot: slot)
    }

    /// Keeps the first ones. Without a limit that is smaller, the main thread puts them in order.
    private func select(_ limit: Int) {
        guard found.count > limit else { return }
        found.sort { $0.isBefore($1) }
        found.removeLast(found.count - limit)
    }

    private func tellClients(from first: Int, until deadline: Int64, _ worker: Worker) {
        var next = first
        var reports: [ClientReport] = []
        while next < found.count {
            let place = found[next]
            next += 1
            // It may have left meanwhile.
            if let client = worker.clients[place.id] {
                reports.append(client.report(rank: place.rank))
            }
            if EventLoop.now() >= deadline { break }
        }
        let isLast = next >= found.count
        stage = isLast ? .done : .clients(next: next)
        post(.clients(reports), isLast: isLast)
    }

    private func collect(
        _ selection: SubscriptionSelection, _ desks: [SubscriberDesk], from first: Int,
        until deadline: Int64
    ) {
        var (desks, number) = (desks, first)
        repeat {
            guard let desk = desks.first else {
                selectNames(selection.limit)
                stage = .subscriptions(next: 0)
                return
            }
            guard number < desk.listingEnd else {
                desks.removeFirst()
                number = 0
                continue
            }
            if let name = desk.listing(number) { names.append(name) }
            if names.count >= ReportJob.mostSorted { selectNames(selection.limit) }
            number += 1
        } while EventLoop.now() < deadline
        stage = .collecting(selection, desks, next: number)
    }

    /// Names take long to sort. So many take a part of a slice; of more the main thread keeps the
    /// first ones.
    private static let mostSorted = 1024

    /// Keeps the first ones, if they are few.
    private func selectNames(_ limit: Int) {
        guard names.count > limit, limit <= ReportJob.mostSorted / 2 else { return }
        names.sort { $0.isBefore($1) }
        names.removeLast(names.count - limit)
    }

    private func tellSubscriptions(from first: Int, until deadline: Int64) {
        var next = first
        var reports: [SubscriptionReport] = []
        while next < names.count {
            reports.append(names[next])
            next += 1
            if EventLoop.now() >= deadline { break }
        }
        let isLast = next >= names.count
        stage = isLast ? .done : .subscriptions(next: next)
        post(.subscriptions(reports), isLast: isLast)
    }

    private func tell(_ all: [UpstreamConnection], from first: Int, until deadline: Int64) {
        var next = first
        var reports: [UpstreamReport] = []
        while next < all.count {
            if let report = all[next].report { reports.append(report) }
            next += 1
            if EventLoop.now() >= deadline { break }
        }
        let isLast = next >= all.count
        stage = isLast ? .done : .upstreams(all, next: next)
        post(.upstreams(reports), isLast: isLast)
    }
}
