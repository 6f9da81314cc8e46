// CLIENT KILL, CLIENT UNBLOCK and CLIENT TRACKING REDIRECT name other clients. The server knows
// only Redpool's connections, so Redpool finds the client itself and changes the command.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    var ageSeconds: Int64 { (worker.now.nanoseconds - origin.connectedAt) / 1_000_000_000 }

    /// The client's type, as CLIENT LIST TYPE and CLIENT KILL TYPE mean it.
    var type: ClientType {
        (upstream?.hold?.subscriptions ?? 0) > 0 || isListener ? .pubsub : .normal
    }

    /// Sends CLIENT KILL or CLIENT UNBLOCK over an upstream on which it cannot queue behind its
    /// target.
    func control(_ request: Request) -> Outcome {
        let words = CommandTable.words(request.input.span, request.frame)
        let isExact =
            worker.table.info(lastCommand)?.isNamedExactly(request.input.span, request.frame)
            ?? false
        if lastCommand == .clientUnblock { return unblock(words, isExact: isExact) }
        return kill(words, isExact: isExact)
    }

    private func kill(_ words: [[UInt8]], isExact: Bool) -> Outcome {
        let wanted = KillFilter(words)
        let isUnderstood = isExact && wanted.isUnderstood
        var words = words
        if let user = wanted.user, pool.config.clientUsers?.has(user) == true {
            words = KillFilter.naming(pool.users.name(of: 0), in: words)
        }
        if session.isSendingTransaction {
            // Redpool does not see when EXEC runs it, so the server gets a form that matches no
            // client.
            return sendControl(.plain, KillFilter.standIn(words), isUnderstood: isUnderstood)
        }
        if isUnderstood, wanted.isForServer {
            return sendControl(.plain, words, isUnderstood: true)
        }
        let outcome = sendControl(
            .kill, KillFilter.standIn(words), isUnderstood: isUnderstood)
        if outcome == .sent, wanted.isUnderstood { sent(.kill(wanted)) }
        return outcome
    }

    /// CLIENT UNBLOCK with the server's id of the blocked upstream, or with an id that the server
    /// does not know.
    private func unblock(_ words: [[UInt8]], isExact: Bool) -> Outcome {
        let order = UnblockOrder(words)
        guard isExact, order.isUnderstood, !session.isSendingTransaction, let id = order.id,
            let serial = UInt64(exactly: id)
        else {
            return sendControl(
                .plain, UnblockOrder.standIn(words, as: 0),
                isUnderstood: isExact && order.isUnderstood)
        }
        let target = pool.client(serial: serial)
        let blocked = target?.blockedUpstream
        var place = blocked?.blockedPlace
        if target == nil {
            let question = WorkerQuestion.blocked(pool: pool.config.name, serial: serial)
            guard let answers = askOthers(question) else { return .blocked }
            for case .blocked(let found?) in answers { place = found }
        }
        var serverID = place?.serverID
        // The command may go to the old server, or to another node, whose ids are others.
        if pool.isMoving || upstream?.origin.departure != nil { serverID = nil }
        if let place, !turns(to: place.node) { serverID = nil }
        let outcome = sendControl(
            .unblock, UnblockOrder.standIn(words, as: serverID ?? 0), isUnderstood: true)
        if outcome == .sent {
            // The next user of this connection could otherwise be unblocked in place of the target.
            blocked?.spoil(.dirty)
        }
        return outcome
    }

    /// Whether the client's next command can go to this node, and then it does. A client that holds
    /// an upstream stays there.
    private func turns(to node: NodeID) -> Bool {
        guard pool.isRouted else { return true }
        if isHolding { return upstream?.server.node.id == node }
        guard let server = pool.server(of: node) else { return false }
        turn(to: server)
        return true
    }

    /// The upstream on which this client may be blocked.
    var blockedUpstream: UpstreamConnection? {
        upstream?.sole?.isBlocking == true ? upstream : nil
    }

    private func sendControl(
        _ expectation: Expectation, _ words: [[UInt8]], isUnderstood: Bool
    ) -> Outcome {
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        return encoded.withUnsafeBytes { bytes in
            if !isUnderstood { return forwardOneOff(expectation, bytes) }
            if isHolding { return sendHeld(expectation, 0, bytes) }
            return forwardAlone(
                .control, key: controlKey, expectation, 0, bytes, isBlocking: false)
        }
    }

    /// The key for control commands. Any database will do for them; 0 saves the SELECT.
    var controlKey: PoolKey {
        PoolKey(user: key.user, protocolVersion: key.protocolVersion, database: 0)
    }
}

