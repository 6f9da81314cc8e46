// A drain, and an operator's PAUSE, unblock the clients whose commands block: the server answers as
// if their time were over (CLIENT UNBLOCK TIMEOUT). A client gets what comes first, an element or
// nil, and no element is lost. An upgrade does the same for those that it recalls (`Recall`).
//
// CLIENT UNBLOCK for a connection whose command is delayed by a CLIENT PAUSE ends the server's
// process (Redis 6.2 to 8.0, Valkey 8: blocked.c, replyToBlockedClientTimedOut). So it is sent in a
// transaction behind a PUBLISH: a pause delays PUBLISH, and so EXEC. When EXEC runs, no command is
// delayed.

import Config
import Pool
import RESP
import Session

/// How far the unblocking of a server's clients is.
struct Unblocking {
    /// The state of the connection that carries it. Nil while no attempt is under way.
    var key: PoolKey?
    /// Its place in the wait queue; nil once it has the connection.
    var ticket: WaitTicket?
    /// The connections that have had an attempt since the last tick.
    var tried: Set<UpstreamID> = []
    /// How many attempts have failed. They alternate between the user of the blocked client and
    /// that of the pool: one of them may lack the right.
    var failures = 0
    /// `failures` when all blocked clients were last tried.
    private var lastFailures = 0
    /// The first error that the server has answered to this attempt with.
    var problem: String?
    /// The connections that the transaction unblocks, in its order, until EXEC is answered.
    var members: [UpstreamID] = []

    /// Whether an attempt has failed since the last call.
    mutating func hasFailedAgain() -> Bool {
        defer { lastFailures = failures }
        return failures != lastFailures
    }
}

/// Which of Redpool's commands a reply is for: the number of the expectation `unblocking`.
enum UnblockStep {
    static let begin: UInt32 = 0
    static let member: UInt32 = 1
    static let end: UInt32 = 2
}

extension Server {
    /// Unblocks all blocked clients. Called with every tick of a drain or a halt: a command may
    /// have reached the server only after the last attempt.
    func unblockAll() {
        unblocking.tried = []
        unblockNext()
    }

    /// Begins an attempt, if there is a client that has not had one since the last tick.
    func unblockNext() {
        guard unblocking.key == nil, releasesBlocked,
            let next = allUpstreams.first(where: {
                $0.mayBeUnblocked && !unblocking.tried.contains($0.id)
            })
        else { return }
        unblocking.tried.insert(next.id)
        var key = pool.warmKey
        if unblocking.failures % 2 == 0 { key.user = next.key.user }
        unblocking.key = key
        unblocking.problem = nil
        switch machine.leaseToRelease(key: key, for: OwnWaiter.unblocker.id, now: worker.now) {
        case .granted(let id): self[id]?.beginUnblocking()
        case .queued(let ticket): unblocking.ticket = ticket
        case .refused(let refusal): unblockFailed(refusalText(refusal))
        }
        noteWork()
    }

    /// Blocked clients are to be released.
    var releasesBlocked: Bool {
        if case .draining = worker.lifecycle { return true }
        return pool.isHalted || !worker.watched.leaving.isEmpty || (tls != nil && worker.recalls)
    }

    /// The attempt has failed. The next one comes with a later tick.
    func unblockFailed(_ text: String) {
        unblocking.failures += 1
        let event =
            worker.recalls
            ? "upgrade.blocked" : pool.isHalted ? "pause.blocked" : "drain.blocked"
        pool.warnLimit(event, reason: "refused", "cannot unblock clients: \(text)")
        endUnblocking()
    }

    /// Ends the attempt.
    func endUnblocking() {
        if let ticket = unblocking.ticket { machine.cancel(ticket) }
        unblocking.ticket = nil
        unblocking.key = nil
        settleMembers(nil)
    }

    /// The server has answered whom it has unblocked; nil if that is not known.
    fileprivate func settleMembers(_ verdicts: [Bool]?) {
        let members = unblocking.members
        unblocking.members = []
        for (place, id) in members.enumerated() { self[id]?.recallAnswered(verdicts?[place]) }
    }
}

