// The way out: from bytes of the server to the clients. Replies are passed on as they arrive; only
// a few short ones are collected. Consecutive replies to one client are passed on in one piece.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// The client id of Redpool's own commands. No client has it.
    static let nobody = SlotID(slot: .max, generation: .max)

    func receiveReplies(_ bytes: UnsafeRawPointer, _ count: Int) {
        if let sole, sole.messages.isPlusKept {
            sole.messages.isPlusKept = false
            let joined =
                [UInt8(ascii: "+")] + UnsafeRawBufferPointer(start: bytes, count: count)
            joined.withUnsafeBytes { receiveReplies($0.baseAddress!, $0.count) }
            return
        }
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let span = buffer.span
        var position = 0
        while position < count {
            if let client = piped {
                // A held connection became a pipe while these bytes were on the way.
                client.receive(bytes + position, count: count - position)
                return
            }
            if isUndecided(span, at: position) {
                sole?.messages.isPlusKept = true
                return
            }
            if incoming.isDropping {
                position = dropPush(span, from: position)
            } else if !isShared, hold != nil, isPushFrame(span, at: position) {
                position = meetPush(bytes, span, from: position)
            } else if inFlight.isEmpty {
                guard isStray(span[position]) else {
                    poison("an unexpected reply")
                    return
                }
                noteStray()
                position = dropPush(span, from: position)
            } else {
                position = relayRun(bytes, span, from: position)
            }
            if stage != .ready { return }
        }
    }

    /// Passes on replies to the oldest entry, as far as they have come. Returns the next position.
    private func relayRun(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        let entry = inFlight.first
        var position = start
        var finished: UInt32 = 0
        let measures = beginGauging(entry, at: start)
        while position < span.count, finished < entry.count {
            if !isShared, hold != nil, !scanner.isInside {
                if isPushFrame(span, at: position) || isUndecided(span, at: position) { break }
                scanner.passesLines = expectsLines(in: entry.expectation)
            }
            switch scanner.scan(span, from: position) {
            case .complete(let end):
                if scanner.isPush {
                    return meetStray(
                        entry, behind: finished, bytes + start, position - start, span[position],
                        end)
                }
                if scanner.isError { noteError() }
                position = end
                if measures { gauge(upTo: position, isComplete: true) }
                finished += 1
            case .incomplete:
                if scanner.isPush {
                    return meetStray(
                        entry, behind: finished, bytes + start, position - start, span[position],
                        span.count)
                }
                position = span.count
            case .invalid(let error):
                poison(
                    error.message, behind: finished, of: entry, bytes + start, position - start)
                return span.count
            }
        }
        if finished > 0, fence != nil, isFenceAhead(entry, bytes + start, position - start) {
            ending.isMisaligned = true
            poison(
                Fence.tooEarly, behind: finished - 1, of: entry, bytes + start,
                position - start - Fence.replyLength)
            return span.count
        }
        incoming.isRelaying = scanner.isInside
        if measures, incoming.isRelaying { gauge(upTo: position, isComplete: false) }
        noteLargeReply(
            incoming.isRelaying && scanner.payloadRemaining > UpstreamConnection.largeReply)
        switch entry.expectation {
        case .plain, .block: deliver(entry, bytes + start, position - start, finished)
        default: handOver(entry, bytes + start, position - start, isComplete: finished > 0)
        }
        return position
    }

    /// Reads an error reply. Some errors show that a failover takes place or has taken place. In
    /// place of a fence's reply they show nothing.
    private func noteError() {
        guard inFlight.first.expectation != .fence else { return }
        if scanner.head.starts(with: "UNBLOCKED force "), isWaitOfClient {
            // The server closes this connection behind the error.
            ending.hasUnblocked = true
            spoil(.failoverSign)
        } else {
            guard
                scanner.head.starts(with: "READONLY ") || scanner.head.starts(with: "LOADING ")
                    || scanner.head.starts(with: "MASTERDOWN ")
            else { return }
        }
        server.failoverSign(self)
    }

    /// The reply may be to a command that blocks. A script does not block, but can make up any
    /// error.
    private var isWaitOfClient: Bool {
        guard let sole, let client = worker.clients[inFlight.first.client] else { return false }
        return sole.state != nil ? sole.isBlocking : !CommandTable.runsScript(client.lastCommand)
    }

    private func noteLargeReply(_ isLarge: Bool) {
        if isLarge == incoming.isLarge { return }
        incoming.isLarge = isLarge
        judgeAvailability()
    }

    /// Passes bytes to a client, which may have left, and counts the replies that they complete.
    func deliver(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32) {
        if finished > 0 {
            finishHead(finished)
            if isShared { countFinished(finished) }
        }
        guard let client = worker.clients[entry.client], client.upstream === self else {
            cleanOrphan()
            return
        }
        client.receiveRun(
            bytes, count: count, completing: finished, isSilent: entry.isSilent, from: self)
    }

    /// Passes on a reply that Redpool has made or changed, and finishes the entry.
    func deliver(_ entry: InFlight, _ reply: [UInt8]) {
        reply.withUnsafeBytes { deliver(entry, $0.baseAddress!, $0.count, 1) }
    }

    func countFinished(_ replies: UInt32) {
        server.machine.finish(id, count: Int32(truncatingIfNeeded: replies), now: worker.now)
        if server.machine.hasActions { server.noteWork() }
        noteIfEmptied()
    }

    /// Called when nothing is in flight any more on a shared connection.
    @inline(__always)
    func noteIfEmptied() {
        guard inFlight.isEmpty else { return }
        server.noteEmptied(self)
        wakeSoloists()
    }

    /// Handles replies that mean something to Redpool.
    private func handOver(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool
    ) {
        if entry.expectation.isLogin, fence != nil {
            takeFencedLogin(entry, bytes, count, isComplete: isComplete)
            return
        }
        if entry.expectation == .execWalked {
            walkOn(entry, bytes, count, isComplete: isComplete)
            return
        }
        if entry.expectation.isCollected {
            collect(entry, bytes, count, isComplete: isComplete)
            return
        }
        if isComplete { takeNote(entry) }
        switch entry.expectation {
        case .probe:
            takeProbe(isComplete: isComplete)
        case .fence:
            takeFence(entry, bytes, count, isComplete: isComplete)
        case .ignored:
            if isComplete { finishHead() }
        case .clean:
            if !isComplete { return }
            finishHead()
            cleaned()
        case .scriptQuestion:
            if !isComplete { return }
            finishHead()
        case .beforeLogin where entry.value == 1 && isComplete && !scanner.isError:
            // The command took effect here, and its effect is not known.
            deliver(entry, bytes, count, 1)
            lose(.notUnderstood)
        default:
            deliver(entry, bytes, count, isComplete ? 1 : 0)
        }
    }

    private var facts: ReplyFacts {
        ReplyFacts(
            type: scanner.type, isError: scanner.isError,
            isOK: !scanner.isError && scanner.head.matches("OK"),
            isQueued: !scanner.isError && scanner.head.matches("QUEUED"),
            isUnknownCommand: scanner.isError && scanner.head.starts(with: "ERR unknown comm"))
    }

    /// Replies here can be matched with commands. If that is not certain, a reply changes only the
    /// state of its own client.
    var isBelieved: Bool { hold?.isTainted != true }

    /// Replies here also tell the pool about the server.
    var teachesPool: Bool { isBelieved && isOfThisServer }

    /// What a complete reply changes in the state of this connection and of its client.
    func takeNote(_ entry: InFlight) {
        let facts = facts
        heldReplied(to: entry.expectation, facts, value: entry.value)
        let client = worker.clients[entry.client]
        switch entry.expectation {
        case .mirrorName, .mirrorInfo:
            let change = client?.takeChange()
            guard facts.isOK else { return }
            if let client { change?.apply(to: &client.identity) }
            // The next client with sole use must not find another client's name.
            identity.taint(entry.expectation)
        case .select where facts.isOK:
            var newKey = key
            newKey.database = entry.value
            if teachesPool { pool.knownKeys.select(newKey) }
            move(to: newKey, with: client)
        case .authenticate:
            let login = client?.takeLogin()
            guard facts.isOK else {
                if facts.isError { refuseLogin(login) }
                return
            }
            if isBelieved { acceptLogin(login, protocolVersion: nil, client) }
        case .trackingOn where facts.isOK: client?.trackingAccepted()
        case .trackingOn where facts.isError: client?.forgetAskedRedirection()
        case .trackingOff where facts.isOK: client?.redirect(to: 0)
        case .monitor where facts.isError && hold?.isMonitoring != true:
            client?.monitorFilter = nil
        case .stranger where facts.isQueued:
            if entry.value == 0 { client?.hasQueuedStranger = true } else { queuedSubcommand() }
        case .unknown where !facts.isError && !facts.isQueued:
            // A module may have been loaded meanwhile. What the command did here is not known.
            pool.unknownCommands = UnknownCommands()
            retireWhenFree(.notUnderstood)
        case .ofModule where facts.isUnknownCommand:
            pool.unknownCommands = UnknownCommands()
        case .unclear where facts.isError && scanner.head.starts(with: "ERR Unknown subc"):
            if let client, teachesPool {
                pool.unknownCommands.learn(client.askedName, .stranger)
            }
        case .beforeLogin:
            settleStranger(isQuoting: entry.value == 1)
            if !facts.isError { pool.noteDefault(needsLogin: false) }
        case .scriptQuestion: noteScriptAnswer(facts)
        case .write where !facts.isError && isBelieved:
            if entry.value != 0 { pool.disprovePause(entry.value) }
            if !facts.isQueued { client?.writes.collapse(to: id) }
        case .heldUp where !facts.isError && isBelieved: pool.disprovePause(entry.value)
        case .pause where facts.isOK && isBelieved, .unpause where facts.isOK && isBelieved:
            notePause(entry.expectation, entry.value)
        case .blockEnd where !facts.endsTransaction:
            // The transaction may still be open; commands of other clients would be queued into it.
            spoil(.dirty)
            server.machine.retire(id, .dirty, now: worker.now)
            server.noteWork()
        default: break
        }
    }

    func finishCollected(_ entry: InFlight, _ reply: [UInt8]) {
        takeNote(entry)
        let client = worker.clients[entry.client]
        let isGood = !scanner.isError && !scanner.head.matches("QUEUED")
        switch entry.expectation {
        case .commandInfo:
            finishHead()
            if isShared { countFinished(1) }
            guard isOfThisServer else {
                // It is asked again, over a connection to the present server.
                client?.endQuestion()
                return
            }
            client?.learnedCommand(
                reply, isLockedOut: scanner.isError && scanner.head.starts(with: "NOAUTH"))
        case .lockQuestion:
            if scanner.isError { noteOwn(UpstreamConnection.ping, isRefused: true) }
            settleStranger(isQuoting: false)
            finishHead()
            if isShared { countFinished(1) }
            client?.learnedLock(
                reply, isLocked: scanner.isError && scanner.head.starts(with: "NOAUTH"))
        case .identify:
            finishHead()
            identified(reply)
        case .reset:
            finishHead()
            if let client, client.upstream === self {
                client.answeredReset()
            } else {
                cleanOrphan()
            }
        case .rewriteList, .kill: judged(entry, reply, isGood: isGood)
        case .hello:
            noteHelloRefused()
            if isGood, facts.isAggregate, entry.value != 0 {
                // On a connection in sole use it counts even if its client has left.
                var newKey = key
                newKey.protocolVersion = UInt8(entry.value)
                if !isShared {
                    move(to: newKey, with: client)
                } else if let client, client.upstream === self {
                    client.key.protocolVersion = newKey.protocolVersion
                }
            }
            deliver(entry, isGood ? HelloReply.replacingID(reply, client) : reply)
        case .helloChange:
            let login = client?.takeLogin()
            // On a shared connection it can have changed no more than the name.
            if isShared { identity.taint(.mirrorName) }
            if isGood, facts.isAggregate, !isBelieved {
                var newKey = key
                newKey.protocolVersion = UInt8(entry.value)
                move(to: newKey, with: client)
            } else if isGood, facts.isAggregate {
                acceptLogin(login, protocolVersion: UInt8(entry.value), client)
            } else {
                refuseLogin(login)
                // The server may have set the name before the error.
                identity.taint(.mirrorName)
                if isBelieved, server.facts.isBefore72 { acceptPart(of: login, client) }
            }
            deliver(entry, isGood ? HelloReply.replacingID(reply, client) : reply)
        default:
            deliver(entry, isGood ? client?.ownValue(entry.expectation, reply) ?? reply : reply)
            worker.boundOutput()
        }
    }

    /// Poisons in the middle of a run. The complete replies before the error are good and are
    /// passed on.
    func poison(
        _ text: String, behind finished: UInt32, of entry: InFlight,
        _ bytes: UnsafeRawPointer, _ count: Int
    ) {
        if finished > 0 {
            incoming.isRelaying = false
            deliver(entry, bytes, count, finished)
        }
        poison(text)
    }

    /// Closes the connection because replies can no longer be matched with commands. Nothing behind
    /// this place can be trusted, so all clients with commands in flight are closed too.
    func poison(_ text: String) {
        // On a connection in sole use whose state is not fully known this is no desync. A script's
        // status can look like a line of MONITOR.
        if !isShared, let hold, hold.isTainted || hold.isMonitoring {
            lose(.notUnderstood)
            return
        }
        pool.warnLimit(
            PoolFront.desyncEvent, reason: CloseReason.desync.word,
            "closing a connection to \(pool.config.upstream): \(text)")
        lose(.desync)
    }
}

extension ReplyFacts {
    /// The reply to EXEC shows that the transaction is over: it is an array, a null, or an error
    /// that says so.
    var endsTransaction: Bool { isArrayOrNull || (isError && !isUnknownCommand) }

    /// HELLO is answered with an array or a map.
    var isAggregate: Bool { type == UInt8(ascii: "*") || type == UInt8(ascii: "%") }

    private var isArrayOrNull: Bool {
        type == UInt8(ascii: "*") || type == UInt8(ascii: "_") || type == UInt8(ascii: "~")
    }
}
