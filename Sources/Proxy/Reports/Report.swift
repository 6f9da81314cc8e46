// What the main thread asks workers for, and what they answer. A report is a value: the console and
// the other readers on the main thread never see a worker's own state.

package import EventLoop
package import Pool

/// What a worker is asked to report.
package enum ReportKind: Sendable {
    /// All of its pools.
    case pools
    /// Its upstreams; those of one pool if `pool` is given.
    case upstreams(pool: String?)
    /// Its clients.
    case clients(ClientSelection)
    /// The names that clients are subscribed to on hubs.
    case subscriptions(SubscriptionSelection)
    /// Its memory.
    case memory
    /// The numbers of all of its pools.
    case metrics
    /// What has gone wrong; in one pool if `pool` is given.
    case errors(pool: String?)
    /// The commands that took long; those of one pool if `pool` is given.
    case slowCommands(pool: String?)
}

/// A worker's answer, or a part of it.
package enum Report: Sendable {
    /// One for each pool that the worker serves.
    case pools([PoolReport])
    case upstreams([UpstreamReport])
    case clients([ClientReport])
    case subscriptions([SubscriptionReport])
    case memory(MemoryReport)
    case metrics(WorkerMetrics)
    case errors([ErrorRow])
    /// Those of each pool, the oldest first.
    case slowCommands([SlowCommand])
}

/// A part of a worker's answer on its way to the main thread.
package struct ReportPart: Sendable {
    let token: UInt64
    let worker: Int
    let report: Report
    /// Nothing more comes for this token from this worker.
    let isLast: Bool
}

/// Which clients are reported, and in which order.
package struct ClientSelection: Sendable {
    /// Those of this pool; nil for all.
    package let pool: String?
    /// Nil for the order in which they have connected.
    package let rank: ClientRank?
    /// At most so many, the first ones.
    package let limit: Int

    package init(pool: String? = nil, rank: ClientRank? = nil, limit: Int = .max) {
        self.pool = pool
        self.rank = rank
        self.limit = limit
    }
}

/// Which names are reported: those with most listeners come first.
package struct SubscriptionSelection: Sendable {
    /// Those of this pool; nil for all.
    package let pool: String?
    /// At most so many, the first ones.
    package let limit: Int

    package init(pool: String? = nil, limit: Int = .max) {
        self.pool = pool
        self.limit = limit
    }
}

/// A channel, pattern or shard channel on a hub.
package struct SubscriptionReport: Equatable, Sendable {
    package let pool: String
    package let worker: Int
    /// Whose hub it is on.
    package let user: [UInt8]
    /// `channel`, `pattern` or `shard`.
    package let kind: String
    package let name: [UInt8]
    package let listeners: Int
    /// Messages for it, since it was subscribed on the hub.
    package let messages: UInt64

    /// Its place is before that of the other one.
    func isBefore(_ other: SubscriptionReport) -> Bool {
        if listeners != other.listeners { return listeners > other.listeners }
        return name.lexicographicallyPrecedes(other.name)
    }
}

/// By what clients are ranked; those with the most come first.
package enum ClientRank: String, CaseIterable, Sendable {
    /// How long the client has waited for an upstream or for a reply. Commands that block do not
    /// count.
    case wait
    /// How long it has sent nothing.
    case idle
    /// Its commands since it connected.
    case commands
    /// Bytes from it and to it since it connected.
    case bytes
    /// How long it has had an upstream to itself.
    case pinned
}

/// A pool as one worker sees it, or as several do together.
package struct PoolReport: Sendable {
    package let pool: String
    /// The upstream as it is configured.
    package let upstream: String
    /// The address of the next dial; nil while the name is not resolved.
    package let address: String?
    package let maxOpen: Int
    package let maxPinned: Int
    /// Connected clients.
    package var clients: Int
    /// Clients that have connected since the start.
    package var accepted: UInt64
    /// Their commands, answered by the server or by Redpool.
    package var commands: UInt64
    /// Errors of Redpool's own in place of a reply.
    package var refused: UInt64
    package var census: PoolCensus
    package var sight: PoolSight
    /// Zeros for a pool with one server at a time; with Sentinels all but the reads of replicas.
    package var cluster: ClusterCounts
    /// The last dial that failed or upstream that was lost in use; nil if there was none.
    package var lastError: LastError?
    /// Its servers, the primary first.
    package var nodes: [NodeReport]

    /// Adds what another worker reports of the same pool.
    package mutating func add(_ other: PoolReport) {
        clients += other.clients
        accepted += other.accepted
        commands += other.commands
        refused += other.refused
        census.add(other.census)
        sight.add(other.sight)
        cluster.add(other.cluster)
        for node in other.nodes {
            if let index = nodes.firstIndex(where: { $0.id == node.id }) {
                nodes[index].add(node)
            } else {
                nodes.append(node)
            }
        }
        guard let error = other.lastError else { return }
        if let mine = lastError, mine.at >= error.at { return }
        lastError = error
    }
}