// MARK: - CLIENT TRACKING

extension ClientConnection {
    /// Opens a pipe for the head command.
    func enterPipe(_ span: Span<UInt8>, _ frame: CommandFrame) -> Outcome {
        let words = lastCommand == .clientTracking ? CommandTable.words(span, frame) : []
        guard let receiver = receiver(words) else { return .blocked }
        let outcome = isHolding ? becomePipe() : beginPipe()
        if outcome == .blocked, isPiped || mode == .preparing, !words.isEmpty {
            pipeHead = redirected(words, to: receiver)
        }
        return outcome
    }

    /// Leases the upstream that the head command needs, before anything is asked of others. False
    /// if it has to wait.
    private func leaseAhead() -> Bool {
        guard let own = lease(.pin, key) else { return false }
        granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
        return true
    }

    /// CLIENT TRACKING ON: holds an upstream until OFF or RESET.
    func track(_ request: Request, _ options: TrackingOptions) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        // The target could get no upstream either.
        if pool.isHalted, !isHolding, !leaseAhead() { return withoutLease }
        let words = CommandTable.words(request.input.span, request.frame)
        guard let receiver = receiver(words) else { return .blocked }
        var options = options
        let encoded = redirected(words, to: receiver)
        if receiver.serial == 0 { options.remove(.redirected) }
        let outcome = encoded.withUnsafeBytes { bytes in
            isHolding
                ? sendHeld(.trackingOn, options.rawValue, bytes)
                : beginHold(request, .trackingOn, options.rawValue, sending: bytes)
        }
        if outcome == .sent {
            if receiver.serial == 0 { forgetAskedRedirection() }
            // Where invalidations go decides how later commands are carried out.
            mode = .barrier
        }
        return outcome
    }

    /// CLIENT TRACKING OFF with a REDIRECT. The server only checks that the client exists. If it
    /// does, the option is left out; if not, the id becomes 0, which no connection has.
    func endTracking(_ span: Span<UInt8>, _ frame: CommandFrame, _ options: UInt32) -> Outcome {
        var words = CommandTable.words(span, frame)
        if let option = ClientConnection.redirectOption(words),
            let number = Word.integer(words[option + 1], in: 1...Int64.max)
        {
            guard let exists = exists(UInt64(number)) else { return .blocked }
            if exists {
                words.removeSubrange(option...option + 1)
            } else {
                words[option + 1] = [UInt8(ascii: "0")]
            }
        }
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        return encoded.withUnsafeBytes { forward(.shared, .trackingOff, options, $0) }
    }

    /// Whether the pool has this client. Nil while other workers have not answered.
    private func exists(_ serial: UInt64) -> Bool? {
        if pool.client(serial: serial) != nil { return true }
        let question = WorkerQuestion.exists(pool: pool.config.name, serial: serial)
        return otherConnection(question).map { $0 != nil }
    }

    /// The target of a CLIENT TRACKING REDIRECT.
    private struct Receiver {
        /// The index of the id among the words; nil without REDIRECT.
        var option: Int?
        /// The id of the target client; 0 for none.
        var serial: UInt64 = 0
        /// The server's id of the target's upstream; 0, which the server does not know, if there is
        /// none.
        var serverID: Int64 = 0
    }

    /// The target of REDIRECT, which gets an upstream of its own if it has none. Nil while that
    /// takes place, and if it has failed.
    private func receiver(_ words: [[UInt8]]) -> Receiver? {
        guard let option = ClientConnection.redirectOption(words),
            let number = Word.integer(words[option + 1], in: 1...Int64.max)
        else { return Receiver() }
        let serial = UInt64(number)
        session.asksRedirection(to: serial)
        let answer =
            if let target = pool.client(serial: serial) {
                askForTarget(target)
            } else {
                otherConnection(
                    .target(pool: pool.config.name, serial: serial, tracker: self.serial))
            }
        guard let found = answer else { return nil }
        if found == ClientConnection.noTarget {
            let text =
                "PINLIMIT pool \(pool.config.name): client \(serial), to which messages are to be "
                + "redirected, could not get a connection of its own"
                + " (waited \(pool.config.poolTimeout / 1_000_000)ms)"
            pool.warnRefused(Refusal.pinLimit.word, text)
            refusal = text
            worker.ready(self)
            return nil
        }
        return Receiver(option: option + 1, serial: serial, serverID: found ?? 0)
    }

    /// CLIENT TRACKING with the server's id of the target's upstream. A client's id must not reach
    /// the server as it is: it could be the id of a connection that clients share. So any other id
    /// becomes 0.
    private func redirected(_ words: [[UInt8]], to receiver: Receiver) -> [UInt8] {
        var words = words
        if let option = receiver.option {
            // The command may go to a server whose ids are others.
            let isElsewhere = pool.isMoving || upstream?.origin.departure != nil
            words[option] = Array(String(isElsewhere ? 0 : receiver.serverID).utf8)
        }
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        return encoded
    }

    /// The index of REDIRECT, if an argument follows it. The last REDIRECT counts. The word behind
    /// PREFIX is a value and no option.
    private static func redirectOption(_ words: [[UInt8]]) -> Int? {
        var found: Int?
        var index = 3
        while index + 1 < words.count {
            switch Word(words[index]) {
            case "redirect":
                found = index
                index += 2
            case "prefix": index += 2
            default: index += 1
            }
        }
        return found
    }

    /// Replaces the id in a reply about redirection with the client's own. GETREDIR's reply is the
    /// id; in TRACKINGINFO and in a push it follows a word.
    func redirectedReply(_ reply: [UInt8]) -> [UInt8] {
        var cursor = ReplyCursor(from: 0)
        var isID = true
        while let item = cursor.next(reply.span) {
            if isID, item.type == UInt8(ascii: ":"), item.value > 0 {
                return Array(reply[..<item.start]) + Array(String(session.redirection.current).utf8)
                    + Array(reply[(item.start + item.length)...])
            }
            isID =
                item.matches("redirect", in: reply.span)
                || item.matches("tracking-redir-broken", in: reply.span)
        }
        return reply
    }

    /// Sends `head` in place of the command at `start`. Returns the start of the next one.
    func pass(
        _ head: [UInt8], insteadOf bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int
    ) -> Int {
        head.withUnsafeBytes { if let base = $0.baseAddress { pass(base, $0.count) } }
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        switch scanner.scan(buffer.span, frameStart: start, limits: worker.limits.loggedIn) {
        case .command(let frame): return frame.end
        case .inline(_, _, let next), .skip(let next): return next
        case .incomplete, .invalid: return start
        }
    }
}

extension UpstreamConnection {
    /// Asks the server for its id of this connection, once, ahead of the next command and in the
    /// same write. CLIENT UNBLOCK needs the id when the connection is blocked and cannot be asked.
    func identify() {
        if origin.isIdentified { return }
        origin.isIdentified = true
        let question = UpstreamConnection.whoAmI
        expect(UpstreamConnection.nobody, .identify, bytes: question.count)
        sendOwn(question)
    }

    /// The next command on the held upstream blocks. CLIENT UNBLOCK needs the upstream's id then.
    func beginBlocking() {
        identify()
        setBlocking(true)
    }

    /// Where a client is blocked here; nil while it is not known.
    var blockedPlace: BlockedPlace? {
        knownServerID.map { BlockedPlace(node: server.node.id, serverID: $0) }
    }

    static let whoAmI = Array("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n".utf8)

    /// The reply to `identify`. After an error (no permission) the id stays unknown.
    func identified(_ reply: [UInt8]) {
        guard isBelieved, reply.first == UInt8(ascii: ":") else { return }
        origin.serverID = Word.integer(Array(reply.dropFirst().dropLast(2)), in: 1...Int64.max)
        worker.serveTargets()
        server.unblockNext()
    }
}
