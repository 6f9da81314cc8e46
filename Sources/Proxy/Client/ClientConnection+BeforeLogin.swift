// Clients that have to log in first. Whatever they send but AUTH, HELLO, RESET and QUIT the server
// refuses; it stays on the upstream of those who are not logged in, and changes nothing.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// The server wants a login from this client.
    @inline(__always)
    var isLockedOut: Bool { pool.defaultNeedsLogin && key.user == 0 }

    /// Nobody has seen yet whether the server wants one.
    var mayBeLockedOut: Bool {
        !pool.isLoginKnown && key.user == 0 && pool.config.password == nil
    }

    /// Carries out a command of a client that is not logged in; nil for the few that may do
    /// something. The password may have been taken away since anybody looked, so what could then
    /// change the shared connection is not sent: the server is asked whether it would refuse it.
    func carryOutBeforeLogin(_ request: Request) -> Outcome? {
        switch request.command {
        case .hello: return helloBeforeLogin(request)
        case .auth, .reset, .quit, .post, .host: return nil
        default: break
        }
        // One each: what the server may owe to all of them is bounded; see Strangers.
        if inFlight > 0 { return waitForReplies() }
        switch worker.table.plan(request.command, request.input.span, request.frame) {
        case .impossible: return refuseSubcommand(request.input.span, request.frame)
        case .ask:
            let name = UnknownName(request.frame, in: request.input.span, table: worker.table)
            switch pool.kind(of: name) {
            case .denied: return refuseCommand()
            case .impossible: return refuseSubcommand(request.input.span, request.frame)
            case .toAsk where name.isAboutOneHop:
                return refuseSubcommand(request.input.span, request.frame)
            case .known, .unclear, .toAsk: return forwardBeforeLogin(1, request.bytes)
            }
        // An error whatever the login; if it is none, the connection is closed.
        case .oneOff: return forwardBeforeLogin(1, request.bytes)
        case .controlClients where request.frame.argumentCount < 3:
            return forwardBeforeLogin(1, request.bytes)
        case .send(.plain, _), .sendSlow:
            return forwardBeforeLogin(0, request.bytes)
        default: return askForRefusal()
        }
    }

    /// HELLO without credentials. On a connection that has not logged in the server refuses it even
    /// when no login is needed any more, so it is asked first whether it is.
    private func helloBeforeLogin(_ request: Request) -> Outcome? {
        let plan = worker.table.plan(.hello, request.input.span, request.frame)
        switch plan {
        case .hello: break
        case .send(.hello, _) where pool.isAllWithoutLogin: break
        default: return nil
        }
        if inFlight > 0 { return waitForReplies() }
        guard lockAnswer != nil else { return askWhetherLocked() }
        let outcome =
            pool.isAllWithoutLogin
            ? forwardBeforeLogin(1, request.bytes)
            : carryOutState(plan, request)
        if outcome != .blocked { lockAnswer = nil }
        return outcome
    }

    /// The server's refusal of another command that needs a login stands for that of this one.
    func askForRefusal() -> Outcome {
        if let answer = lockAnswer {
            if inFlight > 0 { return waitForReplies() }
            lockAnswer = nil
            if !session.takeSilence() { replyBytes(answer) }
            return .answered
        }
        return askWhetherLocked()
    }

    /// The server's answer to that question has come.
    func learnedLock(_ reply: [UInt8], isLocked: Bool) {
        if isLocked { lockAnswer = reply } else { pool.noteDefault(needsLogin: false) }
        endQuestion()
    }

    /// Redis's limits before a login are for arrays only: a longer line gets an ordinary answer. As
    /// an array it would close the connection that others share, so it goes as it came, alone. Nil
    /// for any other line.
    func forwardLongLine(
        _ line: UnsafeBufferPointer<UInt8>, _ words: [[UInt8]], _ request: Request
    ) -> Outcome? {
        guard isLockedOut, mode == .open, !isHolding,
            words.count > limits.maxArguments
                || words.contains(where: { $0.count > limits.maxBulkLength })
        else { return nil }
        switch request.command {
        case .quit, .post, .host: return nil
        default: break
        }
        if refuseIfDenied() { return .answered }
        lastCommand = request.command
        guard !isRefusedLine(request) else { return nil }
        let bytes = Array(line) + [13, 10]
        return bytes.withUnsafeBytes { forwardOneOff(.plain, $0) }
    }

    /// It is answered here, whatever form it has.
    private func isRefusedLine(_ request: Request) -> Bool {
        let (span, frame) = (request.input.span, request.frame)
        if let info = worker.table.info(request.command) {
            return pool.denyList.refuses(request.command) || !info.isNamedExactly(span, frame)
        }
        let name = UnknownName(frame, in: span, table: worker.table)
        switch pool.kind(of: name) {
        case .denied, .impossible: return true
        case .toAsk where name.isAboutOneHop: return true
        case .known, .unclear, .toAsk: return false
        }
    }
}
