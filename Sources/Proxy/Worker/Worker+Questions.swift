// Questions between workers. A worker asks all others and continues when the last one has answered
// or the deadline has passed. A worker that does not answer counts as having no such client.

import Config
import EventLoop
import Pool

/// A question from one worker to another. Pools are given by name.
package enum WorkerQuestion: Sendable {
    /// Carry out this order among your clients.
    case order(ClientOrder, pool: String)
    /// On which connection is this client blocked? That connection is not reused afterwards.
    case blocked(pool: String, serial: UInt64)
    /// Do you have this client? The answer is any connection.
    case exists(pool: String, serial: UInt64)
    /// Which connection can receive the tracking messages of another client for this one? The
    /// client gets an upstream of its own if it has none.
    case target(pool: String, serial: UInt64, tracker: UInt64)
    /// Announce your own commands to this client from now on. `of` is its worker's index in the
    /// pool.
    case monitoring(pool: String, client: UInt64, of: Int)
    /// What are the numbers of all your pools?
    case statistics
}

/// The answer to a `WorkerQuestion`.
package enum WorkerAnswer: Sendable {
    case listed(ListedClients)
    /// The number of clients closed.
    case killed(Int)
    /// The server's id of a connection; nil if there is none.
    case connection(Int64?)
    /// The connection on which a client is blocked; nil if there is none.
    case blocked(BlockedPlace?)
    case statistics(PoolStatisticsList)
}

/// A connection on which a client is blocked.
package struct BlockedPlace: Sendable {
    let node: NodeID
    /// The node's id of the connection.
    let serverID: Int64
}

/// Answers that are still outstanding.
struct Gathering {
    enum Purpose {
        /// The command at the head of this client's input waits for them.
        case client(SlotID)
        /// The CLIENT LIST or CLIENT KILL of this client.
        case order(SlotID)
        case statistics
    }

    let purpose: Purpose
    var missing: Set<Int>
    var answers: [WorkerAnswer] = []
    var deadline: MonotonicTime
    static let patience: Int64 = 500_000_000
}

extension Worker {
    /// Asks `others`. Calls `gathered` when they have answered.
    func ask(
        _ question: WorkerQuestion, _ others: [Int], for purpose: Gathering.Purpose,
        patience: Int64 = Gathering.patience
    ) {
        let token = gather(others, for: purpose, patience: patience)
        for other in others {
            group.mailboxes[other].post(
                .question(question, token: token, from: index))
        }
    }

    /// Registers a wait for the answers of these workers. Returns its token.
    func gather(_ others: [Int], for purpose: Gathering.Purpose, patience: Int64) -> UInt64 {
        questions.lastToken += 1
        switch purpose {
        case .client(let id): questions.tokens[id.raw] = questions.lastToken
        case .order, .statistics: break
        }
        questions.open[questions.lastToken] = Gathering(
            purpose: purpose, missing: Set(others), deadline: now + patience)
        return questions.lastToken
    }

    func answer(_ question: WorkerQuestion, token: UInt64, to asker: Int) {
        if case .target(let name, let serial, let tracker) = question,
            let client = pool(name)?.client(serial: serial)
        {
            order(client, for: tracker, token: token, at: asker)
            return
        }
        group.mailboxes[asker].post(.answer(answer(question), token: token, from: index))
    }

    private func answer(_ question: WorkerQuestion) -> WorkerAnswer {
        switch question {
        case .order(let order, let name):
            return pool(name)?.carryOut(order) ?? .connection(nil)
        case .blocked(let name, let serial):
            let upstream = pool(name)?.client(serial: serial)?.blockedUpstream
            // The next user of this connection could be unblocked by mistake.
            upstream?.spoil(.dirty)
            return .blocked(upstream?.blockedPlace)
        case .exists(let name, let serial):
            return .connection(pool(name)?.client(serial: serial) == nil ? nil : 0)
        case .target: return .connection(nil)
        case .monitoring(let name, let client, let member):
            pool(name)?.noteInFlight(for: SlotID(raw: client), at: member)
            return .connection(nil)
        case .statistics:
            var found: [String: PoolStatistics] = [:]
            for pool in pools { found[pool.config.name] = PoolStatistics(pool) }
            return .statistics(PoolStatisticsList(pools: found))
        }
    }

