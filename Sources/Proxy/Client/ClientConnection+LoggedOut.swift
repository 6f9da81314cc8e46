// Where Redpool itself judges logins (`clientPasswordFile`, `clientUsersFile`): clients that are
// not logged in, and AUTH and HELLO of all clients. Nothing of the former and no password of the
// latter reaches a server.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// How the server words its errors.
    private var dialect: Dialect {
        Dialect(release: server.facts.release, valkey: server.facts.valkeyRelease)
    }

    /// The name of its user, as CLIENT LIST shows it.
    var userName: [UInt8] {
        if let name = session.clientUser { return name }
        return mode == .loggedOut ? ClientUsers.standardName : pool.users.name(of: key.user)
    }

    /// Handles the command at `start`. Returns the start of the next one, or nil if it has to wait.
    /// Each scan begins anew: within the limits before a login a command is short.
    func handleLoggedOut(
        _ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int
    ) -> Int? {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        var once = CommandScanner()
        switch once.scan(buffer.span, frameStart: start, limits: worker.limits.beforeLogin) {
        case .command(let frame):
            return answerLoggedOut(buffer, frame) != .blocked ? frame.end : nil
        case .inline(let lineStart, let lineEnd, let next):
            if refuseTLS(buffer.span, start) { return nil }
            worker.turn.spend(Turn.line)
            let line = UnsafeBufferPointer(rebasing: buffer[lineStart..<lineEnd])
            guard let words = InlineParser.split(line.span) else {
                refuseProtocol(.unbalancedQuotes)
                return nil
            }
            if words.isEmpty { return next }
            let outcome = withCommand(words) { answerLoggedOut($0.input, $0.frame) }
            return outcome != .blocked ? next : nil
        case .skip(let next):
            worker.turn.spend(Turn.blank)
            return next
        case .incomplete:
            _ = refuseTLS(buffer.span, start)
            return nil
        case .invalid(let error):
            refuseProtocol(error)
            return nil
        }
    }

    private func answerLoggedOut(
        _ buffer: UnsafeBufferPointer<UInt8>, _ frame: CommandFrame
    ) -> Outcome {
        if unreadLoggedOut > ClientConnection.mostUnreadLoggedOut {
            closeLoggedOut()
            return .answered
        }
        let command = worker.table.find(buffer.span, frame)
        lastCommand = command
        worker.turn.spend(Turn.special)
        let request = Request(command: command, frame: frame, input: buffer)
        switch worker.table.planLoggedOut(command, buffer.span, frame, dialect) {
        case .refuse(let error):
            replyBytes(error)
            return .answered
        case .judge:
            if pool.denyList.refuses(command) { return refuseCommand() }
            return judge(request) ?? .answered
        case .reset: return carryOutState(.reset, request)
        case .quit: return carryOutState(.quit, request)
        case .vanish: return carryOutState(.vanish, request)
        }
    }

    /// RESET has been carried out. A client that was logged in may still have to read what it was
    /// sent before.
    func logOut() {
        if mode == .loggedOut { return }
        mode = .loggedOut
        if !output.isEmpty || loggedOutAt != 0 { loggedOutAt = bytesTaken &+ UInt64(output.count) }
    }

    /// Bytes of replies since the client was logged out that wait for it.
    private var unreadLoggedOut: Int {
        let older = loggedOutAt > bytesTaken ? Int(clamping: loggedOutAt - bytesTaken) : 0
        return output.count - min(older, output.count)
    }

    /// The most bytes of replies that wait for a client without a login that does not read. Redis
    /// from 6.2.18, 7.2.8 and 7.4.3 on closes such a client when more than 1,024 wait.
    private static let mostUnreadLoggedOut = 64 << 10

    private func closeLoggedOut() {
        pool.warnLimit(
            "client.output_limit", reason: ClientCloseReason.output_limit.word,
            "closing a client without a login that does not read: \(unreadLoggedOut) bytes "
                + "wait for it"
        )
        close(.output_limit)
    }

    // MARK: AUTH and HELLO

    /// Who judges the logins of this client; nil: the server. Credentials that waited when Redpool
    /// ceased to judge were meant for it. No server may see them, so they are refused.
    private var judges: ClientUsers? {
        pool.config.clientUsers ?? (hasOldInput ? .nobody : nil)
    }

    /// True for commands that must not pass unread where Redpool judges logins. HELLO without
    /// options has no credentials.
    func mayNotPass(_ command: Command, arguments: Int?) -> Bool {
        guard judges != nil else { return false }
        switch command {
        case .auth, .reset: return true
        case .hello: return arguments.map { $0 > 2 } ?? true
        default: return false
        }
    }

    /// Carries out AUTH, or HELLO, where Redpool judges logins. Nil for one that the server may see
    /// as it is: of a client that is logged in, and without credentials.
    func judge(_ request: Request) -> Outcome? {
        if request.command == .hello, let acceptedHello { return sendAccepted(acceptedHello) }
        guard let users = judges else { return nil }
        let words = CommandTable.words(request.input.span, request.frame)
        let isHello = request.command == .hello
        if mode != .loggedOut {
            // The server refuses it before it is queued.
            if !isHello, words.count == 1, isHolding, session.isSendingTransaction {
                if inFlight > 0 || mustAwaitResume { return waitForReplies() }
                if isInTransaction {
                    session.queuesLogin()
                    return sendHeld(.plain, 0, request.bytes)
                }
            }
            let hasCredentials =
                isHello ? words.dropFirst(2).contains { Word($0) == "auth" } : words.count > 1
            guard hasCredentials else { return nil }
        }
        if inFlight > 0 || (isHolding && mustAwaitResume) { return waitForReplies() }
        if isRestricted { return refuseRestricted(isHello ? "hello" : "auth") }
        let judge: LoginJudge = { users.accepts($0, $1) }
        let judgement =
            isHello
            ? LoginJudgement.hello(words, isLoggedIn: mode != .loggedOut, dialect, by: judge)
            : LoginJudgement.authenticate(words, by: judge)
        // A part of it may have come later as well.
        if judgement.reply == nil, request.bytes.count > ClientConnection.streamThreshold {
            return standInIfQueueing() ?? refuseTooLong()
        }
        if isInTransaction { return queue(judgement, users) }
        if let user = judgement.user { logIn(users.shared(user)) }
        if let name = judgement.name {
            session.rename(name)
            countKept()
        }
        if judgement.refused != nil { pool.noteRefusedLogin(of: self, judgement, users) }
        guard let reply = judgement.reply else {
            return sendAccepted(judgement.forwarded)
        }
        worker.turn.spend(Turn.special)
        if !session.takeSilence() { replyBytes(reply) }
        return .answered
    }

    /// A large AUTH, HELLO or RESET, of which the rest is still to come. `begun` has the words as
    /// far as they have come.
    func refuseLargeLogin(_ begun: [[UInt8]]) -> Outcome {
        if let outcome = standInIfQueueing() { return outcome }
        let isHello = lastCommand == .hello
        guard let judgement = judgeLargeLogin(begun, isHello), let reply = judgement.reply else {
            return refuseTooLong()
        }
        if isRestricted { return refuseRestricted(isHello ? "hello" : "auth") }
        if let name = judgement.name {
            session.rename(name)
            countKept()
        }
        if judgement.refused != nil, let judges {
            pool.noteRefusedLogin(of: self, judgement, judges)
        }
        worker.turn.spend(Turn.special)
        if !session.takeSilence() { replyBytes(reply) }
        return .answered
    }

    private func refuseTooLong() -> Outcome {
        let name = worker.table.info(lastCommand)?.name ?? ""
        return refuse("ERR '\(name)' is refused by Redpool: it is too long")
    }

    /// What the server would say of it; nil if that depends on what is still to come. No user and
    /// no password is as long as that, so credentials with such a word are wrong.
    private func judgeLargeLogin(_ begun: [[UInt8]], _ isHello: Bool) -> LoginJudgement? {
        guard let users = judges, lastCommand == .auth || isHello else { return nil }
        let count = scanner.partialFrame?.argumentCount ?? 0
        var words = begun
        if scanner.payloadRemaining > 0, let last = words.indices.last {
            words[last] = [UInt8](
                repeating: UInt8(ascii: "x"), count: ClientUsers.longestPassword + 1)
        }
        let judge: LoginJudge = { user, password in
            max(user.count, password.count) <= ClientUsers.longestPassword
                && users.accepts(user, password)
        }
        guard isHello else {
            words += Array(repeating: [], count: max(0, count - words.count))
            return .authenticate(words, by: judge)
        }
        // The last word may be a user whose password is still to come.
        for words in words.count < count ? [words, words + [[]]] : [words] {
            let judgement = LoginJudgement.hello(words, isLoggedIn: true, dialect, by: judge)
            let isOfVersion = judgement.forwarded.isEmpty
            if judgement.refused != nil || isOfVersion { return judgement }
        }
        return nil
    }

    /// Sends a HELLO that was accepted, without its credentials. If it has to wait, it is not
    /// judged again: the client is logged in, and the users may be others then.
    private func sendAccepted(_ hello: [[UInt8]]) -> Outcome {
        acceptedHello = nil
        let outcome = withCommand(hello) { carryOutRare($0, isJudged: true) }
        if outcome == .blocked { acceptedHello = hello }
        return outcome
    }

    /// The client is in a transaction. Nothing of it is in flight.
    private var isInTransaction: Bool {
        guard isHolding, session.isSendingTransaction else { return false }
        if upstream?.hold?.isInTransaction == true { return true }
        // The server has refused the MULTI.
        session.released()
        return false
    }

    private func logIn(_ name: [UInt8]) {
        session.logIn(asClient: name, keepsUpstream: isHolding)
        if mode == .loggedOut { mode = .open }
    }

    /// A login in a transaction. It takes effect with EXEC; what stands for it there changes
    /// nothing. A HELLO that is accepted goes on without its credentials.
    private func queue(_ judgement: LoginJudgement, _ users: ClientUsers) -> Outcome {
        guard let reply = judgement.reply else {
            guard let user = judgement.user else { return sendAccepted(judgement.forwarded) }
            return queueHello(judgement.forwarded, of: users.shared(user))
        }
        session.queuesLogin()
        let member = QueuedMember(
            Int(session.memberCount) - 1, .judged, 0,
            [reply] + (judgement.user.map { [users.shared($0)] } ?? []),
            behind: session.members.last)
        if judgement.refused != nil { pool.noteRefusedLogin(of: self, judgement, users) }
        // The element in EXEC's array could not be trusted, or there are too many members.
        if upstream?.sole?.isDoubtful == true || member.total > QueuedMember.most {
            return sendStandIn()
        }
        upstream?.noteQueued()
        session.queued(member)
        return ClientConnection.judgedStandIn.withUnsafeBytes { sendHeld(.judged, 0, $0) }
    }

    private func queueHello(_ hello: [[UInt8]], of user: [UInt8]) -> Outcome {
        let version = Word.integer(hello[1], in: 2...3).map { UInt32($0) } ?? 0
        session.queuesLogin()
        // The name is the last word of the last SETNAME.
        let member = QueuedMember(
            Int(session.memberCount) - 1, .hello, version, [],
            login: [user] + (hello.count > 2 ? [hello[hello.count - 1]] : []),
            behind: session.members.last)
        if upstream?.sole?.isDoubtful == true || member.total > QueuedMember.most {
            return sendStandIn()
        }
        upstream?.noteQueued()
        session.queued(member)
        return withCommand(hello) { sendHeld(.plain, 0, $0.bytes) }
    }

    /// HELLO without arguments: as AUTH, it needs no right, and it changes nothing.
    private static let judgedStandIn = Array("*1\r\n$5\r\nHELLO\r\n".utf8)

    /// In RESP2 a subscribed connection takes few commands.
    private func refuseRestricted(_ name: String) -> Outcome {
        let (sharded, shardedBack) = dialect.isBefore70 ? ("(P)", "(P)") : ("(P|S)", "(P|S)")
        replyError(
            "ERR Can't execute '\(name)': only \(sharded)SUBSCRIBE / \(shardedBack)UNSUBSCRIBE / "
                + "PING / QUIT / RESET are allowed in this context")
        return .answered
    }

    /// Calls `body` with these words as a command.
    private func withCommand(_ words: [[UInt8]], _ body: (Request) -> Outcome) -> Outcome {
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        var once = CommandScanner()
        guard
            case .command(let frame) = once.scan(
                encoded.span, frameStart: 0, limits: worker.limits.loggedIn)
        else { return .answered }
        return encoded.withUnsafeBufferPointer { input in
            body(
                Request(
                    command: worker.table.find(input.span, frame), frame: frame, input: input))
        }
    }
}

