// Commands that change the connection itself: user, protocol, database, reply mode, and its end.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Carries out a command that changes the connection. The next command waits for its reply,
    /// because it may be meant for the new state.
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
            // It changes nothing, so the server can check the user's right to it.
            return forward(.shared, .plain, 0, request.bytes)
        case .replyMode where mayBeLockedOut: return askForRefusal()
        case .replyMode(let mode):
            session.setReplyMode(mode)
            if mode == .on { reply("+OK\r\n") }
            return .answered
        case .quit:
            if upstream?.hold?.isListening == true, !mustAwaitResume {
                return ClientConnection.resetCommand.withUnsafeBytes { resetOnHeld($0) }
            }
            quit()
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

    /// SELECT. The server runs the first one of a user for a database. Later ones are answered by
    /// Redpool, and the next command uses an upstream that is in that database.
    private func select(_ database: UInt32, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        var target = key
        target.database = database
        if target == key {
            session.select(database)
            return forward(.shared, .plain, 0, bytes)
        }
        if pool.knownKeys.maySelect(target), granted == nil {
            session.select(database)
            if !session.takeSilence() { reply("+OK\r\n") }
            return .answered
        }
        return forwardAlone(kindForOneReply, .select, database, bytes, isBlocking: false)
    }

    /// HELLO with a version. It goes to an upstream that speaks this version already and changes
    /// nothing there, or to one that changes with it.
    private func hello(_ version: UInt8, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        var target = key
        target.protocolVersion = version
        if isHolding || pool.knownKeys.isAccepted(target) {
            return forwardAsBarrier(target, .hello, UInt32(version), bytes)
        }
        return forwardAlone(kindForOneReply, .hello, UInt32(version), bytes, isBlocking: false)
    }

    /// Sends a command that changes nothing on its upstream, but decides which sub-pool the client
    /// uses next.
    private func forwardAsBarrier(
        _ target: PoolKey, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        let outcome = forward(.shared, key: target, expectation, value, bytes)
        if outcome == .sent { mode = .barrier }
        return outcome
    }

    /// AUTH, and HELLO with options. The server judges each of them. Known credentials go to an
    /// upstream of the same user: they change nothing there even if they are refused, so it may be
    /// shared. All others go alone. From Redis 7.2 on all go alone, because `addAuthErrReply`
    /// (acl.c) sends no error while other replies wait to be written.
    private func logIn(
        _ pending: PendingLogin, _ version: UInt8?, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        session.sends(pending)
        countKept()
        let expectation = version == nil ? Expectation.authenticate : .helloChange
        let value = UInt32(version ?? 0)
        if !pending.isUnderstood || (isHolding && pending.appliesInPart) {
            let isHeld = isHolding
            let outcome = forwardOneOff(expectation, bytes, value: value)
            if outcome == .sent, isHeld { mode = .barrier }
            return outcome
        }
        if isHolding {
            // If the login may stay unanswered, a fence is needed to match the replies behind it.
            let needsFence = upstream?.mayIgnoreLogin == true
            if needsFence, upstream?.canFence != true {
                takeLogin()
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
        // A new upstream for this client's own key would need a login. One without a login will do.
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
            kindForOneReply, key: target, expectation, value, bytes, isBlocking: false)
    }

    /// True for a command that may give the client's own user a password.
    func maySetPassword(_ command: Command) -> Bool {
        command == .aclSetuser || command == .configSet
    }

    /// A command that may give the client's own user a password. If it does, the client is logged
    /// in with that from then on, so that it does not depend on connections from before.
    func setPassword(_ request: Request) -> Outcome {
        let words = CommandTable.words(request.input.span, request.frame)
        guard pool.config.clientUsers == nil, key.user != 0 || pool.config.password == nil,
            let login = PendingLogin(settingPassword: words, of: pool.users.name(of: key.user))
        else { return forward(.shared, .plain, 0, request.bytes) }
        if inFlight > 0 { return waitForReplies() }
        if key.user == 0, granted == nil { pool.seeDefaultOpen() }
        session.sends(login)
        countKept()
        return forwardAlone(kindForOneReply, .authenticate, 0, request.bytes, isBlocking: false)
    }

    /// The lease for a SELECT, HELLO or AUTH that needs an upstream of its own for its reply. If
    /// all pins are out, it is one of those for control commands: however many clients block,
    /// others can log in. A grant that has come for the command is used whatever its kind.
    private var kindForOneReply: LeaseKind {
        if let granted, case .control = granted.wanted.kind { return .control }
        if granted != nil { return .pin }
        return server.machine.hasFreePin ? .pin : .control
    }

    /// The head command is an AUTH or HELLO with this user name.
    func isLoggingIn(as name: [UInt8]) -> Bool { isLoggingIn && session.login?.user == name }

    /// The head command is an AUTH or HELLO in a form that any upstream may carry.
    var isLoggingIn: Bool {
        guard lastCommand == .auth || lastCommand == .hello, let login = session.login
        else { return false }
        return login.isUnderstood && !login.appliesInPart
    }

    @discardableResult
    func takeLogin() -> PendingLogin? {
        defer { countKept() }
        return session.takeLogin()
    }

    private static let resetCommand = Array("*1\r\n$5\r\nRESET\r\n".utf8)

    /// RESET or QUIT of a client that gets messages. Other clients can see its subscriptions
    /// (PUBLISH, PUBSUB), no message may follow +RESET, and those of before come before the +OK of
    /// QUIT. So the server resets the connection first.
    private func resetOnHeld(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let upstream else { return .answered }
        inFlight += 1
        upstream.expect(id, .reset, bytes: bytes.count)
        upstream.send(bytes)
        mode = .barrier
        return .sent
    }

    /// The server has answered RESET. A server before 6.2 does not know it; the upstream is closed
    /// then.
    func answeredReset() {
        inFlight -= 1
        retryUntil = nil
        // No command has come after it: see `carryOutState`.
        if lastCommand == .quit {
            leaveHold()
            return quit()
        }
        reset()
        worker.ready(self)
    }

    private func quit() {
        if !session.takeSilence() { reply("+OK\r\n") }
        closeAfterFlush(.client_closed)
    }

    private func leaveHold() {
        guard let upstream, upstream.hold != nil else { return }
        leaveSlowReaders(upstream)
        self.upstream = nil
        upstream.orphan()
        mode = .open
    }

    /// RESET: the client's state is that of a new connection. Library name and version stay, as in
    /// Redis.
    func reset() {
        leaveHold()
        // RESET ends CLIENT REPLY OFF and is answered. CLIENT REPLY SKIP still hides the answer.
        let isSkipped = session.replyMode == .skipNext
        session.reset(to: pool.warmKey)
        openMulti = nil
        extras?.reads.isReadOnly = false
        redirect(to: 0)
        monitorFilter = nil
        countKept()
        if pool.config.clientUsers != nil { logOut() }
        if !isSkipped { reply("+RESET\r\n") }
    }

    /// The client's own value in place of the upstream's, for CLIENT ID, GETNAME, INFO and
    /// redirections.
    func ownValue(_ expectation: Expectation, _ upstreamReply: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        switch expectation {
        case .rewriteID:
            Encode.integer(Int64(serial), into: &bytes)
        case .rewriteName:
            let name = session.identity.name
            if name.isEmpty {
                Encode.null(key.protocolVersion == 3 ? .resp3 : .resp2, into: &bytes)
            } else {
                Encode.bulk(name, into: &bytes)
            }
        case .redirection:
            return session.redirection.current == 0 ? nil : redirectedReply(upstreamReply)
        case .rewriteInfo:
            guard let text = ClientLine.text(of: upstreamReply) else { return nil }
            let template = LineTemplate(
                text.prefix { $0 != "\n" }, isHeld: upstream?.hold != nil)
            // Later commands may have set `lastCommand` already.
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
}
