// Commands in an open transaction that change the connection when EXEC runs them, or whose element
// of EXEC's array is not what the client should see. The server's array is walked as it passes, see
// `ExecWalk`.

import Pool
import RESP
import Session

/// A member of a transaction whose element is looked at.
struct QueuedMember {
    /// Its place in EXEC's array.
    let index: Int
    let expectation: Expectation
    /// Belongs to the expectation.
    let value: UInt32
    /// The command itself, where it says what the element means.
    let words: [[UInt8]]
    /// Bytes that this member and those before it take.
    var total = 0

    /// What is not kept in full takes the connection as it is.
    static let most = 256 << 10

    init(
        _ index: Int, _ expectation: Expectation, _ value: UInt32, _ words: [[UInt8]],
        behind last: QueuedMember?
    ) {
        self.index = index
        self.expectation = expectation
        self.value = value
        switch expectation {
        case .mirrorName, .mirrorInfo, .rewriteList: self.words = words
        default: self.words = []
        }
        let own = self.words.reduce(MemoryLayout<QueuedMember>.stride) { $0 + $1.count + 48 }
        total = own + (last?.total ?? 0)
    }
}

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
            behind: members.last)
        // What EXEC's array says of this member could not be believed, or there are too many.
        if upstream?.sole?.isDoubtful == true || member.total > QueuedMember.most {
            if expectation == .pause || expectation == .unpause {
                return sendHeld(.plain, 0, request.bytes)
            }
            members = []
            if session.replyMode == .on { return becomePipe() }
            upstream?.taint()
            return sendHeld(.plain, 0, request.bytes)
        }
        if expectation == .monitor, !isWatching() { return .blocked }
        upstream?.noteQueued()
        members.append(member)
        return sendHeld(.plain, 0, request.bytes)
    }

    /// A command in a transaction whose effects cannot be followed, and whose answer nobody gets.
    /// The connection is not used again, and nothing that is answered there is believed. It is sent
    /// only if it is known, or shows, where EXEC's array ends.
    func queueSilently(_ request: Request) -> Outcome {
        guard let upstream else { return .answered }
        let isAnswering = server.facts.isBefore72 && upstream.isOfThisServer
        switch (lastCommand, worker.table.commandClass(lastCommand)) {
        case (.auth, _) where isAnswering, (.clientTracking, _):
            upstream.taint()
            return sendHeld(.plain, 0, request.bytes)
        case (.hello, _):
            let words = CommandTable.words(request.input.span, request.frame)
            // A refused login leaves no element in the array from Redis 7.2 on (`addAuthErrReply`).
            guard isAnswering || PendingLogin(hello: words).user == nil else { break }
            upstream.taint()
            // What is a reply on this connection, and what a message, depends on the protocol.
            let version = words.count > 1 ? Word.integer(words[1], in: 2...3) : nil
            return queueMember(.hello, UInt32(version ?? 0), request)
        // What they are answered with is no element of the array.
        case (_, .pinSubscribe), (_, .unsubscribe), (_, .local): break
        case _ where upstream.canFence && members.isEmpty:
            upstream.taint()
            upstream.noteDoubt()
            return sendHeld(.plain, 0, request.bytes)
        default: break
        }
        closeAfterFlush(.upstream_lost)
        return .answered
    }

    /// An unknown name: the server's answer says whether it is one.
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

    /// The server has queued a command that may do anything when EXEC runs it.
    func pipeStranger() {
        guard hasQueuedStranger else { return }
        hasQueuedStranger = false
        if mode == .open, isHolding { _ = becomePipe() }
    }

    /// EXEC of a transaction with such members. Nothing is sent behind it before it is answered:
    /// it may be meant for another user or database.
    func execMembers(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        let outcome = sendHeld(.execWalked, session.memberCount, bytes)
        mode = .barrier
        return outcome
    }

    /// CLIENT REPLY hides no message (RESP3), and up to Redis 6.2 a message stands among the elements
    /// of the array that EXEC answers with.
    var hearsInSilence: Bool {
        session.replyMode != .on && key.protocolVersion == 3 && upstream?.hold?.isListening == true
    }

    func takeMembers() -> [QueuedMember] {
        defer { members = [] }
        return members
    }

    /// What the client sees in place of `element`; its session changes as the element says.
    func see(_ member: QueuedMember, _ element: [UInt8]) -> [UInt8] {
        switch member.expectation {
        case .rewriteList:
            return listInTransaction(ListFilter(member.words), element) ?? element
        case .hello:
            return HelloReply.replacingID(element, self)
        case .mirrorName, .mirrorInfo:
            IdentityChange(member.words)?.apply(to: &identity)
            return element
        default:
            return ownValue(member.expectation, element) ?? element
        }
    }
}

extension UpstreamConnection {
    /// The server has queued a subcommand that is in no table. What it does ends with the hold, and
    /// what EXEC says is fenced.
    func queuedSubcommand() {
        noteDoubt()
        spoil(.notUnderstood)
    }
}
