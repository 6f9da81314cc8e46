// Accepting, closing and draining.

import Config
import EventLoop
import Glibc
import Logging
import Pool

extension Worker {
    /// Takes over an accepted connection, or refuses it with Redis's own words.
    func accepted(_ descriptor: Int32, from peer: SocketAddress, for pool: UpstreamPool) {
        guard clients.count < maxClients else {
            statistics.rejected += 1
            statistics.closes[Int(ClientCloseReason.max_clients.rawValue)] += 1
            let text: StaticString = "-ERR max number of clients reached\r\n"
            // Best effort, as in Redis: the socket buffer of a new connection takes 36 bytes.
            var refused = Channel(
                descriptor: descriptor, loop: loop,
                owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: ignoreEvent,
                onWritable: ignoreEvent)
            _ = refused.send(text.utf8Start, count: text.utf8CodeUnitCount)
            refused.close()
            pool.warnLimit(
                "client.rejected", reason: "max_clients",
                "max number of clients reached (\(maxClients))")
            return
        }
        statistics.accepted += 1
        let client = clients.insert { id in
            ClientConnection(id: id, descriptor: descriptor, peer: peer, pool: pool, worker: self)
        }
        client.start()
        if logClients {
            log.info(
                "client connected",
                metadata: [
                    "event": "client.connected", "pool": "\(pool.config.name)",
                    "client": "\(client.id.raw)", "peer": "\(peer.description)",
                ])
        }
    }

    /// Forgets a client whose connection has been closed.
    func closed(_ client: ClientConnection, _ reason: ClientCloseReason) {
        statistics.closes[Int(reason.rawValue)] += 1
        clients.remove(client.id)
        for listener in listeners { listener.roomAgain() }
        if logClients {
            log.info(
                "client disconnected",
                metadata: [
                    "event": "client.disconnected", "pool": "\(client.pool.config.name)",
                    "client": "\(client.id.raw)", "reason": "\(reason.word)",
                ])
        }
    }

    /// Closes clients that have been silent for their pool's `clientIdleTimeout`.
    func closeIdleClients() {
        guard pools.contains(where: { $0.config.clientIdleTimeout > 0 }) else { return }
        for client in clients.all {
            let limit = client.pool.config.clientIdleTimeout
            if limit > 0, client.mode == .open, client.isQuiet,
                now.nanoseconds - client.lastActivity > limit
            {
                client.close(.idle_timeout)
            }
        }
    }

    /// Memory for replies runs short: a client that is slow holds up its upstream now, instead of
    /// having up to `clientOutputLimit` kept for it.
    var isOutputShort: Bool { chunks.outputBytes > totalOutputLimit / 4 * 3 }

    /// Memory for replies that nobody reads has run out: those who hold most of it go.
    func closeSlowestReaders() {
        while chunks.outputBytes > totalOutputLimit {
            var largest: ClientConnection?
            for client in clients.all where client.output.count > largest?.output.count ?? 0 {
                largest = client
            }
            guard let largest else { return }
            largest.pool.warnLimit(
                "client.output_limit", reason: ClientCloseReason.output_limit.word,
                "closing a client that does not read: \(largest.output.count) of "
                    + "\(chunks.outputBytes) bytes that wait for all clients")
            largest.close(.output_limit)
        }
    }

    /// Notes a closing client, so that one that never reads its last bytes does not stay.
    func linger(_ client: ClientConnection) {
        lingering.append((client.id, since: now))
    }

    /// Closes clients that have not read their last bytes in time.
    func closeLingering() {
        guard let first = lingering.first,
            now - first.since >= ClientConnection.lingerTimeout
        else { return }
        let expired = lingering.prefix { now - $0.since >= ClientConnection.lingerTimeout }
        lingering.removeFirst(expired.count)
        for (id, _) in expired {
            if let client = clients[id], case .closing(let reason) = client.mode {
                client.close(reason)
            }
        }
    }

    /// Stops accepting and lets every client finish what it has in flight.
    func beginDrain() {
        guard lifecycle == .running else { return }
        let deadline = MonotonicTime(nanoseconds: now.nanoseconds + drainTimeout)
        lifecycle = .draining(deadline: deadline)
        for listener in listeners { listener.close() }
        log.notice(
            "draining",
            metadata: ["event": "drain.begin", "clients": "\(clients.count)"])
        continueDrain(deadline)
    }

    func continueDrain(_ deadline: MonotonicTime) {
        for client in clients.all where client.isQuiet { client.close(.drain) }
        if clients.count == 0 {
            lifecycle = .stopped
            log.notice("drained", metadata: ["event": "drain.end", "cut": "0"])
        } else if now >= deadline {
            lifecycle = .stopped
            log.warning(
                "drain timeout: clients were cut off",
                metadata: ["event": "drain.end", "cut": "\(clients.count)"])
        }
    }

    func closeEverything() {
        for listener in listeners { listener.close() }
        for client in clients.all { client.close(.drain) }
        for pool in pools { pool.closeEverything() }
    }
}

private func ignoreEvent(_: Int32, _: Int16, _: UnsafeMutableRawPointer?) {}
