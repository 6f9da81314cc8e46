// Commands inside MULTI that change the connection when EXEC runs them, or whose result the client
// must not see as it is. EXEC's array is rewritten as it passes; see `ExecWalk`.

import Config
import Pool
import RESP
import Session

extension ClientConnection {
    /// Sends a command into the transaction, once it is certain that there is one.
    func queueMember(_ expectation: Expectation, _ value: UInt32, _ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if let plan = planWithoutTransaction(request.input.span, request.frame) {
            return carryOutHeld(plan, request)
        }
        if expectation == .stranger {
            return queueStranger(request)
        }
        let member = QueuedMember(
            Int(session.memberCount) - 1, expectation, value,
            CommandTable.words(request.input.span, request.frame),
            behind: session.members.last)
        // The element in EXEC's array could not be trusted, or there are too many members.
        if upstream?.sole?.isDoubtful == true || member.total > QueuedMember.most {
            if expectation == .pause || expectation == .unpause {
                return sendHeld(.plain, 0, request.bytes)
            }
            session.takeMembers()
            if session.replyMode == .on { return becomePipe() }
            upstream?.taint()
            return sendHeld(.plain, 0, request.bytes)
        }
        if expectation == .monitor, !isWatching() { return .blocked }
        upstream?.noteQueued()
        session.queued(member)
        return sendHeld(.plain, 0, request.bytes)
    }

    /// A command in a transaction whose effects cannot be followed, while CLIENT REPLY hides its
    /// reply. The upstream is not used again, and no reply there is trusted. The command is sent
    /// only if the end of EXEC's array can still be found.
    func queueSilently(_ request: Request) -> Outcome {
        guard let upstream else { return .answered }
        let isAnswering = server.facts.isBefore72 && upstream.isOfThisServer
        switch (lastCommand, worker.table.commandClass(lastCommand)) {
        case (.auth, _) where isAnswering, (.clientTracking, _):
            upstream.taint()
            return sendHeld(.plain, 0, request.bytes)
        case (.hello, _):
            let words = CommandTable.words(request.input.span, request.frame)
            // From Redis 7.2 on a refused login adds no element to the array (`addAuthErrReply`).
            guard isAnswering || PendingLogin(hello: words).user == nil else { break }
            upstream.taint()
            // The protocol version decides which bytes are a reply and which a push.
            let version = words.count > 1 ? Word.integer(words[1], in: 2...3) : nil
            return queueMember(.hello, UInt32(version ?? 0), request)
        // Their replies are not elements of the array.
        case (_, .pinSubscribe), (_, .unsubscribe), (_, .local): break
        case _ where upstream.canFence && session.members.isEmpty:
            upstream.taint()
            upstream.noteDoubt()
            return sendHeld(.plain, 0, request.bytes)
        default: break
        }
        closeAfterFlush(.upstream_lost)
        return .answered
    }

    /// Sends an unknown name. The server's reply says whether it is a command.
    private func queueStranger(_ request: Request) -> Outcome {
        let name = UnknownName(request.frame, in: request.input.span, table: worker.table)
        switch pool.kind(of: name) {
        case .denied: return refuseCommand()
        case .impossible: return refuseSubcommand(request.input.span, request.frame)
        case .known(.stranger): return sendHeld(.plain, 0, request.bytes)
        case .known(.module): return sendDoubtful(.plain, 0, request.bytes)
        case .toAsk where name.isAboutOneHop:
            return refuseSubcommand(request.input.span, request.frame)
        case .known, .unclear, .toAsk: break
        }
        if session.replyMode != .on { return pipeHeld(request) }
        let outcome = sendHeld(.stranger, name.isSubcommand ? 1 : 0, request.bytes)
        mode = .barrier
        return outcome
    }

    /// The server has queued an unknown command, which may do anything when EXEC runs it: the
    /// client gets a pipe.
    func pipeStranger() {
        guard session.takeQueuedStranger() else { return }
        guard mode == .open, isHolding else { return }
        if pool.isRouted { taintTransaction() } else { _ = becomePipe() }
    }

    /// EXEC of a transaction with remembered members. The next command waits for its reply, because
    /// it may be for another user or database.
    func execMembers(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        let outcome = sendHeld(.execWalked, session.memberCount, bytes)
        mode = .barrier
        return outcome
    }

    /// In RESP3 CLIENT REPLY hides no message. Up to Redis 6.2 a message can stand among the
    /// elements of EXEC's array.
    var hearsInSilence: Bool {
        session.replyMode != .on && key.protocolVersion == 3 && upstream?.hold?.isListening == true
    }

    /// EXEC has run this member.
    func take(_ member: QueuedMember, _ meaning: Meaning, over upstream: UpstreamID) {
        if isOfNobody(member) {
            // What HELLO has done to the protocol cannot be taken back.
            if member.expectation == .hello { close(.user_removed) }
            return
        }
        release(session.take(member, meaning, over: upstream))
        countKept()
    }

    /// The member is a login to Redpool as a user that has been removed since.
    private func isOfNobody(_ member: QueuedMember) -> Bool {
        let isLogin = member.expectation == .judged && member.words.count > 1
        guard let user = isLogin ? member.words[1] : member.login.first else { return false }
        return pool.config.clientUsers?.has(user) != true
    }

    /// The value that the client gets in place of `element`.
    func see(_ member: QueuedMember, _ element: [UInt8]) -> [UInt8] {
        switch member.expectation {
        case .rewriteList:
            return listInTransaction(ListFilter(member.words), element) ?? element
        case .hello:
            return HelloReply.replacingID(element, self)
        case .judged:
            return isOfNobody(member) ? LoginJudgement.wrongPassword : member.words.first ?? element
        default:
            return ownValue(member.expectation, element) ?? element
        }
    }
}

extension UpstreamConnection {
    /// The server has queued a subcommand that is in no table. Its effects end with the hold, and a
    /// fence follows EXEC.
    func queuedSubcommand() {
        noteDoubt()
        spoil(.notUnderstood)
    }
}
