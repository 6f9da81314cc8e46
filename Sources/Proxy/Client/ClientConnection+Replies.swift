// The way out: replies of the server and of Redpool to a client, and the limits for a client that
// does not read them.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Takes a run of replies, or a part of one, in one call: `count` bytes, which complete the
    /// replies to `replies` commands. If `isSilent`, CLIENT REPLY hides them.
    @inline(__always)
    func receiveRun(
        _ bytes: UnsafeRawPointer, count: Int, completing replies: UInt32, isSilent: Bool,
        from upstream: UpstreamConnection
    ) {
        if !isSilent {
            receive(bytes, count: count)
            checkPace(upstream)
        }
        if replies > 0 { answered(replies, from: upstream) }
    }

    /// Takes bytes of a reply.
    func receive(_ bytes: UnsafeRawPointer, count: Int) {
        switch mode {
        case .closing: return
        case .piped: pipeIsAnswered()
        case .exclusive: if extras != nil, collectTour(bytes, count: count) { return }
        default: break
        }
        if listening.isEmpty { put(bytes, count: count) } else { follow(bytes, count: count) }
    }

    /// Queues bytes to be written. Large pieces go to the socket at once and are not copied.
    @inline(__always)
    func put(_ bytes: UnsafeRawPointer, count: Int) {
        var sent = 0
        if output.isEmpty, count >= 16 << 10 {
            let result = channel.send(bytes, count: count)
            if result > 0 { sent = result }
            if channel.isTLS { countUnsent() }
            bytesTaken &+= UInt64(sent)
        }
        if sent < count {
            output.append(bytes + sent, count: count - sent, pool: worker.chunks)
            worker.markDirty(self)
        }
    }

    /// Answers from Redpool itself. Nothing of this client may be in flight, so the order is kept.
    func reply(_ text: StaticString) {
        output.append(text, pool: worker.chunks)
        worker.markDirty(self)
        pool.traffic.commandsLocal += 1
        counted.commands &+= 1
    }

    func replyBytes(_ bytes: [UInt8]) {
        output.append(bytes, pool: worker.chunks)
        worker.markDirty(self)
        pool.traffic.commandsLocal += 1
        counted.commands &+= 1
    }

    /// Answers with an error. `text` begins with the error's code.
    func replyError(_ text: String) {
        worker.turn.spend(Turn.special)
        if session.takeSilence() { return }
        var bytes: [UInt8] = []
        Encode.error(text, into: &bytes)
        replyBytes(bytes)
    }

    /// `replies` replies to this client are complete. They have come from its upstream.
    func answered(_ replies: UInt32, from upstream: UpstreamConnection) {
        guard channel.isOpen, self.upstream === upstream else { return }
        inFlight -= replies
        if extras != nil {
            retryUntil = nil
            noteWaited()
        }
        if inFlight > 0 { return }
        switch mode {
        case .exclusive:
            trace("client.unpinned")
            leaveUpstream(upstream)
            mode = .open
            server.returned(upstream)
            if upstream.ending.hasUnblocked {
                closeAfterFlush(.upstream_lost)
                return
            }
        case .streaming:
            // The reply came before the end of the command: the server has given up on it and would
            // read the rest as something else.
            closeAfterFlush(.upstream_lost)
            return
        default:
            if upstream.isShared {
                leaveUpstream(upstream)
            } else if let hold = upstream.hold {
                if upstream.ending.hasUnblocked {
                    closeAfterFlush(.upstream_lost)
                    return
                }
                upstream.setBlocking(false)
                // A streamed command is done; sent bytes are kept again.
                upstream.keepSent()
                // A spoiled upstream is retired when its state ends, not before.
                if hold.isClean { endHold(upstream) }
            }
        }
        if extras != nil {
            takeRefusedBack()
            if extras?.tour != nil { continueTour() }
        }
        if !input.isEmpty || inputEnded || mode == .barrier || isLeaving {
            worker.ready(self)
        }
    }

    /// Ends the hold: the client's state on the upstream is over.
    func endHold(_ upstream: UpstreamConnection) {
        if upstream.hold?.isCleanable == false { upstream.spoil(.dirty) }
        trace("client.unpinned")
        leaveUpstream(upstream)
        session.endHold()
        redirect(to: 0)
        monitorFilter = nil
        server.returned(upstream)
        if extras != nil { multiEnded() }
    }

    @inline(__always)
    private func leaveUpstream(_ upstream: UpstreamConnection) {
        leaveSlowReaders(upstream)
        self.upstream = nil
        upstream.takeBack()
        upstream.judgeReading()
    }

    /// Writes the queued output.
    func flush() {
        guard channel.isOpen else { return }
        let before = output.count
        let result = output.flush(to: channel, pool: worker.chunks)
        bytesTaken &+= UInt64(before - output.count)
        switch result {
        case .empty:
            if channel.forgetWritable() { countUnsent() }
            if case .closing(let reason) = mode {
                close(reason)
                return
            }
        case .full:
            channel.awaitWritable()
            if channel.isTLS { countUnsent() }
        case .failed:
            closeBroken()
            return
        }
        if isSlow, let upstream {
            if output.count <= outputLowWater {
                leaveSlowReaders(upstream)
            } else if output.count <= outputLimit / 2 {
                leaveLimit(upstream)
            }
        }
        if let strands { paceStrands(strands) }
        if inputEnded || isLeaving { worker.ready(self) }
    }

    // MARK: Slow readers

    /// Called when output has been added. If the client does not read and no other client waits on
    /// its upstream, the upstream is not read either. While others wait, the client's replies are
    /// buffered up to `clientOutputLimit`, or up to a lower mark while output memory is short.
    func checkPace(_ upstream: UpstreamConnection) {
        guard output.count > ClientConnection.shortHighWater, output.count > outputHighWater,
            channel.isOpen
        else { return }
        if !isSlow {
            isSlow = true
            slowSince = LimitCheck(self)
            upstream.readerIsSlow()
        }
        upstream.judgeReading()
        if output.count > outputLimit, !upstream.flow.isUnread { reachLimit(upstream) }
    }

    var outputHighWater: Int {
        worker.isOutputShort
            ? ClientConnection.shortHighWater : ClientConnection.outputHighWater
    }

    var outputLowWater: Int {
        worker.isOutputShort ? ClientConnection.shortLowWater : ClientConnection.outputLowWater
    }

    private var outputLimit: Int {
        worker.isOutputShort
            ? ClientConnection.shortHighWater
            : max(pool.config.clientOutputLimit, ClientConnection.outputHighWater)
    }

    /// The client is over its output limit, and others wait behind it. A client that reads slowly
    /// may delay them for a while; one that does not read is closed. Only the first such client of
    /// an upstream gets that time. A client that reaches its limit later must have been reading
    /// before.
    private func reachLimit(_ upstream: UpstreamConnection) {
        guard limitCheck == nil else { return }
        worker.watched.atLimit.append(id)
        guard upstream.flow.limitClock.isOver(worker.now), let slowSince else {
            watch(holding: upstream)
            return
        }
        if worker.now - slowSince.since < LimitCheck.leastInterval || hasRead(since: slowSince) {
            limitCheck = LimitCheck(self)
        } else {
            closeAtLimit()
        }
    }

    private func watch(holding upstream: UpstreamConnection) {
        limitCheck = LimitCheck(self, isUnread: true)
        upstream.readerIsAtLimit()
    }

    /// Bytes that the client has read from its socket, as far as the kernel knows.
    var bytesRead: UInt64 { bytesTaken &- UInt64(channel.bytesWaiting()) }

    /// True if the client has read a 32nd of its limit per second since `check`.
    private func hasRead(since check: LimitCheck) -> Bool {
        let milliseconds = (worker.now - check.since) / 1_000_000
        let wanted = Int64(outputLimit / 32) * milliseconds / 1000
        return Int64(truncatingIfNeeded: bytesRead &- check.taken) >= wanted
    }

    /// Called with every tick while the client is at its limit. Returns false if the client has
    /// been closed, or is below its limit again, perhaps because the limit has risen.
    func checkLimit() -> Bool {
        guard channel.isOpen, let check = limitCheck else { return false }
        if let upstream, output.count <= outputLimit / 2 {
            leaveLimit(upstream)
            return false
        }
        if check.isUnread, let upstream, upstream.keepsOthersWaiting,
            upstream.flow.limitClock.isSpent(worker.now)
        {
            closeAtLimit()
            return false
        }
        let patience = check.isUnread ? LimitCheck.interval : LimitCheck.shortInterval
        guard worker.now - check.since >= patience else { return true }
        if hasRead(since: check) {
            if check.isUnread {
                limitCheck = LimitCheck(self, isUnread: true)
            } else if let upstream {
                watch(holding: upstream)
            }
            return true
        }
        closeAtLimit()
        return false
    }

    func closeAtLimit() {
        pool.warnLimit(
            "client.output_limit", reason: ClientCloseReason.output_limit.word,
            "closing a client that does not read, or too slowly: "
                + "\(output.count + parkedBytes + parkedMemory) bytes wait for it")
        close(.output_limit)
    }

    private func leaveLimit(_ upstream: UpstreamConnection) {
        guard let check = limitCheck else { return }
        limitCheck = nil
        guard check.isUnread else { return }
        upstream.readerHasLeftLimit()
    }

    func leaveSlowReaders(_ upstream: UpstreamConnection) {
        if extras != nil { leaveLimit(upstream) }
        guard isSlow else { return }
        isSlow = false
        upstream.readerIsQuick()
    }
}
