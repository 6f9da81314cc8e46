// Commands that change what a connection is: user, protocol, database, reply mode, and the ends.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Carries out everything that is not simply sent. Nothing after such a command is sent before
    /// it is answered, because it might be meant for another state.
    func carryOutState(_ plan: Plan, _ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        switch plan {
        case .select(let database): return select(database, request.bytes)
        case .hello(let version): return hello(version, request.bytes)
        case .authenticate:
            let login = PendingLogin(
                authenticate: CommandTable.words(request.input.span, request.frame))
            return logIn(login, nil, request.bytes)
        case .helloChange:
            let words = CommandTable.words(request.input.span, request.frame)
            let version = Word.integer(words[1], in: 2...3) ?? 2
            return logIn(PendingLogin(hello: words), UInt8(version), request.bytes)
        case .replyMode(.on) where session.replyMode == .on:
            // It changes nothing, so the server may judge whether this user is allowed to.
            return forward(.shared, .plain, 0, request.bytes)
        case .replyMode where mayBeLockedOut: return askForRefusal()
        case .replyMode(let mode):
            session.setReplyMode(mode)
            if mode == .on { reply("+OK\r\n") }
            return .answered
        case .quit:
            if !session.takeSilence() { reply("+OK\r\n") }
            closeAfterFlush(.client_closed)
            return .answered
        case .vanish:
            closeAfterFlush(.client_closed)
            return .answered
        case .reset:
            if upstream?.hold?.isListening == true { return resetOnHeld(request.bytes) }
            reset()
            return .answered
        case .pipe: return enterPipe(request.input.span, request.frame)
        default: preconditionFailure("not a change of state: \(plan)")
        }
    }

    /// SELECT: executed by the server the first time that anybody goes there as this user; after
    /// that, answered here, and the next command goes to a connection that is there already.
    private func select(_ database: UInt32, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        var target = key
        target.database = database
        if target == key { return forward(.shared, .plain, 0, bytes) }
        if pool.knownKeys.maySelect(target), granted == nil {
            key = target
            if !session.takeSilence() { reply("+OK\r\n") }
            return .answered
        }
        return forwardAlone(.pin, .select, database, bytes, isBlocking: false)
    }

    /// HELLO with a version: on a connection that speaks it already, where it changes nothing, or
    /// on one that learns it by this command.
    private func hello(_ version: UInt8, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        var target = key
        target.protocolVersion = version
        if isHolding || pool.knownKeys.isAccepted(target) {
            return forwardAsBarrier(target, .hello, UInt32(version), bytes)
        }
        return forwardAlone(.pin, .hello, UInt32(version), bytes, isBlocking: false)
    }

    /// What changes nothing where it goes, but decides where this client goes next.
    private func forwardAsBarrier(
        _ target: PoolKey, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        let outcome = forward(.shared, key: target, expectation, value, bytes)
        if outcome == .sent { mode = .barrier }
        return outcome
    }

    /// AUTH, and HELLO with options: always judged by the server. Credentials that were accepted
    /// before go to a connection that is that user's already: they change nothing there, accepted
    /// or not, so it may be shared. All others go alone; from Redis 7.2 on all do, because
    /// `addAuthErrReply` (acl.c) says nothing while other replies wait to be written.
    private func logIn(
        _ pending: PendingLogin, _ version: UInt8?, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        login = pending
        let expectation = version == nil ? Expectation.authenticate : .helloChange
        let value = UInt32(version ?? 0)
        if !pending.isUnderstood || (isHolding && pending.appliesInPart) {
            let isHeld = isHolding
            let outcome = forwardOneOff(expectation, bytes, value: value)
            if outcome == .sent, isHeld { mode = .barrier }
            return outcome
        }
        if isHolding {
            // Without an answer nobody could tell what comes behind.
            let needsFence = upstream?.mayIgnoreLogin == true
            if needsFence, upstream?.canFence != true {
                login = nil
                return becomePipe()
            }
            _ = sendHeld(expectation, value, bytes)
            if needsFence {
                inFlight += 1
                upstream?.sendFence(for: id, mayFail: true)
            }
            mode = .barrier
            return .sent
        }
        // A connection in this client's database and protocol needs a login now. One that has not
        // logged in will do for this command.
        var target = isLockedOut ? pool.warmKey : key
        if let name = pending.user,
            let user = pool.users.find(name: name, password: pending.password)
        {
            target.user = user
            target.protocolVersion = version ?? key.protocolVersion
            if pool.knownKeys.isAccepted(target), server.facts.isBefore72 {
                return forwardAsBarrier(target, expectation, value, bytes)
            }
        }
        if pending.appliesInPart {
            return forwardOneOff(expectation, bytes, value: value)
        }
        return forwardAlone(
            .pin, key: target, expectation, value, bytes, isBlocking: false)
    }

    /// The command at the head of the input is an AUTH or HELLO with this user's name.
    func isLoggingIn(as name: [UInt8]) -> Bool { isLoggingIn && login?.user == name }

    /// The same with any name, in a form that may go wherever the server judges it.
    var isLoggingIn: Bool {
        guard lastCommand == .auth || lastCommand == .hello, let login else { return false }
        return login.isUnderstood && !login.appliesInPart
    }

    func takeLogin() -> PendingLogin? {
        defer { login = nil }
        return login
    }

    /// RESET of a client that the server talks to unasked: others see its subscriptions (PUBLISH,
    /// PUBSUB), and nothing may come behind +RESET, so the server has to have ended it all before.
    private func resetOnHeld(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let upstream else { return .answered }
        inFlight += 1
        upstream.expect(id, .reset, bytes: bytes.count)
        upstream.send(bytes)
        mode = .barrier
        return .sent
    }

    /// The server has ended what it had to say, or does not know RESET (before 6.2): then closing
    /// the connection ends it.
    func answeredReset() {
        inFlight -= 1
        retryUntil = nil
        reset()
        worker.ready(self)
    }

    /// RESET: back to a fresh connection. Library name and version survive it, as in Redis.
    private func reset() {
        if let upstream, upstream.hold != nil {
            leaveSlowReaders(upstream)
            self.upstream = nil
            upstream.orphan()
            mode = .open
        }
        // RESET ends CLIENT REPLY OFF and is answered; a SKIP that is in force still hides it.
        let isSkipped = session.replyMode == .skipNext
        session.reset()
        members = []
        redirect(to: 0)
        monitorFilter = nil
        key = pool.warmKey
        hasReset = true
        identity.name = []
        if !isSkipped { reply("+RESET\r\n") }
    }

    /// The client's own value in place of the upstream's, for CLIENT ID, GETNAME and INFO.
    func ownValue(_ expectation: Expectation, _ upstreamReply: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        switch expectation {
        case .rewriteID:
            Encode.integer(Int64(serial), into: &bytes)
        case .rewriteName:
            if identity.name.isEmpty {
                Encode.null(key.protocolVersion == 3 ? .resp3 : .resp2, into: &bytes)
            } else {
                Encode.bulk(identity.name, into: &bytes)
            }
        case .redirection:
            return redirection == 0 ? nil : redirectedReply(upstreamReply)
        case .rewriteInfo:
            guard let text = ClientLine.text(of: upstreamReply) else { return nil }
            let template = LineTemplate(
                text.prefix { $0 != "\n" }, isHeld: upstream?.hold != nil)
            // Commands behind this one may have been read already.
            let newest = lastCommand
            lastCommand = .clientInfo
            defer { lastCommand = newest }
            var line: [UInt8] = []
            template.append(self, to: &line)
            Encode.verbatim(line, key.protocolVersion == 3 ? .resp3 : .resp2, into: &bytes)
        default:
            return nil
        }
        return bytes
    }

    /// The oldest change of identity whose reply has come.
    func takeChange() -> IdentityChange? {
        changes.isEmpty ? nil : changes.removeFirst()
    }
}