extension UpstreamConnection {
    /// A client that is to be released is blocked here, and the server's id of this connection is
    /// known.
    fileprivate var mayBeUnblocked: Bool {
        guard stage == .ready, let sole, sole.isBlocking, !inFlight.isEmpty, sole.recall == nil,
            origin.serverID != nil, origin.departure == nil
        else { return false }
        guard isToLetGo else { return worker.recalls && isRecallable }
        switch sole.kind {
        case .exclusive, .held: return true
        case .cleaning, .piped, .asking, .unblocking, .hub, .gate, .abandoned: return false
        }
    }

    /// The client whose command blocks here gets what the server answers.
    private var isToLetGo: Bool { pool.isHalted || isUserLeaving }

    /// The client whose command blocks here is to leave.
    private var isUserLeaving: Bool {
        if let holder { return holder.isLeaving }
        var isLeaving = false
        inFlight.forEach { entry in
            if worker.clients[entry.client]?.isLeaving == true { isLeaving = true }
        }
        return isLeaving
    }

    /// The server's ids are those of one process. Another one may use them for others.
    fileprivate func isOnServer(of other: UpstreamConnection) -> Bool {
        if let mine = origin.runID, let its = other.origin.runID { return mine == its }
        return origin.epoch != nil && origin.epoch == other.origin.epoch
            && origin.address == other.origin.address && !server.processes.areSeveral
    }

    /// Begins the transaction. Its members follow when the server has accepted it.
    func beginUnblocking() {
        lendToUnblocking()
        server.unblocking.ticket = nil
        sendStep(["MULTI"], UnblockStep.begin)
    }

    private func sendStep(_ words: [String], _ step: UInt32) {
        var bytes: [UInt8] = []
        Encode.command(words, into: &bytes)
        expect(UpstreamConnection.nobody, .unblocking, bytes: bytes.count, value: step)
        sendOwn(bytes)
    }

    private func sendMembers() {
        sendStep(["PUBLISH", "redpool:wait", ""], UnblockStep.member)
        for target in server.allUpstreams where target.mayBeUnblocked && isOnServer(of: target) {
            guard server.releasesBlocked, let id = target.origin.serverID else { continue }
            server.unblocking.tried.insert(target.id)
            server.unblocking.members.append(target.id)
            if !target.isToLetGo { target.beginRecall() }
            sendStep(["CLIENT", "UNBLOCK", "\(id)", "TIMEOUT"], UnblockStep.member)
        }
        sendStep(["EXEC"], UnblockStep.end)
    }

    /// A reply to a command of the attempt is complete.
    func unblockReplied(_ reply: [UInt8], to step: UInt32) {
        if scanner.isError, server.unblocking.problem == nil {
            server.unblocking.problem = UpstreamConnection.errorText(of: reply)
        }
        switch step {
        case UnblockStep.begin where scanner.head.matches("OK"): sendMembers()
        case UnblockStep.begin: finishUnblocking(isClean: scanner.isError)
        case UnblockStep.end:
            let hasRun = scanner.type == UInt8(ascii: "*")
            let isRefused = scanner.head.starts(with: "EXECABORT ")
            let members = server.unblocking.members.count
            server.settleMembers(
                isRefused
                    ? Array(repeating: false, count: members)
                    : UpstreamConnection.verdicts(in: reply, of: members))
            finishUnblocking(isClean: hasRun || isRefused)
        default: break
        }
    }

    /// Which commands of the transaction have unblocked somebody, by EXEC's array: the first
    /// element is PUBLISH's. Nil if it is no such array.
    private static func verdicts(in reply: [UInt8], of members: Int) -> [Bool]? {
        var cursor = ReplyCursor(from: 0)
        guard let array = cursor.next(reply.span), array.type == UInt8(ascii: "*"),
            array.value == members + 1, cursor.next(reply.span) != nil
        else { return nil }
        var verdicts: [Bool] = []
        while let item = cursor.next(reply.span) {
            verdicts.append(item.type == UInt8(ascii: ":") && item.value == 1)
        }
        return verdicts.count == members ? verdicts : nil
    }

    private func finishUnblocking(isClean: Bool) {
        if !isClean { spoil(.dirty) }
        let problem = server.unblocking.problem
        takeBack()
        server.returned(self)
        if let problem {
            server.unblockFailed(problem)
        } else {
            server.endUnblocking()
            server.unblockNext()
        }
    }
}