/// An error with its time.
package struct LastError: Equatable, Sendable {
    /// In the words of the system or the server.
    package let text: String
    package let at: MonotonicTime
}

/// An upstream.
package struct UpstreamReport: Sendable {
    /// Never used twice in a process.
    package let id: UInt64
    package let pool: String
    package let worker: Int
    package let address: String
    /// The server's id of the connection; nil if it is not known.
    package let serverID: Int64?
    /// What it does, as the pool's state machine sees it.
    package let state: String
    package let user: [UInt8]
    package let database: UInt32
    package let protocolVersion: UInt8
    /// Nanoseconds since it was dialled.
    package let age: Int64
    /// Nanoseconds until `maxLifetime` is over; nil if there is no limit.
    package let retiresIn: Int64?
    /// Nanoseconds since it fell idle; nil if it is in use.
    package let idle: Int64?
    /// Commands of clients that are not answered.
    package let inFlight: Int
    /// The age of the oldest of them in nanoseconds.
    package let oldest: Int64?
    /// Commands that were answered on it.
    package let commands: UInt64
    /// The client that has it alone, or whose command is the oldest in flight.
    package let client: UInt64?
    /// The name of that client's command, if it is known.
    package let command: String?
    /// What TLS has agreed on; nil without TLS, and before the end of its handshake.
    package let tls: TLSFacts?
}

/// What a client is doing.
package enum ClientState: String, CaseIterable, Sendable {
    /// Nothing of it is in progress.
    case idle
    /// A command of it is being carried out, or its reply is on the way.
    case active
    /// It waits for an upstream.
    case waiting
    /// Its command blocks until another client acts.
    case blocked
    /// It has an upstream of its own, and state on it.
    case pinned
    /// It has an upstream of its own for the rest of its connection.
    case pipe
}

/// A client.
package struct ClientReport: Sendable {
    /// As CLIENT ID shows it.
    package let id: UInt64
    package let pool: String
    package let worker: Int
    /// Its address; of a unix client, its process and user.
    package let peer: [UInt8]
    package let name: [UInt8]
    /// Its library, with the version.
    package let library: [UInt8]
    package let user: [UInt8]
    package let database: UInt32
    package let protocolVersion: UInt8
    /// Nanoseconds since it connected.
    package let age: Int64
    /// Nanoseconds since it last sent something.
    package let idle: Int64
    package let state: ClientState
    /// How long it has been in this state, in nanoseconds.
    package let since: Int64
    /// Why it waits or holds an upstream; nil if there is nothing to say.
    package let reason: String?
    /// The name of its last command, if it is known.
    package let command: String?
    /// The upstream that it uses.
    package let upstream: UInt64?
    package let commands: UInt64
    package let bytesIn: UInt64
    package let bytesOut: UInt64
    /// Bytes that Redpool holds for it: replies that it has not read, and commands that wait.
    package let bytesWaiting: Int
    /// What TLS has agreed on; nil without TLS, and before the end of its handshake.
    package let tls: TLSFacts?
    /// The number by which it is ranked; 0 without a rank.
    package let rank: Int64
}

/// The terms of the memory formula, as numbers of things and as bytes.
package struct MemoryReport: Equatable, Sendable {
    package var clients = 0
    /// Those of them with TLS.
    package var secureClients = 0
    /// Clients that wait for an upstream.
    package var waiting = 0
    /// Upstreams, and those of them that speak TLS.
    package var open = 0
    package var secure = 0
    /// Bytes that count in `totalOutputLimit`.
    package var output = 0
    /// Bytes of all buffers.
    package var buffers = 0

    package init() {}

    /// Adds what another worker reports.
    package mutating func add(_ other: MemoryReport) {
        clients += other.clients
        secureClients += other.secureClients
        waiting += other.waiting
        open += other.open
        secure += other.secure
        output += other.output
        buffers += other.buffers
    }
}

extension PoolCensus {
    /// Adds another worker's.
    mutating func add(_ other: PoolCensus) {
        connecting += other.connecting
        converting += other.converting
        idle += other.idle
        probing += other.probing
        shared += other.shared
        pinned += other.pinned
        control += other.control
        closing += other.closing
        waiting += other.waiting
    }
}
