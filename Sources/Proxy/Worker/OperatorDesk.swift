// The main thread's side of an operator's commands: sends them to the workers, collects their
// answers, and says what came of it.

package import EventLoop
import Pool

/// What an operator wants. Ids are those that the console shows.
package enum OperatorRequest: Equatable, Sendable {
    /// For `length` nanoseconds at most.
    case pause(pool: String, length: Int64, closesHolders: Bool)
    case resume(pool: String)
    case reconnect(pool: String)
    case killClient(UInt64)
    case killUpstream(UInt64)
}

/// What came of it, in words: a status, or an error that begins with its code.
package enum OperatorResult: Equatable, Sendable {
    case done(String)
    case failed(String)
}

/// Not Sendable: used on the thread of its loop.
package final class OperatorDesk {
    /// A request that is not answered yet.
    private struct Job {
        let request: OperatorRequest
        var missing: Set<Int>
        var answers: [OperatorAnswer] = []
        let deadline: Int64
        /// Set while a PAUSE that has failed is taken back.
        var result: OperatorResult?
        let done: (OperatorResult) -> Void
    }

    private let group: WorkerGroup
    private let box: Mailbox<OperatorMail>
    private var jobs: [UInt64: Job] = [:]
    private var lastToken: UInt64 = 0
    private var watch: [Watch] = []

    /// How long a worker may take to answer, in nanoseconds.
    package static let patience: Int64 = 500_000_000
    /// The longest pause, in nanoseconds: an hour.
    package static let longestPause: Int64 = 3_600_000_000_000

    /// An array cannot hold a non-copyable watch; it can hold this box.
    private final class Watch {
        let mail: DescriptorWatch
        let timer: Timer

        init(_ desk: OperatorDesk, _ loop: EventLoop) {
            let owner = Unmanaged.passUnretained(desk).toOpaque()
            mail = DescriptorWatch(
                descriptor: desk.box.wakeup.descriptor, loop: loop, owner: owner,
                callback: deskMail)
            timer = Timer(loop: loop, owner: owner, callback: deskTimer)
        }
    }

    /// Nil when the system has no descriptors left.
    package init?(loop: EventLoop, group: WorkerGroup) {
        guard let box = Mailbox<OperatorMail>() else { return nil }
        self.group = group
        self.box = box
        watch = [Watch(self, loop)]
    }

    /// Carries out a request. Calls `done` once, on this loop and never before this call returns:
    /// when all workers have answered, or when their time is over. The configuration must have the
    /// pool.
    package func carryOut(_ request: OperatorRequest, _ done: @escaping (OperatorResult) -> Void) {
        let now = EventLoop.now()
        if let pool = request.pausedPool, isBeingPaused(pool) {
            let text = "BUSY another PAUSE of pool \(pool) is not answered yet"
            add(
                Job(
                    request: request, missing: [], deadline: now, result: .failed(text),
                    done: done))
            return
        }
        var deadline = now + OperatorDesk.patience
        let command: OperatorCommand
        switch request {
        case .pause(let pool, let length, let closesHolders):
            let until = now + min(max(0, length), OperatorDesk.longestPause)
            // Then each worker has ended its halt by itself.
            deadline += until - now
            command = .pause(
                pool: pool, until: MonotonicTime(nanoseconds: until),
                closesHolders: closesHolders)
        case .resume(let pool): command = .resume(pool: pool)
        case .reconnect(let pool): command = .reconnect(pool: pool)
        case .killClient(let serial): command = .killClient(serial)
        case .killUpstream(let serial): command = .killUpstream(serial)
        }
        let workers = workers(of: request.pool)
        send(
            command, to: workers,
            Job(request: request, missing: Set(workers), deadline: deadline, done: done))
    }

    /// The workers that serve the pool; all if there is no such pool, for example any more.
    private func workers(of pool: String?) -> [Int] {
        let members = pool.map { group.members(of: $0) } ?? []
        return members.isEmpty ? Array(0..<group.workers) : members
    }

    private func isBeingPaused(_ pool: String) -> Bool {
        jobs.values.contains { $0.request.pausedPool == pool }
    }

    private func send(_ command: OperatorCommand, to workers: [Int], _ job: Job) {
        add(job)
        for worker in workers {
            group.mailboxes[worker].post(.operate(command, token: lastToken, to: box))
        }
    }

    /// Keeps a job until it is answered, at its deadline at the latest.
    private func add(_ job: Job) {
        lastToken += 1
        jobs[lastToken] = job
        startTimer()
    }

    private func startTimer() {
        guard let first = jobs.values.map(\.deadline).min() else { return }
        watch.first?.timer.start(at: first)
    }

    fileprivate func readMail() {
        for mail in box.takeAll() {
            guard jobs[mail.token]?.missing.remove(mail.worker) != nil else { continue }
            jobs[mail.token]?.answers.append(mail.answer)
            // One halt that is over ends the others.
            var isOver = jobs[mail.token]?.missing.isEmpty == true
            if case .ended = mail.answer { isOver = true }
            if isOver { finish(mail.token) }
        }
    }

    fileprivate func timeIsOver() {
        let now = EventLoop.now()
        for (token, job) in jobs where job.deadline <= now { finish(token) }
        startTimer()
    }

    private func finish(_ token: UInt64) {
        guard let job = jobs.removeValue(forKey: token) else { return }
        if let result = job.result {
            job.done(result)
            return
        }
        let silent = job.missing.sorted()
        let result = job.request.result(of: job.answers, silent: silent)
        guard case .pause(let pool, _, _) = job.request, case .failed = result else {
            job.done(result)
            return
        }
        // Before the answer no worker is halted any more, but for one that does not answer. That
        // finds a halt whose time is over, or this.
        let workers = workers(of: pool)
        send(
            .resume(pool: pool), to: workers,
            Job(
                request: job.request, missing: Set(workers),
                deadline: EventLoop.now() + OperatorDesk.patience, result: result,
                done: job.done))
    }
}

