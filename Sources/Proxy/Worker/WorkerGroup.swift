// All workers of the process: their mailboxes, and a few counters over all of them. Workers share
// nothing else.

package import Config
package import EventLoop
import Pool
import Session
import Synchronization
import Topology

/// What the workers of a process share: immutable, except for atomics, mailboxes, and the pools,
/// which a reload replaces.
package final class WorkerGroup: Sendable {
    /// One for each worker.
    package let mailboxes: [Mailbox<WorkerMessage>]
    private let pools: Mutex<KnownPools>
    let lastSerial = Atomic<UInt64>(0)
    let lastUpstream = Atomic<UInt64>(0)
    let clients = Atomic<Int>(0)
    let loads: [WorkerLoad]
    /// The acceptor is out of descriptors and waits for a free one.
    let isAcceptorResting = Atomic<Bool>(false)
    /// Wakes the main thread's acceptor when a descriptor is free.
    let room: Wakeup
    /// What workers see of primaries that Sentinels name, for the main thread.
    let signs: Mailbox<PrimarySign>
    /// What they see of clusters, for the main thread.
    let clusterSigns: Mailbox<ClusterSign>

    /// A worker whose loop has not run for this long gets no new clients, in nanoseconds.
    private static let patience: Int64 = 1_000_000_000

    /// Nil when no descriptor is left.
    package init?(_ config: Config) {
        var mailboxes: [Mailbox<WorkerMessage>] = []
        for _ in 0..<config.threads {
            guard let mailbox = Mailbox<WorkerMessage>() else { return nil }
            mailboxes.append(mailbox)
        }
        guard let room = Wakeup(), let signs = Mailbox<PrimarySign>(),
            let clusterSigns = Mailbox<ClusterSign>()
        else { return nil }
        self.signs = signs
        self.clusterSigns = clusterSigns
        self.room = room
        self.mailboxes = mailboxes
        loads = mailboxes.map { _ in WorkerLoad() }
        var pools = KnownPools()
        pools.replace(by: config, mailboxes)
        self.pools = Mutex(pools)
    }

    package var workers: Int { mailboxes.count }

    /// The workers of the pool with this name; nil if the configuration does not have it.
    func pool(_ name: String) -> PoolGroup? { pools.withLock { $0.present[name] } }

    /// Who subscribes on hubs at the pool's server or cluster; nil if nobody can.
    func book(of pool: PoolConfig) -> SubscriberBook? {
        pools.withLock { $0.books[BookKey(pool)] }
    }

    /// The groups of all pools, by name.
    var poolGroups: [String: PoolGroup] { pools.withLock { $0.present } }

    /// Puts other settings in place, in all workers. Pools that stay keep their workers, and have
    /// other limits from now on. The clients of the listeners with the numbers `removed` are
    /// drained. Each worker calls `applied` with its number, on its own thread.
    package func replace(
        _ settings: WorkerSettings, removing removed: Set<UInt16>,
        applied: @escaping @Sendable (Int) -> Void
    ) {
        let groups = pools.withLock { pools in
            pools.replace(by: settings.config, mailboxes)
            return pools.present
        }
        let new = Replacement(
            settings: settings, groups: groups, moves: groups.mapValues(\.moveCount),
            removed: removed, applied: applied)
        for mailbox in mailboxes { mailbox.post(.reload(new)) }
    }

    /// The workers that serve the pool with this name; none if it is no longer configured.
    package func members(of name: String) -> [Int] { pool(name)?.members ?? [] }

    /// Connections to the pool with this name that were refused.
    package func rejected(of name: String) -> UInt64 {
        let (atLimit, withoutFiles) = rejected(of: name)
        return atLimit + withoutFiles
    }

    /// Why the pool with this name has no upstream, in the words of the system or the server; nil
    /// if it is up, or is no longer configured.
    package func outage(of name: String) -> String? { pool(name)?.warnings.outageError }

    /// Whether an operator has paused the pool with this name.
    package func isPaused(_ name: String) -> Bool { pool(name)?.isHalted ?? false }

    /// Connections that the pool with this name has refused: those that came when there were
    /// `maxClients`, and how often no descriptor was left. They stay when a reload removes the
    /// pool.
    package func rejected(of name: String) -> (atLimit: UInt64, withoutFiles: UInt64) {
        let found = pools.withLock { $0.rejected[name] }
        return (
            found?.atLimit.load(ordering: .relaxed) ?? 0,
            found?.withoutFiles.load(ordering: .relaxed) ?? 0
        )
    }

    // MARK: Clients

    /// The number of clients of the process.
    package var clientCount: Int { clients.load(ordering: .relaxed) }

    /// Reserves a place for a client of a pool. Returns its worker and its id, as CLIENT ID shows
    /// it; nil when there are `limit` clients. Ids grow in the order of the calls.
    func admit(_ limit: Int, to pool: String) -> (worker: Int, serial: UInt64)? {
        if clients.wrappingAdd(1, ordering: .relaxed).newValue > limit {
            clients.wrappingSubtract(1, ordering: .relaxed)
            return nil
        }
        let serial = lastSerial.wrappingAdd(1, ordering: .relaxed).newValue
        if workers == 1 { return (0, serial) }
        let worker = leastLoaded(of: self.pool(pool)?.members ?? [0], serial)
        loads[worker].clients.wrappingAdd(1, ordering: .relaxed)
        return (worker, serial)
    }

    /// The number of an upstream that is being dialled, as the console shows it.
    func nextUpstream() -> UInt64 { lastUpstream.wrappingAdd(1, ordering: .relaxed).newValue }

    /// A client of `worker` has left.
    func left(_ worker: Int) {
        clients.wrappingSubtract(1, ordering: .relaxed)
        if workers > 1 { loads[worker].clients.wrappingSubtract(1, ordering: .relaxed) }
    }

    /// The worker with the fewest clients. A worker that hangs is chosen only if all hang. Ties are
    /// broken in rotation.
    private func leastLoaded(of members: [Int], _ serial: UInt64) -> Int {
        let now = EventLoop.now()
        let first = Int(serial % UInt64(members.count))
        var best = members[first]
        var bestLoad = Int.max
        for offset in members.indices {
            let worker = members[(first + offset) % members.count]
            let isStuck =
                now - loads[worker].seenAt.load(ordering: .relaxed) > WorkerGroup.patience
            let load = loads[worker].clients.load(ordering: .relaxed) + (isStuck ? 1 << 32 : 0)
            if load < bestLoad {
                best = worker
                bestLoad = load
            }
        }
        return best
    }

    /// The workers whose loops have not run in the last `span` nanoseconds.
    package func stuck(for span: Int64) -> [Int] {
        let now = EventLoop.now()
        return loads.indices.filter { now - loads[$0].seenAt.load(ordering: .relaxed) > span }
    }

    /// Workers by their numbers, as the subject of a sentence: `worker 2`, `workers 0, 2`.
    package static func names(of workers: [Int]) -> String {
        (workers.count == 1 ? "worker " : "workers ")
            + workers.map(String.init).joined(separator: ", ")
    }

    /// A worker's loop has run.
    func seen(_ worker: Int, at now: MonotonicTime) {
        loads[worker].seenAt.store(now.nanoseconds, ordering: .relaxed)
    }
}

