// The replicas of one primary, for clients that read from them: of the primary of a shard of a
// cluster, or of the one that Sentinels name. While there are such clients, the primary and its
// replicas are asked for their offsets once a second.

import Config
import EventLoop
import Pool
import Session
import Topology

/// A primary's replicas, as one worker reads from them. They are connected when the first client
/// reads.
final class ReplicaShard {
    private unowned let primary: Server
    private var addresses: [NodeAddress]
    private(set) var replicas: [Server] = []
    var proofs = ReplicaProofs()
    /// When a client has last looked for a replica here; nil before.
    private var wantedAt: MonotonicTime?
    private var nextRound = MonotonicTime(nanoseconds: 0)
    /// The primary has been asked, and the replicas not yet.
    private var isMidRound = false

    private static let interval = Int64.seconds(1)
    /// For how long replicas are asked after the last read.
    private static let interest = Int64.seconds(10)

    init(_ primary: Server, _ addresses: [NodeAddress]) {
        self.primary = primary
        self.addresses = addresses
    }

    /// These are the replicas by another map.
    func follow(_ new: [NodeAddress]) {
        addresses = new
        for replica in replicas {
            let isNamed = replica.node.address.map { new.contains($0) } ?? false
            if !isNamed || !replica.isReplica || replica.departure != nil { replica.leaveShard() }
        }
    }

    /// The server is no replica of this primary any more.
    func drop(_ replica: Server) {
        replicas.removeAll { $0 === replica }
        proofs.forget(replica.number)
    }

    /// The replica that a client reads from; nil if it may read from none.
    ///
    /// - Parameters:
    ///   - kept: the number of the one that it has read from.
    ///   - since: the replica has all writes that were answered before.
    func choose(kept: UInt32?, client: UInt64, since: MonotonicTime, now: MonotonicTime) -> Server?
    {
        wantedAt = now
        if let kept, let known = replicas.first(where: { $0.number == kept }),
            mayRead(from: known, since, now)
        {
            return known
        }
        let usable = replicas.filter { mayRead(from: $0, since, now) }
        return ReplicaChoice.pick(of: usable, client: client) { $0.commandsInFlight }
    }

    private func mayRead(
        from replica: Server, _ since: MonotonicTime, _ now: MonotonicTime
    ) -> Bool {
        proofs.mayRead(
            from: replica.number, after: since, maxLag: primary.pool.config.maxReplicaLag, now: now)
            && replica.departure == nil && !replica.processes.areSeveral
            && now >= replica.replication.noRoomUntil
    }

    /// Called with every tick. The replicas are asked a tick behind the primary: then they have
    /// got what it had.
    func tick(now: MonotonicTime) {
        guard let wantedAt, now - wantedAt < ReplicaShard.interest else { return }
        if now >= nextRound {
            nextRound = now + ReplicaShard.interval
            connect()
            for replica in replicas where !replica.replication.isAnswered {
                proofs.forget(replica.number)
            }
            primary.askReplication()
            isMidRound = true
        } else if isMidRound, primary.replication.isAnswered {
            isMidRound = false
            for replica in replicas { replica.askReplication() }
        }
    }

    private func connect() {
        for address in addresses where !replicas.contains(where: { $0.node.address == address }) {
            guard let replica = primary.pool.server(of: address), replica.isReplica else {
                continue
            }
            replica.leaveShard()
            replica.replication.follows = self
            replicas.append(replica)
        }
    }
}

extension PoolFront {
    /// Called with every tick.
    func watchReplicas() {
        for server in servers { server.replication.shard?.tick(now: worker.now) }
    }

    /// The map, the replicas that Sentinels name, or which commands go to replicas, has changed.
    func followReplicas() {
        guard let route else { return followNamedReplicas() }
        guard let map = route.map else { return }
        var replicas: [[UInt8]: [NodeAddress]] = [:]
        if readsReplicas {
            for node in map.nodes where !node.isPrimary {
                if let primary = node.primaryID {
                    replicas[primary, default: []].append(node.address)
                }
            }
        }
        for server in servers { judgeRole(of: server) }
        for node in map.nodes {
            guard let server = servers.first(where: { $0.node.address == node.address }) else {
                continue
            }
            let found = node.isPrimary && !node.id.isEmpty ? replicas[node.id] : nil
            server.setReplicas(found ?? [])
        }
    }

    /// Whether the connections to a server are for reads only, by the present map or by what
    /// Sentinels say.
    func judgeRole(of server: Server) {
        guard let address = server.node.address, server.departure == nil else { return }
        guard let route else { return server.setReplica(readsReplicas) }
        let isReplica = route.map?.nodes.contains { $0.address == address && !$0.isPrimary }
        server.setReplica(
            readsReplicas && isReplica == true && !route.hasSlots(server))
    }
}

// MARK: - Replicas that Sentinels name

extension PoolFront {
    /// How long reads that are in flight at a replica that is left may take, in nanoseconds.
    private static let readPatience = Int64.milliseconds(900)

    /// These are the primary's replicas from now on.
    func take(replicas: [NodeAddress]) {
        guard !isClosed, leavesBy == nil else { return }
        namedReplicas = replicas
        followReplicas()
    }

    private func followNamedReplicas() {
        guard let primary else { return }
        let named =
            readsReplicas
            ? namedReplicas.filter { UpstreamAddress($0) != primary.names.upstream } : []
        for server in servers where server.isReplica && server.departure == nil {
            guard let address = server.node.address, !named.contains(address) else { continue }
            leave(server, .nodeRemoved)
        }
        primary.setReplicas(named)
    }

    /// Leaves all replicas: their primary is none any more. Clients read from the next one's over
    /// new connections, which have asked for the server's role.
    func leaveReplicas(_ reason: CloseReason) {
        guard route == nil else { return }
        for server in servers where server.isReplica && server.departure == nil {
            // What these clients have written, they have written at the former primary.
            for client in clientsByWait(of: server) { client.session.movesElsewhere() }
            leave(server, reason)
        }
    }

    private func leave(_ replica: Server, _ reason: CloseReason) {
        // Others go when their reads are answered.
        for client in clientsByWait(of: replica) { client.followPrimary() }
        replica.leaveShard()
        replica.leave(Departure(by: worker.now + PoolFront.readPatience, reason: reason))
    }
}
