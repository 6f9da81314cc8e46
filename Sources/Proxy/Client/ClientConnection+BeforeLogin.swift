// Commands of clients that have to log in first. The server refuses all of them but AUTH, HELLO,
// RESET and QUIT. They go to the shared upstream of clients without a login and change nothing
// there.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// The server requires a login, and this client has none.
    @inline(__always)
    var isLockedOut: Bool { pool.defaultNeedsLogin && key.user == 0 }

    /// It is not known yet whether the server requires a login.
    var mayBeLockedOut: Bool {
        !pool.isLoginKnown && key.user == 0 && pool.config.password == nil
    }

    /// Carries out a command of a client that is not logged in. Returns nil for the few commands
    /// that may have an effect. The server may have stopped requiring a login since. So a command
    /// that could then change the shared connection is not sent. Redpool asks the server whether a
    /// login is still required instead.
    func carryOutBeforeLogin(_ request: Request) -> Outcome? {
        switch request.command {
        case .hello: return helloBeforeLogin(request)
        case .auth, .reset, .quit, .post, .host: return nil
        default: break
        }
        // One command per client at a time bounds what the server owes all of them; see Strangers.
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
        // It is an error with or without a login. If it is none, the upstream is closed.
        case .oneOff: return forwardBeforeLogin(1, request.bytes)
        case .controlClients where request.frame.argumentCount < 3:
            return forwardBeforeLogin(1, request.bytes)
        case .send(.plain, _), .sendSlow:
            return forwardBeforeLogin(0, request.bytes)
        default: return askForRefusal()
        }
    }

    /// HELLO without credentials. A connection that has not logged in gets a refusal even if the
    /// server has stopped requiring a login. So Redpool first asks whether it still does.
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

    /// Answers with the server's refusal of another command that needs a login.
    func askForRefusal() -> Outcome {
        if let answer = lockAnswer {
            if inFlight > 0 { return waitForReplies() }
            lockAnswer = nil
            if !session.takeSilence() { replyBytes(answer) }
            return .answered
        }
        return askWhetherLocked()
    }

    /// The server has said whether it refuses clients without a login.
    func learnedLock(_ reply: [UInt8], isLocked: Bool) {
        if isLocked { lockAnswer = reply } else { pool.noteDefault(needsLogin: false) }
        endQuestion()
    }

    /// Redis applies its limits before a login to arrays only; a longer inline command gets an
    /// ordinary answer. As an array it would make the server close the shared connection. So it is
    /// sent unchanged, over an upstream of its own. Returns nil for any other line.
    func forwardLongLine(
        _ line: UnsafeBufferPointer<UInt8>, _ words: [[UInt8]], _ request: Request
    ) -> Outcome? {
        guard isLockedOut, mode == .open, !isHolding,
            words.count > limits.maxArguments
                || words.contains(where: { $0.count > limits.maxBulkLength })
        else { return nil }
        switch request.command {
        case .quit, .post, .host: return nil
        // Where Redpool judges logins, the client may have logged in here.
        case .auth where pool.config.clientUsers != nil: return nil
        case .hello where pool.config.clientUsers != nil: return nil
        default: break
        }
        if refuseIfDenied() { return .answered }
        lastCommand = request.command
        guard !isRefusedLine(request) else { return nil }
        let bytes = Array(line) + [13, 10]
        return bytes.withUnsafeBytes { forwardOneOff(.plain, $0) }
    }

    /// True if Redpool itself refuses this command, in whatever form it comes.
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