    func answered(_ answer: WorkerAnswer, token: UInt64, by other: Int) {
        guard questions.open[token]?.missing.remove(other) != nil else { return }
        questions.open[token]?.answers.append(answer)
        if questions.open[token]?.missing.isEmpty == true { gathered(token) }
    }

    /// Called with every tick: ends the waits whose deadline has passed.
    func endGatherings() {
        if questions.open.isEmpty { return }
        for (token, gathering) in questions.open
        where gathering.deadline <= now && !isHalted(gathering) {
            let workers = gathering.missing.sorted().map(String.init).joined(separator: " ")
            pools[0].warnLimit(
                "worker.silent", reason: "no_answer", "no answer from worker \(workers)")
            gathered(token)
        }
    }

    private func gathered(_ token: UInt64) {
        guard let gathering = questions.open.removeValue(forKey: token) else { return }
        switch gathering.purpose {
        case .statistics: logStatistics(with: gathering.answers)
        case .client(let id): give(gathering.answers, to: id, token)
        case .order(let id):
            orders.out -= 1
            guard let client = clients[id], client.mode == .gathering else { return }
            client.finishOrder(gathering.answers)
        }
    }

    /// What other workers say to this client may be about another server: it asks again.
    func askAgain(_ client: ClientConnection) {
        questions.answers[client.id.raw] = nil
        guard questions.tokens.removeValue(forKey: client.id.raw) != nil else { return }
        if client.mode == .gathering { client.gathered() }
    }

    private func give(_ answer: [WorkerAnswer], to id: SlotID, _ token: UInt64) {
        guard questions.tokens[id.raw] == token else { return }
        questions.tokens[id.raw] = nil
        guard let client = clients[id], client.mode == .gathering else { return }
        questions.answers[id.raw] = answer
        client.gathered()
    }
}

extension ClientConnection {
    /// The answers of the pool's other workers to `question`. Nil while they are being asked: then
    /// the command at the head of the input waits.
    func askOthers(_ question: WorkerQuestion) -> [WorkerAnswer]? {
        let others = pool.otherWorkers
        if others.isEmpty { return [] }
        if let answers = worker.questions.answers.removeValue(forKey: id.raw) { return answers }
        var patience = Gathering.patience
        switch question {
        // The target may have to wait for an upstream for as long as any client.
        case .target: patience += pool.config.poolTimeout
        default: break
        }
        worker.ask(question, others, for: .client(id), patience: patience)
        mode = .gathering
        return nil
    }

    /// The same for a target on this worker.
    func askForTarget(_ target: ClientConnection) -> Int64?? {
        if let answers = worker.questions.answers.removeValue(forKey: id.raw) {
            return .some(firstConnection(answers))
        }
        if let found = target.targetID(for: serial) { return found }
        let patience = Gathering.patience + pool.config.poolTimeout
        let token = worker.gather([worker.index], for: .client(id), patience: patience)
        mode = .gathering
        worker.order(target, for: serial, token: token, at: worker.index)
        return nil
    }

    /// As `askOthers`, but returns the connection that one of them knows.
    func otherConnection(_ question: WorkerQuestion) -> Int64?? {
        guard let answers = askOthers(question) else { return nil }
        return .some(firstConnection(answers))
    }

    private func firstConnection(_ answers: [WorkerAnswer]) -> Int64? {
        for case .connection(let id?) in answers { return id }
        return nil
    }

    /// The answers have come: the command at the head of the input is handled again.
    func gathered() {
        mode = .open
        worker.ready(self)
    }
}
