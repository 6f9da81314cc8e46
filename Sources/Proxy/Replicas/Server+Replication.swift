// A server as a replica that clients read from, or as the primary of such replicas.

import Config
import EventLoop
import Pool
import RESP
import Session
import Topology

/// What clients that read from replicas have to know of a server.
struct Replication {
    /// Its replicas; nil if nobody reads from them.
    fileprivate(set) var shard: ReplicaShard?
    /// It is a replica, and its upstreams are for reads.
    fileprivate(set) var isReplica = false
    /// The replicas of its primary.
    weak var follows: ReplicaShard?
    /// It had no upstream for a read a moment ago.
    var noRoomUntil = MonotonicTime(nanoseconds: 0)
    /// The number of the latest question about its replication.
    fileprivate var question: UInt32 = 0
    /// When that was sent; nil while it waits for an upstream.
    fileprivate var askedAt: MonotonicTime?
    fileprivate var ticket: WaitTicket?
    fileprivate(set) var isAnswered = false

    /// How long a replica without a free upstream is left alone, in nanoseconds.
    static let patience = Int64.milliseconds(50)
}

extension Server {
    var isReplica: Bool { replication.isReplica }

    var commandsInFlight: Int { allUpstreams.reduce(0) { $0 + $1.commandsInFlight } }

    /// Whether its upstreams are for reads only, which have sent READONLY. READONLY outlives a
    /// change of roles, so the present ones close.
    func setReplica(_ isReplica: Bool) {
        guard isReplica != replication.isReplica else { return }
        replication.isReplica = isReplica
        if isReplica { replication.shard = nil } else { leaveShard() }
        for upstream in allUpstreams { upstream.origin.isReadOnly = false }
        replaceAll(.failover)
    }

    /// These are its replicas.
    func setReplicas(_ addresses: [NodeAddress]) {
        if addresses.isEmpty {
            for replica in replication.shard?.replicas ?? [] { replica.leaveShard() }
            replication.shard = nil
        } else if let shard = replication.shard {
            shard.follow(addresses)
        } else {
            replication.shard = ReplicaShard(self, addresses)
        }
    }

    /// Nobody reads from it any more.
    func leaveShard() {
        replication.follows?.drop(self)
        replication.follows = nil
    }

    /// What was known of a replica's data does not hold any more.
    func doubtReplica() { replication.follows?.proofs.forget(number) }

    // MARK: The question

    /// Asks about its replication, over an upstream that others share. A question that is not
    /// answered yet does not count any more.
    func askReplication() {
        if let ticket = replication.ticket { machine.cancel(ticket) }
        replication.question &+= 1
        replication.askedAt = nil
        replication.ticket = nil
        replication.isAnswered = false
        guard !pool.isHalted, departure == nil else { return }
        switch machine.lease(
            .shared, key: pool.warmKey, for: OwnWaiter.replication.id, now: worker.now)
        {
        case .granted(let id): self[id]?.askReplication()
        case .queued(let ticket): replication.ticket = ticket
        case .refused: break
        }
        noteWork()
    }

    /// Takes the reply to the question with this number.
    func replicationAnswered(_ reply: [UInt8], to question: UInt32, from own: UpstreamConnection) {
        guard question == replication.question, let askedAt = replication.askedAt else { return }
        replication.isAnswered = true
        let info = own.isOfThisServer ? ReplicationInfo(reply) : nil
        if let shard = replication.shard {
            guard let info else { return }
            shard.proofs.primaryAnswered(info, askedAt: askedAt)
        } else if let shard = replication.follows {
            guard let info, own.origin.isReadOnly else { return doubtReplica() }
            shard.proofs.replicaAnswered(number, info)
        }
    }
}

extension UpstreamConnection {
    /// Sends the question about replication, for which this connection has been leased.
    func askReplication() {
        server.replication.ticket = nil
        server.replication.askedAt = worker.now
        expect(
            UpstreamConnection.nobody, .replication,
            bytes: UpstreamConnection.replicationQuestion.count, value: server.replication.question)
        sendOwn(UpstreamConnection.replicationQuestion)
    }

    private static let replicationQuestion: [UInt8] = {
        var bytes: [UInt8] = []
        Encode.command(["INFO", "replication"], into: &bytes)
        return bytes
    }()

    /// The server's role has changed while the connection was made.
    func leaveRole() {
        origin.isReadOnly = false
        retireWhenFree(.failover)
    }
}
