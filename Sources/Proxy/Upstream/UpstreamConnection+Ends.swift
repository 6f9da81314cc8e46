// How an upstream connection ends: failed, lost, retired, or overdue.

import Config
import EventLoop
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Connecting or the first handshake has failed.
    func fail(_ reason: CloseReason, _ text: String) {
        destroy()
        server.dialFailed(id, reason, text)
    }

    /// The connection is gone, or cannot be trusted any more.
    func lose(_ reason: CloseReason) {
        guard stage != .closed else { return }
        let wasInUse = !(inFlight.isEmpty || owesOnlyFence) || sole?.client != nil
        rescueUnreceived(reason)
        destroy()
        if wasInUse, reason != .clientGone { server.noteLoss(reason) }
        server.machine.lost(id, reason, now: worker.now)
        if reason == .upstreamClosed || reason == .upstreamReset { server.doubt(key.user) }
        server.noteWork()
    }

    /// Closes it on purpose as soon as nobody needs it any more.
    func retireWhenFree(_ reason: CloseReason) {
        if isShared {
            server.machine.retire(id, reason, now: worker.now)
            server.noteWork()
        } else {
            spoil(reason)
        }
    }

    /// The pool wants it closed: says goodbye and waits for the server to do the same.
    func retire(_ reason: CloseReason) {
        guard stage != .closed, stage != .closing else { return }
        if stage == .connecting {
            destroy()
            server.machine.closed(id, now: worker.now)
            return
        }
        // What passes through unread still comes to its client.
        if piped == nil { dismissClients() }
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

    /// Called with every tick: connects, closes, commands and transactions do not take for ever.
    func checkDeadline() {
        if stage == .ready { checkTimeouts() }
        guard let deadline, worker.now >= deadline else { return }
        switch stage {
        case .connecting: fail(.connectTimeout, "connect timed out")
        case .handshaking:
            if handshake.isFirst {
                fail(.connectTimeout, "no answer to \(handshake.currentName)")
            } else {
                lose(.conversionFailed)
            }
        case .closing: finishClosing()
        case .ready:
            // An orphan that does not come to rest is not worth the wait, nor is a question.
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
        if isFenceOverdue { worker.markDirty(self) }
        if isCutShort {
            lose(.notUnderstood)
            return
        }
        if owesTheGone {
            ending.hasSaidGoodbye = true
            // A reply may come all the same, and nobody can have this connection behind it.
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
                "no reply from \(config.upstream) within commandTimeout")
            lose(.commandTimeout)
        }
    }

    /// EXEC's array has fewer elements than it says (`queueSilently`): it takes the fence behind it
    /// for one of them, and never ends.
    private var isCutShort: Bool {
        !isShared && hold?.isTainted == true && fence != nil && incoming.isRelaying
            && channel.isReading
            && worker.now - waitingSince > pool.config.connectTimeout
    }

    /// A client that has this connection for itself has ended its input, and a reply is owed to it
    /// that does not come: a command may have none. The server is told of the end, as on a direct
    /// connection. It carries out what it has received, and closes.
    private var owesTheGone: Bool {
        guard !isShared, piped == nil, !ending.hasSaidGoodbye, !inFlight.isEmpty, output.isAllSent,
            let client = holder ?? worker.clients[inFlight.first.client],
            client.upstream === self, client.inputEnded, !client.isStreaming
        else { return false }
        // What it has sent behind that would be lost.
        let delay =
            client.input.isEmpty
            ? UpstreamConnection.goodbyeDelay : ClientConnection.uploadTimeout
        return worker.now - waitingSince > delay
    }

    /// How long a reply to a client that has ended its input is waited for before that.
    private static let goodbyeDelay: Int64 = 1_000_000_000

    /// Whose large command may still be coming in here.
    private var uploader: ClientConnection? {
        if let piped { return piped }
        guard !isShared, !inFlight.isEmpty else { return nil }
        return worker.clients[inFlight.first.client]
    }

    /// The command at the head may take as long as it likes.
    private var isBlocking: Bool { sole?.isBlocking == true }

    private var isCleaning: Bool { if case .cleaning = sole?.kind { true } else { false } }

    /// The server is the one that the newest connection has reached.
    var isOfThisServer: Bool {
        origin.epoch == server.processes.epoch || server.processes.areSeveral
    }

    /// It is closed for this reason when its lease ends, if not for an earlier one.
    func spoil(_ reason: CloseReason) {
        if ending.spoiled == nil { ending.spoiled = reason }
    }

    /// A client that was blocked here has left, and ends when this connection has.
    func closesBehind(_ client: SlotID) { ending.lastToLeave = client }

    func clearDeadline() {
        deadline = nil
    }

    func setDeadline(after duration: Int64) {
        deadline = worker.now + duration
    }

    /// Closes the descriptor and whoever depended on it. Idempotent.
    func destroy() {
        guard stage != .closed else { return }
        stage = .closed
        channel.close()
        output.drop(pool: worker.chunks)
        handshake = Handshake()
        dismissClients()
        if let left = ending.lastToLeave { worker.clients[left]?.close(.client_closed) }
        let waiting = flow.feeders
        flow.feeders = []
        for id in waiting { worker.clients[id]?.upstreamDrained() }
        wakeSoloists()
        if ending.oneOffSince != nil { server.oneOffEnded() }
        server.forget(self)
    }

    /// Nobody gets anything from here any more. The outcome of what is unanswered is unknown: the
    /// connections of those who have sent it end.
    private func dismissClients() {
        let last = sole
        abandon()
        last?.client?.upstreamLost()
        if last?.question != nil { server.endScriptQuestion(patience: ScriptTrust.shortPatience) }
        while !inFlight.isEmpty {
            let entry = inFlight.first
            finishHead(entry.count)
            worker.clients[entry.client]?.upstreamLost()
        }
    }
}
