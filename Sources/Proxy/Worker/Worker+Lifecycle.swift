// Accepting, closing and draining clients.

import Config
import EventLoop
import Glibc
import Logging
import Pool
import Synchronization

extension Worker: ClientTaker {
    /// Takes over an accepted connection.
    func take(_ accepted: AcceptedClient, for worker: Int) {
        updateNow()
        guard let pool = pool(accepted.pool), !accepted.isTLS || pool.secure != nil else {
            Glibc.close(accepted.descriptor)
            group.left(index)
            return
        }
        pool.traffic.accepted += 1
        pool.traffic.clients += 1
        // `first(generation:)` finds a client by the id that it sees.
        let generation = UInt32(truncatingIfNeeded: accepted.serial)
        let client = clients.insert(generation: generation) { id in
            ClientConnection(id: id, accepted, pool: pool, worker: self)
        }
        if accepted.isTLS { secure(client) }
        client.start()
        client.traceItself("client.connected", ["peer": accepted.peerText])
    }

    func warn(_ warning: AcceptWarning) {
        pool(warning.pool)?.warnLimit(
            warning.event, reason: warning.reason, warning.text)
    }
}

extension Worker {
    /// Removes a client whose connection has been closed.
    func closed(_ client: ClientConnection, _ reason: ClientCloseReason) {
        client.pool.traffic.clients -= 1
        client.pool.countClosed(client, reason)
        if reason == .upstream_lost {
            client.pool.group.warnings.clientLost(now: now.nanoseconds)
        }
        work.departed.add(client)
        clients.remove(client.id)
        if !questions.tokens.isEmpty { questions.tokens[client.id.raw] = nil }
        if !questions.answers.isEmpty { questions.answers[client.id.raw] = nil }
        group.left(index)
        if let acceptor {
            acceptor.roomAgain()
        } else if group.isAcceptorResting.load(ordering: .sequentiallyConsistent) {
            group.room.signal()
        }
        client.traceItself("client.disconnected", ["reason": reason.word])
        if case .draining = lifecycle, clients.count == 0 { lifecycle = .drained }
    }

    /// Closes clients that have been idle for their pool's `clientIdleTimeout`.
    func closeIdleClients() {
        guard pools.contains(where: { $0.config.clientIdleTimeout > 0 }) else { return }
        var idle: [ClientConnection] = []
        clients.forEach { client in
            let limit = client.pool.config.clientIdleTimeout
            if limit > 0, client.mode == .open || client.mode == .loggedOut, !client.isHolding,
                !client.isSubscribing, client.isQuiet,
                now.nanoseconds - client.lastActivity > limit
            {
                idle.append(client)
            }
        }
        for client in idle { client.close(.idle_timeout) }
    }

    /// Memory for replies is short. A slow client now holds up its upstream, instead of up to
    /// `clientOutputLimit` being buffered for it.
    var isOutputShort: Bool { chunks.outputBytes > options.totalOutputLimit / 4 * 3 }

    /// Keeps the memory for clients within its limits. Called in every epilogue, and directly after
    /// a reply of Redpool's own: that can be much longer than what the server has sent, and there
    /// can be many before the epilogue.
    func boundOutput() {
        if chunks.outputBytes > options.totalOutputLimit { closeSlowestReaders() }
        if extraBytes > options.totalOutputLimit / 4 { closeLongestNamed() }
    }

    /// Adds bytes that are kept for a client and are not replies; negative when they no longer are.
    func countExtras(_ bytes: Int) {
        extraBytes += bytes
        if bytes < 0 { chunks.countFreed(-bytes) }
        chunks.countOutput(bytes)
    }

    /// Memory for unread replies and for input behind blocking commands has run out: closes the
    /// clients that use most of it.
    private func closeSlowestReaders() {
        while chunks.outputBytes > options.totalOutputLimit {
            guard let largest = client(with: { $0.bytesHeld + $0.extraBytes }) else { return }
            if largest.keptInput > largest.output.count {
                largest.closeAtInputLimit()
                continue
            }
            if largest.extraBytes > largest.output.count {
                closeNamed(largest)
                continue
            }
            largest.pool.warnLimit(
                "client.output_limit", reason: ClientCloseReason.output_limit.word,
                "closing a client that does not read: \(largest.output.count) of "
                    + "\(chunks.outputBytes) unread bytes of all clients")
            largest.close(.output_limit)
        }
    }

    /// Bounds names to a quarter of that memory, so that enough is left for replies.
    private func closeLongestNamed() {
        while extraBytes > options.totalOutputLimit / 4 {
            guard let longest = client(with: \.extraBytes) else { return }
            closeNamed(longest)
        }
    }

    private func closeNamed(_ client: ClientConnection) {
        client.pool.warnLimit(
            "client.output_limit", reason: ClientCloseReason.output_limit.word,
            "closing a client with a long name: \(client.extraBytes) of "
                + "\(extraBytes) bytes kept for all clients, mostly names")
        client.close(.output_limit)
    }

    /// The client for which `bytes` is largest.
    private func client(with bytes: (ClientConnection) -> Int) -> ClientConnection? {
        var largest: ClientConnection?
        var most = 0
        clients.forEach { client in
            let count = bytes(client)
            if count > most {
                most = count
                largest = client
            }
        }
        return largest
    }

    /// Notes a client that is closing, so that one that never reads its last bytes can be closed
    /// later.
    func linger(_ client: ClientConnection) {
        watched.lingering.append((client.id, since: now))
    }

    /// Closes lingering clients that have not read their last bytes in time.
    func closeLingering() {
        guard let first = watched.lingering.first,
            now - first.since >= ClientConnection.lingerTimeout
        else { return }
        let expired = watched.lingering.prefix { now - $0.since >= ClientConnection.lingerTimeout }
        watched.lingering.removeFirst(expired.count)
        for (id, _) in expired {
            if let client = clients[id], case .closing(let reason) = client.mode {
                client.close(reason)
            }
        }
    }

    /// Stops accepting and lets every client finish its commands in flight.
    func beginDrain() {
        guard lifecycle == .running else { return }
        let deadline = MonotonicTime(nanoseconds: now.nanoseconds + options.drainTimeout)
        lifecycle = .draining(deadline: deadline)
        acceptor?.close()
        for client in clients.all where client.isToBlock { client.closeAfterFlush(.drain) }
        for client in clients.all where client.isQuiet { client.takeLastInput() }
        continueDrain(deadline)
    }

    func continueDrain(_ deadline: MonotonicTime) {
        for client in clients.all where client.isQuiet && !client.isNewcomer {
            client.close(.drain)
        }
        for pool in pools { pool.forEachServer { $0.unblockAll() } }
        if clients.count == 0 || now >= deadline { lifecycle = .drained }
    }

    func closeEverything() {
        acceptor?.close()
        for client in clients.all { client.close(.drain) }
        for pool in pools { pool.close() }
    }
}
