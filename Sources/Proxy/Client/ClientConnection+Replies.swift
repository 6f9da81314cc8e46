// What goes back to a client: replies of its upstream, answers of our own, and what happens when it
// does not read them.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Bytes of a reply. Large pieces go to the socket at once instead of being copied.
    func receive(_ bytes: UnsafeRawPointer, count: Int) {
        switch mode {
        case .closing: return
        case .piped: pipeIsAnswered()
        default: break
        }
        var sent = 0
        if output.isEmpty, count >= 16 << 10 {
            let result = channel.send(bytes, count: count)
            if result > 0 { sent = result }
            bytesTaken &+= UInt64(sent)
        }
        if sent < count {
            output.append(bytes + sent, count: count - sent, pool: worker.chunks)
            worker.markDirty(self)
        }
    }

    /// An answer of our own. Only when nothing of this client is in flight: order is kept.
    func reply(_ text: StaticString) {
        output.append(text, pool: worker.chunks)
        worker.markDirty(self)
        pool.traffic.commandsLocal += 1
    }

    func replyBytes(_ bytes: [UInt8]) {
        output.append(bytes, pool: worker.chunks)
        worker.markDirty(self)
        pool.traffic.commandsLocal += 1
    }

    /// An error reply; `text` begins with its first word.
    func replyError(_ text: String) {
        worker.turn.spend(Turn.special)
        if session.takeSilence() { return }
        var bytes: [UInt8] = []
        Encode.error(text, into: &bytes)
        replyBytes(bytes)
    }

    /// `replies` of this client's commands are complete.
    func answered(_ replies: UInt32) {
        guard channel.isOpen, let upstream else { return }
        inFlight -= replies
        retryUntil = nil
        if inFlight > 0 { return }
        switch mode {
        case .exclusive:
            leaveUpstream(upstream)
            mode = .open
            server.returned(upstream)
            if upstream.ending.hasUnblocked {
                closeAfterFlush(.upstream_lost)
                return
            }
        case .streaming:
            // An answer before the end of the command: the server has given up on it, and what is
            // still to come would be read as something else.
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
                // Behind a command that was streamed.
                upstream.keepSent()
                // A spoiled connection is retired then, but not taken from a client's state.
                if hold.isClean { endHold(upstream) }
            }
        }
        if !input.isEmpty || inputEnded || mode == .barrier || worker.lifecycle != .running {
            worker.ready(self)
        }
    }

    /// The state that was tied to the held upstream is over.
    func endHold(_ upstream: UpstreamConnection) {
        if upstream.hold?.isCleanable == false { upstream.spoil(.dirty) }
        leaveUpstream(upstream)
        session.released()
        members = []
        redirect(to: 0)
        monitorFilter = nil
        server.returned(upstream)
    }

    @inline(__always)
    private func leaveUpstream(_ upstream: UpstreamConnection) {
        leaveSlowReaders(upstream)
        self.upstream = nil
        upstream.takeBack()
        upstream.judgeReading()
    }

    /// Writes what is queued.
    func flush() {
        guard channel.isOpen else { return }
        let before = output.count
        let result = output.flush(to: channel, pool: worker.chunks)
        bytesTaken &+= UInt64(before - output.count)
        switch result {
        case .empty:
            channel.forgetWritable()
            if case .closing(let reason) = mode {
                close(reason)
                return
            }
        case .full:
            channel.awaitWritable()
        case .failed:
            close(.client_reset)
            return
        }
        if isSlow, let upstream {
            if output.count <= outputLowWater {
                leaveSlowReaders(upstream)
            } else if output.count <= outputLimit / 2 {
                leaveLimit(upstream)
            }
        }
        if inputEnded || worker.lifecycle != .running { worker.ready(self) }
    }

    // MARK: Slow readers

    /// A client that does not read: its upstream is kept for it alone as soon as nobody else waits
    /// there, and is then not read either. While others wait, its replies are buffered up to
    /// `clientOutputLimit`, or to this mark if memory for all clients' replies is short.
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

    /// More than its limit waits for this client, and others wait behind it. A client that
    /// reads, only slower than the server writes, delays them for a while; one that does not read
    /// is closed. Those others wait for the first such client of an upstream only: whoever comes
    /// to its limit after that has to have been reading.
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
        limitCheck = LimitCheck(self, isHolding: true)
        upstream.readerIsAtLimit()
    }

    /// Bytes that the client has taken out of its socket, as far as the kernel says.
    var bytesRead: UInt64 { bytesTaken &- UInt64(channel.bytesWaiting()) }

    /// It has taken a 32nd of its limit for each second since `check`.
    private func hasRead(since check: LimitCheck) -> Bool {
        let milliseconds = (worker.now - check.since) / 1_000_000
        let wanted = Int64(outputLimit / 32) * milliseconds / 1000
        return Int64(truncatingIfNeeded: bytesRead &- check.taken) >= wanted
    }

    /// Called with every tick while the client is at its limit. Returns false when it is not any
    /// more, or has been closed. A limit that was low because memory was short may be high again.
    func checkLimit() -> Bool {
        guard channel.isOpen, let check = limitCheck else { return false }
        if let upstream, output.count <= outputLimit / 2 {
            leaveLimit(upstream)
            return false
        }
        if check.isHolding, let upstream, upstream.keepsOthersWaiting,
            upstream.flow.limitClock.isSpent(worker.now)
        {
            closeAtLimit()
            return false
        }
        let patience = check.isHolding ? LimitCheck.interval : LimitCheck.shortInterval
        guard worker.now - check.since >= patience else { return true }
        if hasRead(since: check) {
            if check.isHolding {
                limitCheck = LimitCheck(self, isHolding: true)
            } else if let upstream {
                watch(holding: upstream)
            }
            return true
        }
        closeAtLimit()
        return false
    }

    private func closeAtLimit() {
        pool.warnLimit(
            "client.output_limit", reason: ClientCloseReason.output_limit.word,
            "closing a client that does not read, or too slowly: \(output.count) bytes wait for it")
        close(.output_limit)
    }

    private func leaveLimit(_ upstream: UpstreamConnection) {
        guard let check = limitCheck else { return }
        limitCheck = nil
        guard check.isHolding else { return }
        upstream.readerHasLeftLimit()
    }

    func leaveSlowReaders(_ upstream: UpstreamConnection) {
        if extras != nil { leaveLimit(upstream) }
        guard isSlow else { return }
        isSlow = false
        upstream.readerIsQuick()
    }
}
