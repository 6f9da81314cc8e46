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
    func waitForReplicas(_ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if leaveInsteadOfBlocking() { return .done }
        if granted == nil, let trail = writes.upstream {
            guard !writes.isSpread, let own = pool[trail], own.stage == .ready else {
                return waitElsewhere(bytes, count)
            }
            let isLentOut = pool.machine.isExclusivelyLeased(trail)
            if !own.inFlight.isEmpty, !isLentOut {
                // Nobody else may be behind a command that waits.
                own.awaitSolitude(self)
                return waitForReplies()
            }
            guard pool.machine.pin(trail) else { return waitElsewhere(bytes, count) }
            granted = own
            awaited = Awaited(kind: .pin, key: key)
        }
        return forwardAlone(.pin, .plain, 0, bytes, count, isBlocking: true)
    }

    /// The connection of the writes is gone, or there were several: a PUBLISH first brings any
    /// connection up to now in the replication stream, which is at least where the writes were.
    /// It does not do so for the append-only file.
    private func waitElsewhere(_ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        if lastCommand == .waitaof {
            replyError(
                "UPSTREAMLOST pool \(pool.config.name): the connection that carried this client's "
                    + "writes is gone, and WAITAOF knows of no other")
            return .done
        }
        guard let own = lease(.pin, key, mayBlock: true) else {
            return mode == .open ? .done : .blocked
        }
        own.isExclusive = true
        own.raiseReplicationOffset()
        granted = own
        awaited = Awaited(kind: .pin, key: key)
        return forwardAlone(.pin, .plain, 0, bytes, count, isBlocking: true)
    }

    /// WAIT or WAITAOF on the held upstream.
    func waitOnHeld(_ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        guard let upstream else { return .done }
        if inputEnded, inFlight > 0 { return waitForReplies() }
        if leaveInsteadOfBlocking() { return .done }
        if writes.isSpread || (writes.upstream != nil && writes.upstream != upstream.id) {
            guard lastCommand != .waitaof else { return waitForReplicasElsewhereRefused() }
            upstream.raiseReplicationOffset()
        }
        isBlockingHeld = true
        return sendHeld(.plain, 0, bytes, count)
    }

    private func waitForReplicasElsewhereRefused() -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        replyError(
            "UPSTREAMLOST pool \(pool.config.name): this client's writes went over another "
                + "connection, and WAITAOF knows of no other")
        return .done
    }
}

extension UpstreamConnection {
    /// A message to nobody: it is propagated to replicas, so that this connection's own place in
    /// the replication stream becomes the present one (probed on Redis 7.0 to 7.4, Valkey 8).
    func raiseReplicationOffset() {
        expect(
            UpstreamConnection.nobody, .ignored, bytes: UpstreamConnection.nudge.count)
        send(UpstreamConnection.nudge)
    }

    private static let nudge = Array(
        "*3\r\n$7\r\nPUBLISH\r\n$12\r\nredpool:wait\r\n$0\r\n\r\n".utf8)

    /// Has `client` look again when nobody else has anything in flight here.
    func awaitSolitude(_ client: ClientConnection) {
        soloists.append(client.id)
        judgeAvailability()
    }

    /// Wakes those who wait to be alone.
    func wakeSoloists() {
        guard !soloists.isEmpty, inFlight.isEmpty else { return }
        let waiting = soloists
        soloists = []
        judgeAvailability()
        for id in waiting {
            if let client = worker.clients[id] { worker.ready(client) }
        }
    }
}
