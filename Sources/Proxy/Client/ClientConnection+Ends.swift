// How a client's connection ends, and what happens to the client when its upstream is lost.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// The client has closed its side. As in Redis, complete commands that it sent before still run
    /// and are answered; one that blocks is given up at once.
    func ended() {
        inputEnded = true
        channel.stopReading()
        switch mode {
        case .piped:
            if let upstream { server.machine.retire(upstream.id, .clientGone, now: worker.now) }
            server.noteWork()
        case .streaming, .swallowing:
            close(.client_closed)
        case .waiting where isBlocked:
            close(.client_closed)
        case _ where isBlocked:
            closeAfterUpstream()
        default:
            finishIfDone()
        }
    }

    /// The peer of a client that is not read has changed. If the client has only ended its stream,
    /// its earlier commands are carried out first. A broken connection is closed at once.
    func noticePeer() {
        switch channel.peer {
        case .there: break
        case .ended: if isBlocked { ended() }
        case .broken: close(.client_reset)
        }
    }

    /// It has connected just now, and its first command is probably on the way.
    var isNewcomer: Bool {
        counted.bytesIn == 0
            && worker.now.nanoseconds - origin.connectedAt < ClientConnection.newcomerTime
    }

    /// How long a drain leaves a client that has sent nothing yet, in nanoseconds.
    private static let newcomerTime: Int64 = 100_000_000

    /// Closes a client that has ended its input, or that is being drained, as soon as it has all
    /// its replies.
    func finishIfDone() {
        if lists.contains(.carriedOver) { return }
        // If the upstream is not full, what is left of the input is a command without an end.
        if isPiped, inputEnded, input.isEmpty || !isPausedByUpstream, let upstream {
            server.machine.retire(upstream.id, .clientGone, now: worker.now)
            server.noteWork()
        }
        guard mode == .open || mode == .loggedOut, inFlight == 0, !awaitsHub,
            !lists.contains(.ready)
        else { return }
        if inputEnded {
            closeAfterFlush(.client_closed)
        } else if input.isEmpty, !isHolding || isQuiet {
            closeAfterFlush(.drain)
        }
    }

    /// Writes the queued output, then closes.
    func closeAfterFlush(_ reason: ClientCloseReason) {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        if isAllWritten {
            close(reason)
            return
        }
        letGo()
        mode = .closing(reason)
        input.drop(pool: worker.chunks)
        countInput()
        channel.stopReading()
        worker.linger(self)
        worker.markDirty(self)
    }

    /// Closes only when the server has closed the upstream on which a command of this client
    /// blocks. So when this client's connection has ended, the command takes no more elements of
    /// a list. A direct connection behaves the same.
    private func closeAfterUpstream() {
        upstream?.closesBehind(id)
        letGo()
        mode = .closing(.client_closed)
        input.drop(pool: worker.chunks)
        output.drop(pool: worker.chunks)
        countInput()
        worker.linger(self)
    }

    /// Closes now. Idempotent.
    func close(_ reason: ClientCloseReason) {
        guard channel.isOpen else { return }
        letGo()
        if channel.isTLS { uncountTLS() }
        channel.close()
        input.drop(pool: worker.chunks)
        output.drop(pool: worker.chunks)
        countInput()
        uncountKept()
        worker.closed(self, reason)
    }

    /// Returns all upstreams and cancels all waits of this client.
    private func letGo() {
        server.noteWork()
        redirect(to: 0)
        forgetAskedRedirection()
        if case .waiting(let wait) = mode {
            server.machine.cancel(wait.ticket)
            pool.waitEnded(wait)
            pool.meter.leasesLeft += 1
            noteWait(wait, end: .left)
            if !isLeaving { pool.traffic.left += 1 }
        }
        if let unused = granted {
            granted = nil
            unused.upstream.server.giveBack(unused.upstream)
        }
        if extras != nil {
            dropStrands()
            takeAsideBack()
            dropParked()
        }
        leaveHubs()
        guard let upstream else { return }
        leaveSlowReaders(upstream)
        self.upstream = nil
        switch mode {
        case .exclusive, .streaming, .preparing, .piped:
            upstream.abandon()
            server.machine.retire(upstream.id, .clientGone, now: worker.now)
        case _ where upstream.hold != nil:
            if upstream.sole?.isBlocking == true {
                upstream.abandon()
                server.machine.retire(upstream.id, .clientGone, now: worker.now)
            } else {
                upstream.orphan()
            }
        default:
            // Its commands still run; their replies are dropped.
            if inFlight > 0 {
                upstream.takeBack()
                upstream.judgeReading()
            }
        }
        inFlight = 0
    }

    /// The client's address, in Redis's format.
    var peerText: String { addressText(SocketAddress.remote(of: channel.descriptor)) }

    /// `peerText` in bytes.
    func appendPeer(to output: inout [UInt8]) {
        append(SocketAddress.remote(of: channel.descriptor), to: &output)
    }

    /// The address that the client connected to, in bytes. There are few different ones, so the
    /// worker keeps each once.
    var localBytes: [UInt8] {
        if origin.localPlace > 0 { return worker.localAddresses[Int(origin.localPlace) - 1] }
        var bytes: [UInt8] = []
        append(SocketAddress.local(of: channel.descriptor), to: &bytes)
        if let known = worker.localAddresses.firstIndex(of: bytes) {
            origin.localPlace = UInt8(known + 1)
        } else if worker.localAddresses.count < Int(UInt8.max) {
            worker.localAddresses.append(bytes)
            origin.localPlace = UInt8(worker.localAddresses.count)
        }
        return bytes
    }

    private func append(_ address: SocketAddress?, to output: inout [UInt8]) {
        if let address, address.append(to: &output) { return }
        output.append(contentsOf: addressText(address).utf8)
    }

    private func addressText(_ address: SocketAddress?) -> String {
        guard let address else { return "?:0" }
        if !address.isUnix { return address.description }
        let path = SocketAddress.local(of: channel.descriptor)?.description.dropFirst(5) ?? ""
        return "\(path):0"
    }

    /// It is proven that the server did not receive these bytes. They go back to the front of the
    /// input and are planned again. There are `count` commands in them.
    func sendAgain(_ bytes: [UInt8], count: Int = 0, wasShared: Bool = false) {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        let now = worker.now
        let limit = retryUntil ?? now + pool.config.poolTimeout
        retryUntil = limit
        if now > limit {
            upstreamLost()
            return
        }
        forgetUpstream()
        input.prepend(bytes, pool: worker.chunks)
        pool.traffic.retried += 1
        if wasShared {
            pool.meter.retriedShared += UInt64(count)
        } else {
            pool.meter.retriedPinned += UInt64(count)
        }
        worker.ready(self)
    }

    /// The replies to `count` commands are lost. The client gets an error for each.
    func answerLost(_ count: Int, _ text: String) {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        forgetUpstream()
        if extras?.tour != nil { tour = nil }
        pool.countRefused(.upstream_lost, text, times: count)
        for _ in 0..<count { replyError(text) }
        worker.ready(self)
    }

    /// Resets the client to nothing in flight and no upstream.
    private func forgetUpstream() {
        upstream = nil
        inFlight = 0
        isSlow = false
        forgetQuestions()
        session.forgetRedirection()
        session.endHold()
        mode = .open
        scanner = CommandScanner()
    }

    /// The upstream with this client's state or its unanswered commands is gone.
    func upstreamLost() {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        let wasEnd = isPiped || upstream?.ending.hasSaidGoodbye == true
        if extras != nil { dropStrands() }
        upstream = nil
        inFlight = 0
        isSlow = false
        if wasEnd, inputEnded {
            mode = .open
            closeAfterFlush(.client_closed)
            return
        }
        if case .waiting = mode {} else { mode = .open }
        closeAfterFlush(.upstream_lost)
    }
}