/// The pools by name.
private struct KnownPools {
    /// Of servers and clusters at which a pool shares subscriptions. They stay: clients of former
    /// times may.
    private(set) var books: [BookKey: SubscriberBook] = [:]
    /// Those of the configuration.
    private(set) var present: [String: PoolGroup] = [:]
    /// Also of pools that there were once: no counter falls.
    private(set) var rejected: [String: RejectedClients] = [:]

    /// The pools of another configuration. Those that stay keep their workers and their group.
    mutating func replace(by config: Config, _ mailboxes: [Mailbox<WorkerMessage>]) {
        var groups: [String: PoolGroup] = [:]
        for (index, pool) in config.pools.enumerated() {
            if pool.pubsub.isShared, books[BookKey(pool)] == nil {
                books[BookKey(pool)] = SubscriberBook()
            }
            let known = present[pool.name]
            let group = known?.isOtherPool(than: pool) == false ? known : nil
            group?.replace(pool)
            let counts = rejected[pool.name] ?? RejectedClients()
            rejected[pool.name] = counts
            groups[pool.name] =
                group
                ?? PoolGroup(index: index, config: pool, mailboxes: mailboxes, rejected: counts)
        }
        present = groups
    }
}

/// A server or a cluster, whatever pools lead to it.
private struct BookKey: Hashable {
    private let source: String

