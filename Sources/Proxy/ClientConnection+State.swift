// Commands that change what a connection is: user, protocol, database, reply mode, and the ends.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Carries out everything that is not simply sent. Nothing after such a command is sent before
    /// it is answered, because it might be meant for another state.
    func carryOutState(
        _ plan: Plan, _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer,
        _ count: Int
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        switch plan {
        case .select(let database): return select(database, bytes, count)
        case .hello(let version): return hello(version, bytes, count)
        case .authenticate:
            return logIn(PendingLogin(authenticate: words(span, frame)), nil, bytes, count)
        case .helloChange:
            let words = words(span, frame)
            // A version that is none is refused by the server before anything else happens.
            guard let version = Word.number(words[1]), version == 2 || version == 3 else {
                return forward(.shared, .plain, 0, bytes, count)
            }
            return logIn(PendingLogin(hello: words), UInt8(version), bytes, count)
        case .replyMode(.on) where session.replyMode == .on:
            // It changes nothing, so the server may judge whether this user is allowed to.
            return forward(.shared, .plain, 0, bytes, count)
        case .replyMode(let mode):
            session.setReplyMode(mode)
            if mode == .on { reply("+OK\r\n") }
            return .done
        case .quit:
            if !session.takeSilence() { reply("+OK\r\n") }
            closeAfterFlush(.client_closed)
            return .done
        case .vanish:
            closeAfterFlush(.client_closed)
            return .done
        case .reset:
            if upstream?.hold?.isListening == true { return resetOnHeld(bytes, count) }
            reset()
            return .done
        case .pipe: return enterPipe(span, frame)
        default: preconditionFailure("not a change of state: \(plan)")
        }
    }

    /// SELECT: executed by the server the first time that anybody goes there as this user; after
    /// that, answered here, and the next command goes to a connection that is there already.
    private func select(_ database: UInt32, _ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        var target = key
        target.database = database
        if target == key { return forward(.shared, .plain, 0, bytes, count) }
        if pool.maySelect(target), granted == nil {
            key = target
            if !session.takeSilence() { reply("+OK\r\n") }
            return .done
        }
        return forwardAlone(.pin, .select, database, bytes, count, isBlocking: false)
    }

    /// HELLO with a version: on a connection that speaks it already, where it changes nothing, or
    /// on one that learns it by this command.
    private func hello(_ version: UInt8, _ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        var target = key
        target.protocolVersion = version
        if mode == .held || pool.isValidated(target) {
            return forwardAsBarrier(target, .hello, UInt32(version), bytes, count)
        }
        return forwardAlone(.pin, .hello, UInt32(version), bytes, count, isBlocking: false)
    }

    /// What changes nothing where it goes, but decides where this client goes next.
    private func forwardAsBarrier(
        _ target: PoolKey, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        let before = inFlight
        let outcome = forward(.shared, key: target, expectation, value, bytes, count)
        if outcome == .done, inFlight > before { mode = .barrier }
        return outcome
    }

    /// AUTH, and HELLO with options: always judged by the server. Credentials that were accepted
    /// before go to a connection that is that user's already: they change nothing there, accepted
    /// or not, so it may be shared. All others go alone; from Redis 7.2 on all do, because
    /// `addAuthErrReply` (acl.c) says nothing while other replies wait to be written.
    private func logIn(
        _ pending: PendingLogin, _ version: UInt8?, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        login = pending
        let expectation = version == nil ? Expectation.authenticate : .helloChange
        let value = UInt32(version ?? 0)
        if mode == .held {
            // Without an answer nobody could tell what comes behind.
            let needsFence = upstream?.mayIgnoreLogin == true
            if needsFence, upstream?.canFence != true {
                login = nil
                return becomePipe()
            }
            _ = sendHeld(expectation, value, bytes, count)
            if needsFence {
                inFlight += 1
                upstream?.sendFence(for: id, mayFail: true)
            }
            mode = .barrier
            return .done
        }
        var target = key
        if let name = pending.user,
            let user = pool.users.find(name: name, password: pending.password)
        {
            target.user = user
            target.protocolVersion = version ?? key.protocolVersion
            if pool.isValidated(target), pool.facts.isBefore72 {
                return forwardAsBarrier(target, expectation, value, bytes, count)
            }
        }
        return forwardAlone(
            .pin, key: target, expectation, value, bytes, count, isBlocking: false)
    }

    /// The command at the head of the input is an AUTH or HELLO with this user's name.
    func isLoggingIn(as name: [UInt8]) -> Bool {
        (lastCommand == .auth || lastCommand == .hello) && login?.user == name
    }

    func takeLogin() -> PendingLogin? {
        defer { login = nil }
        return login
    }

    /// RESET of a client that the server talks to unasked: others see its subscriptions (PUBLISH,
    /// PUBSUB), and nothing may come behind +RESET, so the server has to have ended it all before.
    private func resetOnHeld(_ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        guard let upstream else { return .done }
        inFlight += 1
        upstream.expect(id, .reset, bytes: count)
        upstream.send(bytes, count: count)
        mode = .barrier
        return .done
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
            upstream.sharers -= 1
            upstream.orphan()
            mode = .open
        }
        // RESET ends CLIENT REPLY OFF and is answered; a SKIP that is in force still hides it.
        let isSkipped = session.replyMode == .skipNext
        session.reset()
        members = []
        redirection = 0
        key = pool.warmKey
        identity.name = []
        if !isSkipped { reply("+RESET\r\n") }
    }

    /// The client's own value in place of the upstream's, for CLIENT ID, GETNAME, INFO and LIST.
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
            let template = text.prefix { $0 != "\n" }
            // Commands behind this one may have been read already.
            let newest = lastCommand
            lastCommand = .clientInfo
            defer { lastCommand = newest }
            return ClientLine.encode(
                ClientLine.line(
                    template, with: ClientLine.values(of: self), isHeld: upstream?.hold != nil)
                    + "\n",
                protocolVersion: key.protocolVersion)
        case .rewriteList:
            let filter = listFilters.isEmpty ? nil : listFilters.removeFirst()
            return list(filter ?? ClientLine.Filter([], others: []), upstreamReply)
        default:
            return nil
        }
        return bytes
    }

    private func list(_ filter: ClientLine.Filter, _ upstreamReply: [UInt8]) -> [UInt8]? {
        guard let text = ClientLine.text(of: upstreamReply) else { return nil }
        let template =
            pool.facts.clientLine.isEmpty
            ? text.prefix { $0 != "\n" } : pool.facts.clientLine[...]
        let newest = lastCommand
        lastCommand = .clientList
        defer { lastCommand = newest }
        let lines = (pool.snapshots + filter.others)
            .filter { filter.admits($0) }
            .sorted { $0.serial < $1.serial }
            .map { ClientLine.line(template, with: $0.values) + "\n" }
        return ClientLine.encode(lines.joined(), protocolVersion: key.protocolVersion)
    }

    /// The oldest change of identity whose reply has come.
    func takeChange() -> IdentityChange? {
        changes.isEmpty ? nil : changes.removeFirst()
    }

    // MARK: Unknown commands

    /// Carries out a command that is not in the table, once the server has said what it is.
    func carryOutUnknown(
        _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        var kind = UnknownCommands.Kind.stranger
        if let name = UnknownCommands.name(of: frame, in: span, table: worker.table) {
            if pool.deniedStrangers.refuses(name) { return refuseCommand() }
            guard let known = pool.unknownCommands.kind(of: name) ?? lesson else {
                return ask(name)
            }
            lesson = nil
            kind = known
        }
        switch kind {
        case .stranger: return forward(.shared, .plain, 0, bytes, count)
        case .module: return forwardAlone(.pin, .plain, 0, bytes, count, isBlocking: true)
        case .renamed: return beginPipe()
        }
    }

    /// The server is known not to know this command.
    func isStranger(_ span: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        guard worker.table.find(span, frame) == .unknown else { return false }
        guard let name = UnknownCommands.name(of: frame, in: span, table: worker.table) else {
            return true
        }
        return pool.unknownCommands.kind(of: name) == .stranger
    }

    /// The name of a command that nothing is known of; nil for any other.
    func nameToAskFor(_ span: Span<UInt8>, _ frame: CommandFrame) -> [UInt8]? {
        if lesson != nil {
            lesson = nil
            return nil
        }
        guard worker.table.find(span, frame) == .unknown,
            let name = UnknownCommands.name(of: frame, in: span, table: worker.table)
        else { return nil }
        return pool.unknownCommands.kind(of: name) == nil ? name : nil
    }

    func ask(_ name: [UInt8]) -> Outcome {
        var question: [UInt8] = []
        Encode.command([Array("COMMAND".utf8), Array("INFO".utf8), name], into: &question)
        let before = (inFlight, session)
        let outcome = question.withUnsafeBytes {
            forward(.shared, .commandInfo, 0, $0.baseAddress!, $0.count)
        }
        // Blocked: it waits. Done without anything in flight: refused, and answered so.
        guard outcome == .done, inFlight > before.0 else { return outcome }
        session = before.1
        askedName = name
        mode = .asking
        return .blocked
    }

    /// The server's answer to COMMAND INFO has come.
    func learnedCommand(_ reply: [UInt8]) {
        let (kind, isLasting) = UnknownCommands.judge(reply)
        if isLasting { pool.unknownCommands.learn(askedName, kind) } else { lesson = kind }
        askedName = []
        if mode == .asking { mode = upstream?.hold == nil ? .open : .held }
        answered(1)
        worker.ready(self)
    }
}
