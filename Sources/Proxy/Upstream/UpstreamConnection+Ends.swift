// How an upstream connection ends: failed, lost, retired, or overdue.

import Config
import EventLoop
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Ends a connection whose connect or first handshake has failed.
    func fail(_ reason: CloseReason, _ text: String) {
        trace("upstream.failed", ["reason": reason.word, "err": text])
        destroy()
        server.dialFailed(id, reason, text)
    }

    /// Ends a connection that is broken or cannot be trusted any more. `text` is the cause, if it
    /// says more than the reason.
    func lose(_ reason: CloseReason, _ text: String = "") {
        guard stage != .closed else { return }
        pool.countClosed(reason, text)
        noteSlowLost()
        trace("upstream.lost", ["reason": reason.word])
        let wasInUse =
            !(inFlight.isEmpty || owesOnlyFence) || sole?.client != nil || sole?.hub != nil
        let lostHub = takeHub()
        rescueUnreceived(reason)
        destroy()
        if wasInUse, reason != .clientGone { noteLoss(reason) }
        server.machine.lost(id, reason, now: worker.now)
        if server.machine.census.connected == 0 { server.tell(.lost) }
        let isClosedByServer = reason == .upstreamClosed || reason == .upstreamReset
        if isClosedByServer, origin.departure == nil { server.doubt(key.user) }
        server.noteWork()
        if let lostHub { pool.subscribers.lost(lostHub.hub, lostHub.relayed, reason) }
    }

    private func noteLoss(_ reason: CloseReason) {
        let hasMoved = origin.departure != nil
        server.noteLoss(reason, at: hasMoved ? origin.address : server.place)
    }

    /// Closes the connection on purpose as soon as it is not in use.
    func retireWhenFree(_ reason: CloseReason) {
        if isShared {
            server.machine.retire(id, reason, now: worker.now)
            server.noteWork()
        } else if sole?.hub != nil, stage == .ready {
            // It is in use as long as anybody listens.
            lose(reason)
        } else {
            spoil(reason)
        }
    }

    /// Closes the connection in order: ends the outgoing stream, then waits for the server's end.
    func retire(_ reason: CloseReason) {
        guard stage != .closed, stage != .closing else { return }
        pool.countClosed(reason)
        trace("upstream.retired", ["reason": reason.word])
        if stage == .connecting || stage == .securing {
            destroy()
            server.machine.closed(id, now: worker.now)
            return
        }
        // In a pipe the server's remaining bytes still go to the client.
        if piped == nil { dismissClients(reason) }
        handshake = Handshake()
        stage = .closing
        deadline = worker.now + UpstreamConnection.closeTimeout
        channel.startReading()
        if output.isAllSent { channel.finishWriting() } else { worker.markDirty(self) }
    }

    func finishClosing() {
        destroy()
        server.machine.closed(id, now: worker.now)
        server.noteWork()
    }

    /// Called with every tick. Bounds connects, closes, commands and transactions in time.
    func checkDeadline() {
        if stage == .ready { checkTimeouts() }
        if channel.isTLS { checkTLS() }
        if stage == .closing, let departure = origin.departure, worker.now >= departure.by {
            finishClosing()
            return
        }
        guard let deadline, worker.now >= deadline else { return }
        switch stage {
        case .connecting: fail(.connectTimeout, "connect timed out")
        case .securing: securingTimedOut()
        case .handshaking:
            if handshake.isFirst {
                fail(.connectTimeout, "no answer to \(handshake.currentName)")
            } else {
                lose(.conversionFailed)
            }
        case .closing: finishClosing()
        case .ready:
            // Cleaning, or a question about scripts, has taken too long.
            if isCleaning || sole?.question != nil {
                server.machine.retire(id, .dirty, now: worker.now)
            }
            server.noteWork()
            self.deadline = nil
        case .closed: break
        }
    }

    private func checkTimeouts() {
        let config = pool.config
        if let departure = origin.departure, worker.now >= departure.by {
            lose(departure.reason)
            return
        }
        if isFenceOverdue { worker.markDirty(self) }
        if isCutShort {
            lose(.notUnderstood)
            return
        }
        if owesTheGone {
            ending.hasSaidGoodbye = true
            // A reply may still come, so no other client may use this connection.
            spoil(.clientGone)
            channel.finishWriting()
            return
        }
        if let uploader, uploader.hasStalledUpload {
            uploader.closeStalledUpload()
            return
        }
        if let holder, inFlight.isEmpty, let hold, hold.isInTransaction || hold.isWatching,
            config.transactionTimeout > 0,
            worker.now.nanoseconds - holder.lastActivity > config.transactionTimeout
        {
            holder.close(.transaction_timeout)
        } else if owesOnlyFence {
            waitingSince = worker.now
        } else if config.commandTimeout > 0, !inFlight.isEmpty, !isBlocking,
            worker.now - waitingSince > config.commandTimeout + fenceAllowance
        {
            pool.warnLimit(
                "upstream.command_timeout", reason: CloseReason.commandTimeout.word,
                "no reply from \(server.place) within commandTimeout")
            lose(.commandTimeout)
        }
    }

    /// EXEC's array has fewer elements than its header says (`queueSilently`). So the reply of the
    /// fence behind it counts as an element, and the array never ends.
    private var isCutShort: Bool {
        !isShared && hold?.isTainted == true && fence != nil && incoming.isRelaying
            && channel.isReading
            && worker.now - waitingSince > pool.config.connectTimeout
    }

    /// A client with sole use has ended its input, and a reply that it is owed does not come; some
    /// commands have none. The server is told of the end, as on a direct connection. It runs what
    /// it has received, and closes.
    private var owesTheGone: Bool {
        guard !isShared, piped == nil, !ending.hasSaidGoodbye, !inFlight.isEmpty, output.isAllSent,
            let client = holder ?? worker.clients[inFlight.first.client],
            client.upstream === self, client.inputEnded, !client.isStreaming
        else { return false }
        // Commands that the client sent behind it would be lost.
        let delay =
            client.input.isEmpty
            ? UpstreamConnection.goodbyeDelay : ClientConnection.uploadTimeout
        return worker.now - waitingSince > delay
    }

    /// How long such a reply is waited for, in nanoseconds.
    private static let goodbyeDelay: Int64 = 1_000_000_000

    /// The client whose large command may still be coming in.
    var uploader: ClientConnection? {
        if let piped { return piped }
        guard !isShared, !inFlight.isEmpty else { return nil }
        return worker.clients[inFlight.first.client]
    }

    /// The oldest command may block, so no deadline applies.
    private var isBlocking: Bool { sole?.isBlocking == true }

    private var isCleaning: Bool { if case .cleaning = sole?.kind { true } else { false } }

    /// This connection leads to the same server as the newest one.
    var isOfThisServer: Bool {
        origin.departure == nil
            && (origin.epoch == server.processes.epoch || server.processes.areSeveral)
    }

    /// Marks the connection: it is closed when its lease ends. The first reason counts.
    func spoil(_ reason: CloseReason) {
        if ending.spoiled == nil { ending.spoiled = reason }
    }

    /// Closes a client whose command blocked here, as soon as this connection is closed.
    func closesBehind(_ client: SlotID) { ending.lastToLeave = client }

    func clearDeadline() {
        deadline = nil
    }

    func setDeadline(after duration: Int64) {
        deadline = worker.now + duration
    }

    /// Closes the descriptor and ends everything that depends on it. Idempotent.
    func destroy() {
        guard stage != .closed else { return }
        stage = .closed
        channel.close()
        pool.meter.upstreamSentBefore &+= UInt64(output.sentTotal)
        output.drop(pool: worker.chunks)
        handshake = Handshake()
        dismissClients(.drain)
        if let left = ending.lastToLeave { worker.clients[left]?.close(.client_closed) }
        let waiting = flow.feeders
        flow.feeders = []
        for id in waiting { worker.clients[id]?.upstreamDrained() }
        wakeSoloists()
        if ending.oneOffSince != nil { server.oneOffEnded() }
        server.forget(self)
    }

    /// Nobody gets more replies from here. The outcome of unanswered commands is unknown, so their
    /// clients are closed.
    private func dismissClients(_ reason: CloseReason) {
        if let lost = takeHub() { pool.subscribers.lost(lost.hub, lost.relayed, reason) }
        let last = sole
        abandon()
        last?.client?.upstreamLost()
        if last?.question != nil { server.endScriptQuestion(patience: ScriptTrust.shortPatience) }
        if case .unblocking = last?.kind { server.endUnblocking() }
        while !inFlight.isEmpty {
            let entry = inFlight.first
            finishHead(entry.count)
            worker.clients[entry.client]?.upstreamLost()
        }
    }
}
