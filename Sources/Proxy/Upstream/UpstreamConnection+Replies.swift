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
        if let sole, receiveAlone(sole, bytes, count) { return }
        if incoming.isErrorKept {
            receiveBehindError(bytes, count)
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
            } else if inFlight.isPlacedRun {
                position = relayPlacedRun(bytes, span, from: position)
            } else {
                position = relayRun(bytes, span, from: position)
            }
            if stage != .ready { return }
        }
    }

    /// Handles what comes on a connection of one user, if it is not framed as replies are.
    private func receiveAlone(_ sole: SoleUse, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        switch sole.kind {
        case .hub(let hub): receiveHub(hub, bytes, count)
        case .gate: receiveGate(bytes, count)
        default:
            guard sole.messages.isPlusKept else { return false }
            sole.messages.isPlusKept = false
            let joined =
                [UInt8(ascii: "+")] + UnsafeRawBufferPointer(start: bytes, count: count)
            joined.withUnsafeBytes { receiveReplies($0.baseAddress!, $0.count) }
        }
        return true
    }

    /// Passes on replies to the oldest entry, as far as they have come. Returns the next position.
    func relayRun(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        let entry = inFlight.first
        // Those with places need not follow each other.
        let most = entry.expectation == .placed ? 1 : entry.count
        var position = start
        var finished: UInt32 = 0
        let measures = beginGauging(entry, at: start)
        while position < span.count, finished < most {
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
                if scanner.isError {
                    noteError()
                    if pool.isRouted || origin.isReadOnly,
                        isRefusal(behind: finished, bytes + start, position - start, end - start)
                    {
                        return end
                    }
                }
                position = end
                if measures { gauge(upTo: position, isComplete: true) }
                finished += 1
            case .incomplete:
                if scanner.isPush {
                    return meetStray(
                        entry, behind: finished, bytes + start, position - start, span[position],
                        span.count)
                }
                if pool.isRouted || origin.isReadOnly,
                    keepsError(span, bytes, from: position, entry, behind: finished, since: start)
                {
                    return span.count
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
        case .plain, .block:
            if finished > 0 { countReplies(finished, entry) }
            deliver(entry, bytes + start, position - start, finished)
        case .placed, .placedBlock, .placedExec:
            relayPlaced(entry, bytes + start, position - start, finished)
        default: handOver(entry, bytes + start, position - start, isComplete: finished > 0)
        }
        return position
    }

    /// Reads an error reply. Some errors show that a failover takes place or has taken place. In
    /// place of a fence's reply they show nothing.
    private func noteError() {
        guard inFlight.first.expectation != .fence else { return }
        if inFlight.first.client != UpstreamConnection.nobody,
            !inFlight.first.expectation.isQuestion
        {
            pool.countErrorReply(ErrorWord(scanner.head))
        }
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
        // What a replica says of itself is no sign of a failover.
        if origin.isReadOnly { server.doubtReplica() } else { server.failoverSign(.readOnly) }
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
        let client = worker.clients.unretained(entry.client)
        guard let client, client._withUnsafeGuaranteedRef({ $0.upstream === self }) else {
            // The client has left: the bytes are dropped. The replies are counted already.
            cleanOrphan()
            return
        }
        client._withUnsafeGuaranteedRef {
            $0.receiveRun(
                bytes, count: count, completing: finished, isSilent: entry.isSilent, from: self)
        }
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
        if isComplete { countRareReply(entry) }
        if entry.expectation.isLogin, fence != nil {
            takeFencedLogin(entry, bytes, count, isComplete: isComplete)
            return
        }
        if pool.isRouted, isComplete, endsMulti(entry, bytes, count) { return }
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

    /// Replies here can be matched with commands. If that is not certain, a reply changes only the
    /// state of its own client.
    var isBelieved: Bool { hold?.isTainted != true }

    /// Replies here also tell the pool about the server.
    var teachesPool: Bool { isBelieved && isOfThisServer }

    /// Poisons in the middle of a run. The complete replies before the error are good and are
    /// passed on.
    func poison(
        _ text: String, behind finished: UInt32, of entry: InFlight,
        _ bytes: UnsafeRawPointer, _ count: Int
    ) {
        if finished > 0 {
            incoming.isRelaying = false
            passOn(entry, bytes, count, finished)
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
            "closing a connection to \(server.place): \(text)")
        lose(.desync)
    }
}