extension OperatorRequest {
    /// The pool that it concerns; nil for one that concerns any worker.
    var pool: String? {
        switch self {
        case .pause(let pool, _, _), .resume(let pool), .reconnect(let pool): pool
        case .killClient, .killUpstream: nil
        }
    }

    fileprivate var pausedPool: String? {
        if case .pause(let pool, _, _) = self { pool } else { nil }
    }

    /// What the answers of the workers come to; `silent` have not answered.
    func result(of answers: [OperatorAnswer], silent: [Int]) -> OperatorResult {
        let names = silent.map(String.init).joined(separator: " ")
        let silence = silent.isEmpty ? "" : ", no answer from worker \(names)"
        var sum = 0
        for case .done(let count) in answers { sum += count }
        switch self {
        case .pause(let pool, let length, _):
            return pauseResult(pool, length, answers, silent.isEmpty ? "" : silence)
        case .resume(let pool):
            return sum > 0
                ? .done("OK\(silence)") : .failed("NOTPAUSED pool \(pool) is not paused\(silence)")
        case .reconnect:
            let upstreams = sum == 1 ? "1 upstream retires" : "\(sum) upstreams retire"
            return .done("OK \(upstreams) when free\(silence)")
        case .killClient(let serial):
            return sum > 0 ? .done("OK") : .failed("ERR no client has the id \(serial)\(silence)")
        case .killUpstream(let serial):
            return sum > 0 ? .done("OK") : .failed("ERR no upstream has the id \(serial)\(silence)")
        }
    }

    private func pauseResult(
        _ pool: String, _ length: Int64, _ answers: [OperatorAnswer], _ silence: String
    ) -> OperatorResult {
        var uses = UpstreamUses()
        var end: HaltEnd?
        for answer in answers {
            switch answer {
            case .quiet(let more): uses.add(more)
            case .ended(let reason, let more):
                uses.add(more)
                // RESUME ends the halts of all workers.
                if end != .resumed { end = reason }
            case .done: break
            }
        }
        if end == nil, silence.isEmpty {
            let held = uses.heldText
            return .done(held.isEmpty ? "OK" : "OK \(held)")
        }
        let busy = uses.busyText.isEmpty ? "" : ", \(uses.busyText)"
        if end == .resumed {
            return .failed("RESUMED pool \(pool) was resumed before it was quiet\(busy)")
        }
        return .failed(
            "TIMEOUT pool \(pool) was not quiet within \(length / 1_000_000)ms and has resumed"
                + busy + silence)
    }
}

private func deskMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<OperatorDesk>.fromOpaque(owner).takeUnretainedValue().readMail()
}

private func deskTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<OperatorDesk>.fromOpaque(owner).takeUnretainedValue().timeIsOver()
}
