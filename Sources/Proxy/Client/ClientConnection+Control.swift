// CLIENT KILL, CLIENT UNBLOCK and CLIENT TRACKING REDIRECT: about other clients, which the server
// does not know one by one.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    var ageSeconds: Int64 { (worker.now.nanoseconds - origin.connectedAt) / 1_000_000_000 }

    /// What CLIENT LIST's and CLIENT KILL's TYPE take it for.
    var type: ClientType { (upstream?.hold?.subscriptions ?? 0) > 0 ? .pubsub : .normal }

    /// Sends CLIENT KILL or CLIENT UNBLOCK past everything that it might be meant to end.
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
        if session.isSendingTransaction {
            // EXEC runs it when nobody looks: meant for nobody, it does no harm there.
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

    /// CLIENT UNBLOCK with the id by which the server knows the blocked connection, or with one
    /// that it does not know.
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
        var serverID = blocked?.origin.serverID
        if target == nil {
            let question = WorkerQuestion.blocked(pool: pool.config.name, serial: serial)
            guard let answer = otherConnection(question) else { return .blocked }
            serverID = answer
        }
        let outcome = sendControl(
            .unblock, UnblockOrder.standIn(words, as: serverID ?? 0), isUnderstood: true)
        if outcome == .sent {
            // Whoever had this connection next could be unblocked in the other's place.
            blocked?.spoil(.dirty)
        }
        return outcome
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

    /// Where control commands go: no database matters to them, and the first one needs no SELECT.
    var controlKey: PoolKey {
        PoolKey(user: key.user, protocolVersion: key.protocolVersion, database: 0)
    }
}

// MARK: - CLIENT TRACKING

extension ClientConnection {
    /// Opens a pipe for the command at the head of the input.
    func enterPipe(_ span: Span<UInt8>, _ frame: CommandFrame) -> Outcome {
        let words = lastCommand == .clientTracking ? CommandTable.words(span, frame) : []
        guard let receiver = receiver(words) else { return .blocked }
        let outcome = isHolding ? becomePipe() : beginPipe()
        if outcome == .blocked, isPiped || mode == .preparing, !words.isEmpty {
            pipeHead = redirected(words, to: receiver)
        }
        return outcome
    }

    /// CLIENT TRACKING ON: holds an upstream until OFF or RESET.
    func track(_ request: Request, _ options: TrackingOptions) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
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
            // What comes behind it is told from where the invalidations go.
            mode = .barrier
        }
        return outcome
    }

    /// CLIENT TRACKING OFF that names a client: the server only wants it to exist. Left out, that
    /// is so of every client; no connection has the id 0.
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

    /// Whether the pool has this client. Nil while others are being asked.
    private func exists(_ serial: UInt64) -> Bool? {
        if pool.client(serial: serial) != nil { return true }
        let question = WorkerQuestion.exists(pool: pool.config.name, serial: serial)
        return otherConnection(question).map { $0 != nil }
    }

    /// The server has accepted this client's CLIENT TRACKING ON.
    func trackingAccepted() {
        redirect(to: askedRedirection)
        askedRedirection = 0
    }

    /// Where a CLIENT TRACKING wants its messages to go.
    private struct Receiver {
        /// The place of its id among the words; nil when they name none.
        var option: Int?
        /// The client that is meant, 0 for none.
        var serial: UInt64 = 0
        /// Its connection, by the server's id, or 0, which the server does not know.
        var serverID: Int64 = 0
    }

    /// The connection of the client that REDIRECT names, which gets one if it has none. Nil while that
    /// is under way, or has failed.
    private func receiver(_ words: [[UInt8]]) -> Receiver? {
        guard let option = ClientConnection.redirectOption(words),
            let number = Word.integer(words[option + 1], in: 1...Int64.max)
        else { return Receiver() }
        let serial = UInt64(number)
        askedRedirection = serial
        let answer =
            if let target = pool.client(serial: serial) {
                askForTarget(target)
            } else {
                otherConnection(
                    .target(pool: pool.config.name, serial: serial, tracker: self.serial))
            }
        guard let found = answer else { return nil }
        if found == ClientConnection.noTarget {
            refusal =
                "PINLIMIT pool \(pool.config.name): client \(serial), to which messages are to be "
                + "redirected, could not get a connection of its own"
                + " (waited \(pool.config.poolTimeout / 1_000_000)ms)"
            worker.ready(self)
            return nil
        }
        return Receiver(option: option + 1, serial: serial, serverID: found ?? 0)
    }

    /// CLIENT TRACKING with the id by which the server knows the connection that REDIRECT names.
    /// Any other id becomes one that the server does not know; it could be that of a connection
    /// which others share.
    private func redirected(_ words: [[UInt8]], to receiver: Receiver) -> [UInt8] {
        var words = words
        if let option = receiver.option {
            words[option] = Array(String(receiver.serverID).utf8)
        }
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        return encoded
    }

    /// Where REDIRECT stands, if an argument follows it; the last one counts. What follows PREFIX
    /// is no option.
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

    /// A reply of the server with the id of a redirection: that of the client that is meant
    /// instead. GETREDIR's is the reply, that of TRACKINGINFO and of a push stands behind a word.
    func redirectedReply(_ reply: [UInt8]) -> [UInt8] {
        var cursor = ReplyCursor(from: 0)
        var isID = true
        while let item = cursor.next(reply.span) {
            if isID, item.type == UInt8(ascii: ":"), item.value > 0 {
                return Array(reply[..<item.start]) + Array(String(redirection).utf8)
                    + Array(reply[(item.start + item.length)...])
            }
            isID =
                item.matches("redirect", in: reply.span)
                || item.matches("tracking-redir-broken", in: reply.span)
        }
        return reply
    }

    /// Sends `head` in place of the command at `start`. Returns where the next one begins.
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
    /// Has the server say by which id it knows this connection, once: CLIENT UNBLOCK needs it when
    /// nobody can ask any more. Goes ahead of the next command, in the same write.
    func identify() {
        if origin.isIdentified { return }
        origin.isIdentified = true
        let question = UpstreamConnection.whoAmI
        expect(UpstreamConnection.nobody, .identify, bytes: question.count)
        sendOwn(question)
    }

    static let whoAmI = Array("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n".utf8)

    /// The answer to `identify`; an error (no permission) leaves the id unknown.
    func identified(_ reply: [UInt8]) {
        guard isBelieved, reply.first == UInt8(ascii: ":") else { return }
        origin.serverID = Word.integer(Array(reply.dropFirst().dropLast(2)), in: 1...Int64.max)
        worker.serveTargets()
    }
}