    init(_ pool: PoolConfig) { source = "\(pool.source)" }
}

/// Connections to a pool that were not taken.
final class RejectedClients: Sendable {
    /// Those that came when there were `maxClients`.
    let atLimit = Atomic<UInt64>(0)
    /// How often descriptors or memory have run out.
    let withoutFiles = Atomic<UInt64>(0)
}

/// What the acceptor knows about a worker.
final class WorkerLoad: Sendable {
    let clients = Atomic<Int>(0)
    let seenAt = Atomic<Int64>(0)
}

/// The workers that serve one pool.
final class PoolGroup: Sendable {
    let name: String
    /// The worker indexes of the pool's members, in order.
    let members: [Int]
    /// The servers of the pool. With `upstream`, one for as long as the pool lasts.
    private let nodes: Mutex<[NodeID: PoolNode]>
    /// The node that the workers begin with.
    let firstNode: PoolNode
    /// One for each member.
    let desks: [MonitorDesk]
    private let mailboxes: [Mailbox<WorkerMessage>]
    private let config: Mutex<PoolConfig>
    private let moves = Atomic<Int>(0)
    let rejected: RejectedClients
    private let isWithoutFence = Atomic<Bool>(false)
    private let isClusterNode = Atomic<Bool>(false)
    private let isPinningSubscribers = Atomic<Bool>(false)
    let warnings: PoolWarnings
    private let halted = Atomic<Int>(0)
    /// The numbers of a cluster's primaries in cursors of SCAN, by their ids. They stay for as long
    /// as the pool lasts, because clients keep cursors.
    let scanNumbers = Mutex<[[UInt8]: Int]>([:])

    /// A pool uses only as many workers as it can be spread over.
    ///
    /// - Parameter index: the pool's position in the configuration. Pools start at different
    ///   workers.
    fileprivate init(
        index: Int, config: PoolConfig, mailboxes: [Mailbox<WorkerMessage>],
        rejected: RejectedClients
    ) {
        let most = PoolLimits.mostWorkers(maxOpen: config.maxOpen, maxIdle: config.maxIdle)
        let count = min(mailboxes.count, most)
        name = config.name
        self.config = Mutex(config)
        self.mailboxes = mailboxes
        self.rejected = rejected
        // Pools that do not need all workers start at different ones.
        members = (0..<count).map { (index + $0) % mailboxes.count }.sorted()
        warnings = PoolWarnings(members: count)
        desks = (0..<count).map { _ in MonitorDesk() }
        firstNode = PoolNode(config.limits(member: 0, of: count), members: count, users: count)
        nodes = Mutex([firstNode.id: firstNode])
    }

    /// Whether the pool of this name in another configuration shares only the name.
    fileprivate func isOtherPool(than new: PoolConfig) -> Bool {
        config.withLock { $0.isOtherPool(than: new) }
    }

    /// Puts another configuration into force. The number of workers stays.
    fileprivate func replace(_ config: PoolConfig) {
        self.config.withLock { present in
            if present.isMove(to: config) { moves.wrappingAdd(1, ordering: .relaxed) }
            present = config
        }
        let limits = config.limits(member: 0, of: members.count)
        for node in nodes.withLock({ Array($0.values) }) { node.setLimits(limits) }
    }