extension PoolFront {
    /// A client has brought a wrong password, or the name of no user. A name that is no user's is
    /// not logged: it may be a password.
    func noteRefusedLogin(
        of client: ClientConnection, _ judgement: LoginJudgement, _ users: ClientUsers
    ) {
        traffic.loginsRefused += 1
        let name = judgement.refused ?? []
        let isKnown = users.has(name)
        let subject = isKnown ? "user \(String(decoding: name, as: UTF8.self))" : "an unknown user"
        warnLimit(
            "client.auth_failed", reason: isKnown ? "password" : "user",
            "a client has failed to log in as \(subject)", peer: client.peerText)
    }

    /// The configuration has other users. Who is logged in stays, unless there is no user of that
    /// name any more: a server does the same (ACL DELUSER). If no login is needed any more, clients
    /// without one may go on; for what they had sent before see `hasOldInput`.
    func replaceClientUsers() {
        let users = config.clientUsers
        for client in worker.clients.all where client.pool === self {
            if let users {
                if let name = client.session.clientUser, !users.has(name) {
                    client.close(.user_removed)
                }
                continue
            }
            if !client.input.isEmpty { client.hasOldInput = true }
            if client.mode == .loggedOut {
                client.mode = .open
                worker.ready(client)
            }
        }
    }
}
