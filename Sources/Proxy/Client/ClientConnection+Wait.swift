// WAIT and WAITAOF speak of the writes of one connection: the server remembers for each how far in
// the replication stream its own last write was. They must go where this client's writes went.

import Config
import EventLoop
import Pool
import RESP
import Session

/// Where a client has written.
struct WriteTrail {
    /// The upstream of its writes; nil before the first.
    private(set) var upstream: UpstreamID?
    /// It has written on more than one.
    private(set) var isSpread = false

    mutating func add(_ id: UpstreamID) {
        if upstream == id { return }
        isSpread = upstream != nil
        upstream = id
    }

    /// A write here has been seen to change data. The server's note of this connection's own place
    /// in the replication stream is at least there, and so behind all earlier writes: a client has
    /// commands in flight on one connection only.
    mutating func collapse(to id: UpstreamID) {
        upstream = id
        isSpread = false
    }
}

extension ClientConnection {
    /// Notes that a command that may write goes to `target`.
    func noteWrite(_ target: UpstreamConnection) {
        writes.add(target.id)
    }

    /// True for a command whose success would end a spread of writes over several connections.
    func provesWrite(_ command: Command, _ frame: CommandFrame) -> Bool {
        writes.isSpread && CommandTable.provesWrite(command, frame)
    }

    /// WAIT or WAITAOF of a client that holds nothing.
    func waitForReplicas(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if lastCommand == .waitaof, server.facts.isBefore72 {
            // The server does not know it, and says so over any connection.
            return forward(.shared, .plain, 0, bytes)
        }
        if inFlight > 0 { return waitForReplies() }
        if leaveInsteadOfBlocking() { return .answered }
        if granted == nil, let trail = writes.upstream {
            guard !writes.isSpread, let own = server[trail], own.key.user == key.user,
                own.stage == .ready || own.stage == .handshaking
            else {
                return waitElsewhere(bytes)
            }
            let isLentOut = server.machine.isExclusivelyLeased(trail)
            if own.stage == .ready, !own.inFlight.isEmpty, !isLentOut {
                // Nobody else may be behind a command that waits.
                own.awaitSolitude(self)
                return waitForReplies()
            }
            guard own.stage == .ready, server.machine.pin(trail) else {
                // Another one may have been dialled.
                if server.machine.hasActions { server.noteWork() }
                return lastCommand == .waitaof ? waitForReturn() : waitElsewhere(bytes)
            }
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
        }
        return forwardAlone(.pin, .plain, 0, bytes, isBlocking: true)
    }

    /// WAITAOF while the connection of the writes is lent to somebody else, or is on its way to
    /// another database, or no pin is to be had: no other will do, so it is waited for, as long as
    /// for any.
    private func waitForReturn() -> Outcome {
        let limit = retryUntil ?? worker.now + pool.config.poolTimeout
        guard worker.now < limit else {
            retryUntil = nil
            replyError(server.errorText(.poolTimeout))
            return .answered
        }
        retryUntil = limit
        server.wakeWithWork(self)
        return waitForReplies()
    }

    /// The connection of the writes is gone or lent out, or there were several: a PUBLISH first
    /// brings any connection up to now in the replication stream, which is at least where the
    /// writes were. It does not do so for the append-only file.
    private func waitElsewhere(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if lastCommand == .waitaof {
            retryUntil = nil
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
        if inputEnded, inFlight > 0 { return waitForReplies() }
        if leaveInsteadOfBlocking() { return .answered }
        if writes.isSpread || (writes.upstream != nil && writes.upstream != upstream.id) {
            if lastCommand == .waitaof, !server.facts.isBefore72 {
                return waitForReplicasElsewhereRefused()
            }
            upstream.raiseReplicationOffset()
        }
        upstream.setBlocking(true)
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
    /// A message to nobody: it is propagated to replicas, so that this connection's own place in
    /// the replication stream becomes the present one (probed on Redis 7.0 to 7.4, Valkey 8).
    func raiseReplicationOffset() {
        expect(
            UpstreamConnection.nobody, .ignored, bytes: UpstreamConnection.nudge.count)
        sendOwn(UpstreamConnection.nudge)
    }

    private static let nudge = Array(
        "*3\r\n$7\r\nPUBLISH\r\n$12\r\nredpool:wait\r\n$0\r\n\r\n".utf8)

    /// Has `client` look again when nobody else has anything in flight here.
    func awaitSolitude(_ client: ClientConnection) {
        flow.soloists.append(client.id)
        judgeAvailability()
    }

    /// Wakes those who wait to be alone.
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
