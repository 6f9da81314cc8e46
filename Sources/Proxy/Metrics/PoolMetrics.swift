// What a worker tells of its pools, as values. Those of several workers are added.

package import Pool
package import Telemetry

/// The numbers of a pool, on one worker or on several. Totals since the start, but for `clients`,
/// `waitingBytes`, `census`, `sight` and a part of `subscribers`, which are those of the moment.
package struct PoolMetrics: Sendable {
    package let pool: String
    package internal(set) var clients = 0
    /// Bytes that Redpool holds for clients: replies that they have not read, and input behind
    /// commands that block.
    package internal(set) var waitingBytes = 0
    package internal(set) var accepted: UInt64 = 0
    /// One for each `ClientCloseReason`.
    package internal(set) var clientsClosed = zeros(ClientCloseReason.allCases.count)
    /// Logins that Redpool has refused.
    package internal(set) var loginsRefused: UInt64 = 0
    package internal(set) var bytes = Bytes()
    package internal(set) var commands = Commands()
    /// One for each `RefusedReason`.
    package internal(set) var refused = zeros(RefusedReason.allCases.count)
    /// One for each `ErrorWord`.
    package internal(set) var errorReplies = zeros(ErrorWord.allCases.count)
    package internal(set) var census = PoolCensus()
    package internal(set) var sight = PoolSight()
    /// Zeros for a pool with one server at a time; with Sentinels all but the reads of replicas.
    package internal(set) var cluster = ClusterCounts()
    /// Subscriptions that clients share.
    package internal(set) var subscribers = SubscriberMetrics()
    package internal(set) var leases = Leases()
    package internal(set) var upstreams = Upstreams()
    /// Handshakes of TLS with the server.
    package internal(set) var upstreamTLS = TLSCounts()
    /// Handshakes of TLS with clients.
    package internal(set) var clientTLS = TLSCounts()
    /// Waits of clients for an upstream that did not get one at once, but later.
    package internal(set) var waits = LatencyHistogram()
    /// From the turn that queued a command to the turn that read the last byte of its reply.
    package internal(set) var replies = LatencyHistogram()
    /// Dials that succeeded.
    package internal(set) var dials = LatencyHistogram()
    /// Connections that were not taken: too many clients, no descriptors. The main thread knows
    /// them.
    package var rejected: (atLimit: UInt64, withoutFiles: UInt64) = (0, 0)

    /// Bytes in each direction.
    package struct Bytes: Equatable, Sendable {
        package var fromClients: UInt64 = 0
        package var toClients: UInt64 = 0
        package var fromServer: UInt64 = 0
        package var toServer: UInt64 = 0
    }

    /// Commands by where they went.
    package struct Commands: Equatable, Sendable {
        package var shared: UInt64 = 0
        package var pinned: UInt64 = 0
        package var local: UInt64 = 0
        package var retriedShared: UInt64 = 0
        package var retriedPinned: UInt64 = 0

        package var all: UInt64 { shared + pinned + local }
    }

    /// Leases by what came of them.
    package struct Leases: Equatable, Sendable {
        package var atOnce: UInt64 = 0
        package var refused: UInt64 = 0
        package var left: UInt64 = 0
    }

    /// How upstreams began, were tested, and ended.
    package struct Upstreams: Equatable, Sendable {
        package var opened: UInt64 = 0
        /// One for each `CloseReason`.
        package var closed = zeros(CloseReason.allCases.count)
        package var connected: UInt64 = 0
        package var probesAnswered: UInt64 = 0
        package var probesFailed: UInt64 = 0
    }

    package init(pool: String) { self.pool = pool }

    private static func zeros(_ count: Int) -> [UInt64] { Array(repeating: 0, count: count) }

    /// Leases that were granted after a wait.
    package var leasesWaited: UInt64 { waits.count }

    /// All waits for an upstream, zeros included.
    package var allWaits: UInt64 { leases.atOnce + waits.count }

    /// The same without what is of the moment only: clients, bytes that wait, upstreams, hubs.
    package var totals: PoolMetrics {
        var totals = self
        totals.clients = 0
        totals.waitingBytes = 0
        totals.census = PoolCensus()
        totals.sight = PoolSight()
        totals.subscribers.present = SubscriberMetrics.Present()
        return totals
    }

    /// Adds the numbers of another worker.
    package mutating func add(_ other: PoolMetrics) {
        clients += other.clients
        waitingBytes += other.waitingBytes
        accepted += other.accepted
        loginsRefused += other.loginsRefused
        PoolMetrics.add(other.clientsClosed, to: &clientsClosed)
        PoolMetrics.add(other.refused, to: &refused)
        PoolMetrics.add(other.errorReplies, to: &errorReplies)
        bytes.add(other.bytes)
        commands.add(other.commands)
        census.add(other.census)
        sight.add(other.sight)
        cluster.add(other.cluster)
        subscribers.add(other.subscribers)
        leases.atOnce += other.leases.atOnce
        leases.refused += other.leases.refused
        leases.left += other.leases.left
        upstreams.opened += other.upstreams.opened
        PoolMetrics.add(other.upstreams.closed, to: &upstreams.closed)
        upstreams.connected += other.upstreams.connected
        upstreams.probesAnswered += other.upstreams.probesAnswered
        upstreams.probesFailed += other.upstreams.probesFailed
        upstreamTLS.add(other.upstreamTLS)
        clientTLS.add(other.clientTLS)
        waits.merge(other.waits)
        replies.merge(other.replies)
        dials.merge(other.dials)
    }

    private static func add(_ numbers: [UInt64], to sums: inout [UInt64]) {
        for index in sums.indices { sums[index] += numbers[index] }
    }
}

extension PoolMetrics.Bytes {
    fileprivate mutating func add(_ other: Self) {
        fromClients += other.fromClients
        toClients += other.toClients
        fromServer += other.fromServer
        toServer += other.toServer
    }
}

extension PoolMetrics.Commands {
    fileprivate mutating func add(_ other: Self) {
        shared += other.shared
        pinned += other.pinned
        local += other.local
        retriedShared += other.retriedShared
        retriedPinned += other.retriedPinned
    }
}

/// The numbers of a worker.
package struct WorkerMetrics: Sendable {
    package let worker: Int
    /// When they were taken.
    package let at: MonotonicTime
    /// Processor time of its thread since the start, in nanoseconds.
    package let busy: Int64
    /// The longest turn of the last one to two minutes, in nanoseconds.
    package let longestTurn: Int64
    package let pools: [PoolMetrics]
}