    /// Another server becomes the primary of the pool, on all workers; with nil, nobody knows which
    /// one for the moment. To be called on the thread that reloads: each worker then hears of all
    /// changes in one order.
    func succeed(to address: UpstreamAddress?) {
        let node = PoolNode(
            config.withLock { $0.limits(member: 0, of: members.count) }, members: members.count,
            users: members.count)
        nodes.withLock { $0[node.id] = node }
        let count = moves.wrappingAdd(1, ordering: .relaxed).newValue
        let succession = Succession(node: node, address: address, moves: count)
        for mailbox in mailboxes { mailbox.post(.succeed(pool: name, succession)) }
    }

    /// Nobody can say which server the primary is, for this reason.
    func tellUnknown(_ text: String) {
        for mailbox in mailboxes { mailbox.post(.primaryUnknown(pool: name, text)) }
    }

    /// A member has no connection to this node any more, and will have none.
    func leave(_ node: PoolNode) {
        nodes.withLock { nodes in
            if node.isLeftByLast() { nodes[node.id] = nil }
        }
    }

    /// The node of a cluster, or the replica that Sentinels name, at this address, for a member
    /// that does not have it yet; the member leaves it at its end. Nil when there are
    /// `mostNamedNodes`.
    func join(_ address: NodeAddress) -> PoolNode? {
        let (limits, most) = config.withLock { config in
            (config.limits(member: 0, of: members.count), config.mostNamedNodes)
        }
        return nodes.withLock { nodes in
            if let known = nodes.values.first(where: { $0.address == address }) {
                known.addUser()
                return known
            }
            guard nodes.values.count(where: { $0.address != nil }) < most else { return nil }
            let node = PoolNode(limits, members: members.count, users: 1, address: address)
            nodes[node.id] = node
            return node
        }
    }

    /// The number of a primary in cursors of SCAN; nil when there are too many.
    func scanNumber(of id: [UInt8]) -> Int? {
        scanNumbers.withLock { numbers in
            if let known = numbers[id] { return known }
            guard numbers.count < ScanCursor.mostNodes else { return nil }
            numbers[id] = numbers.count
            return numbers.count - 1
        }
    }

    /// The map of the pool's cluster, on all workers. To be called on the thread that reloads: each
    /// worker then hears of all changes in one order.
    func publish(_ map: SlotMap) {
        for mailbox in mailboxes { mailbox.post(.cluster(pool: name, map)) }
    }

    /// The replicas that Sentinels name, on all workers; see `publish`.
    func publish(replicas: [NodeAddress]) {
        for mailbox in mailboxes { mailbox.post(.replicas(pool: name, replicas)) }
    }

    /// How often the pool has got another server, user or database. While a worker has applied
    /// fewer moves than this, it and another one can be at different servers.
    var moveCount: Int { moves.load(ordering: .relaxed) }

    /// Connections that were refused because a limit was reached.
    var rejectedCount: UInt64 {
        rejected.atLimit.load(ordering: .relaxed) + rejected.withoutFiles.load(ordering: .relaxed)
    }

    func countRejected() { rejected.atLimit.wrappingAdd(1, ordering: .relaxed) }

    func countRest() { rejected.withoutFiles.wrappingAdd(1, ordering: .relaxed) }

    /// True on the first call in the process.
    func isFirstWithoutFence() -> Bool { !isWithoutFence.exchange(true, ordering: .relaxed) }

    /// True on the first call in the process.
    func isFirstClusterNode() -> Bool { !isClusterNode.exchange(true, ordering: .relaxed) }

    /// True on the first call in the process.
    func isFirstPinnedSubscriber() -> Bool {
        !isPinningSubscribers.exchange(true, ordering: .relaxed)
    }

    /// A member has halted the pool (1) or resumed it (-1). Returns how many have halted it.
    func countHalted(_ change: Int) -> Int {
        halted.wrappingAdd(change, ordering: .relaxed).newValue
    }

    /// At least one member has halted the pool.
    var isHalted: Bool { halted.load(ordering: .relaxed) > 0 }

    /// Wakes members to look at the permits of a node. `set` has a bit for each member.
    func wake(_ set: UInt64, for node: NodeID) {
        for member in members.indices where set & (1 << UInt64(member)) != 0 {
            mailboxes[members[member]].post(.permits(pool: name, node: node))
        }
    }
}
