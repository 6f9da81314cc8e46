// WAIT and WAITAOF. The server remembers for each connection the replication offset of that
// connection's last write. So they have to go to the upstream that carried this client's writes.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Records that a command that may write goes to `target`.
    func noteWrite(_ target: UpstreamConnection) {
        session.writes.add(pool.isRouted ? target.server.trail : target.id)
    }

    /// True if the success of this command would bring a spread trail back to one upstream.
    func provesWrite(_ command: Command, _ frame: CommandFrame) -> Bool {
        session.writes.isSpread && !pool.isRouted && CommandTable.provesWrite(command, frame)
    }

    /// WAIT or WAITAOF of a client that holds no upstream.
    func waitForReplicas(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if lastCommand == .waitaof, server.facts.isBefore72 {
            // The server does not have WAITAOF and says so on any connection.
            return forward(.shared, .plain, 0, bytes)
        }
        if inFlight > 0 { return waitForReplies() }
        if leaveInsteadOfBlocking() { return .answered }
        // The trail has nodes, and this is one of them, see `waitInCluster`.
        if pool.isRouted { return waitElsewhere(bytes) }
        if let granted, let trail = session.writes.upstream,
            session.writes.isSpread || granted.upstream.id != trail
        {
            // It has waited for any upstream.
            return waitElsewhere(bytes)
        }
        // In a halted pool it waits for any upstream: that of the writes closes.
        if granted == nil, let trail = session.writes.upstream, !pool.isHalted {
            guard !session.writes.isSpread, let own = server[trail], own.key.user == key.user,
                own.stage == .ready || own.stage == .handshaking
            else {
                return waitElsewhere(bytes)
            }
            let isLentOut = server.machine.isExclusivelyLeased(trail)
            if own.stage == .ready, !own.inFlight.isEmpty, !isLentOut {
                // No other client may wait behind a command that blocks.
                own.awaitSolitude(self)
                return waitForReplies()
            }
            guard own.stage == .ready, server.machine.pin(trail) else {
                // The pool may have asked for another connection.
                if server.machine.hasActions { server.noteWork() }
                return lastCommand == .waitaof ? waitForReturn() : waitElsewhere(bytes)
            }
            pool.meter.directPins += 1
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
        }
        return forwardAlone(.pin, .plain, 0, bytes, isBlocking: true)
    }

    /// WAITAOF while the upstream of the writes is lent to another client or is being moved to
    /// another database, or while there is no free pin. No other upstream will do, so the command
    /// waits for it, for `poolTimeout` at most.
    private func waitForReturn() -> Outcome {
        let limit = retryUntil ?? worker.now + pool.config.poolTimeout
        guard worker.now < limit else {
            retryUntil = nil
            replyError(server.refusalText(.poolTimeout))
            return .answered
        }
        retryUntil = limit
        server.wakeWithWork(self)
        return waitForReplies()
    }

    /// The upstream of the writes is gone or lent, or there were several. WAIT can use any upstream
    /// after a PUBLISH on it: that moves its offset to the present end of the stream. WAITAOF
    /// cannot, because PUBLISH is not written to the append-only file.
    private func waitElsewhere(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if lastCommand == .waitaof {
            retryUntil = nil
            if let unused = granted {
                granted = nil
                server.giveBack(unused.upstream)
            }
            replyError(
                "UPSTREAMLOST pool \(pool.config.name): the connection that carried this client's "
                    + "writes is gone, and WAITAOF knows of no other")
            return .answered
        }
        guard let own = lease(.pin, key, mayBlock: true) else { return withoutLease }
        own.lend(to: self, for: .reply(isBlocking: true))
        own.raiseReplicationOffset()
        return sendAlone(over: own, .plain, 0, bytes, isBlocking: true)
    }

    /// WAIT or WAITAOF on the held upstream.
    func waitOnHeld(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let upstream else { return .answered }
        if mayNotBlock, inFlight > 0 { return waitForReplies() }
        if leaveInsteadOfBlocking() { return .answered }
        let writes = session.writes
        if writes.isSpread || (writes.upstream != nil && writes.upstream != upstream.id) {
            if lastCommand == .waitaof, !server.facts.isBefore72 {
                return waitForReplicasElsewhereRefused()
            }
            upstream.raiseReplicationOffset()
        }
        upstream.beginBlocking()
        return sendHeld(.plain, 0, bytes)
    }

    private func waitForReplicasElsewhereRefused() -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        replyError(
            "UPSTREAMLOST pool \(pool.config.name): this client's writes went over another "
                + "connection, and WAITAOF knows of no other")
        return .answered
    }
}

extension UpstreamConnection {
    /// Publishes to a channel without subscribers. The server propagates it to replicas and so
    /// moves this connection's replication offset to the present (tested with Redis 7.0 to 7.4,
    /// Valkey 8).
    func raiseReplicationOffset() {
        expect(
            UpstreamConnection.nobody, .ignored, bytes: UpstreamConnection.nudge.count)
        sendOwn(UpstreamConnection.nudge)
    }

    private static let nudge = Array(
        "*3\r\n$7\r\nPUBLISH\r\n$12\r\nredpool:wait\r\n$0\r\n\r\n".utf8)

    /// `client` runs again when no other client has commands in flight here.
    func awaitSolitude(_ client: ClientConnection) {
        flow.soloists.append(client.id)
        judgeAvailability()
    }

    /// Runs the clients that wait to be alone here.
    func wakeSoloists() {
        guard !flow.soloists.isEmpty, inFlight.isEmpty else { return }
        let waiting = flow.soloists
        flow.soloists = []
        judgeAvailability()
        for id in waiting {
            if let client = worker.clients[id] { worker.ready(client) }
        }
    }
}
