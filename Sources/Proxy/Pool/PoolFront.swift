// A pool as its clients see it: what they share, whatever server their commands go to.

import Config
import EventLoop
import Pool
import Session
import Telemetry
import Topology

/// One pool of one worker, without its server's connections: configuration, users, names, traffic.
final class PoolFront {
    let worker: Worker
    private(set) var config: PoolConfig
    let group: PoolGroup
    /// This worker's index among the workers of the pool. Nil if it does not serve the pool: then
    /// it has no permits and no connections.
    let member: Int?
    /// The state of a new client, and so of the connections that are kept warm.
    private(set) var warmKey: PoolKey
    /// Those that it has connections to, or may have. They come and go: nothing refers to one by
    /// its position.
    private(set) var servers: ContiguousArray<Server> = []
    /// The one that new work goes to; nil once the pool is closed.
    private(set) var primary: Server!
    /// Which node serves which slot; nil for a pool that is not in front of a cluster.
    private(set) var route: ClusterRoute?
    /// There is a route. Kept as a flag, because every command reads it.
    private(set) var isRouted = false
    /// `route`, for what each command asks: without a retain.
    private(set) var routing: Unmanaged<ClusterRoute>?
    /// Which commands go to replicas. Kept here for the same reason.
    private(set) var reads = PoolConfig.Reads.primary {
        didSet { setReads() }
    }
    /// Some of its clients read from replicas. Kept as a flag, because every command in front of a
    /// cluster reads it.
    private(set) var readsReplicas = false
    /// A client's commands go to several servers: there is a route, or replicas are read. Kept as a
    /// flag, because every command reads it.
    private(set) var isSpread = false
    /// The replicas that Sentinels name, also while nobody reads from them.
    var namedReplicas: [NodeAddress] = []
    /// Seeds the random numbers of its servers.
    private var seed: UInt64
    var traffic = ClientTraffic()
    var meter: PoolMeter
    var unknownCommands = UnknownCommands()
    var users: UserTable
    /// Clients that monitor.
    var monitors: [SlotID] = []
    private(set) var denyList: DenyList
    private(set) var deniedStrangers: DeniedStrangers
    /// TLS for clients; nil without.
    private(set) var secure: TLSContext?
    /// A reload has removed the pool: what is left is closed by this time.
    var leavesBy: MonotonicTime?
    /// How many moves of the group are in force here.
    var moves: Int
    /// The server requires a password that the configuration does not have: clients log in
    /// themselves.
    var defaultNeedsLogin = false
    /// A connection has shown whether the server requires a login.
    var isLoginKnown = false
    /// States to which clients may move without asking the server.
    var knownKeys: KnownKeys
    /// The server has accepted a CLIENT PAUSE that is assumed to last. Kept as a flag, because
    /// every command reads it.
    var isPaused = false
    var pause = PauseBelief()
    /// The waits for an upstream that have ended since the last statistics.
    private var waits = LatencyHistogram()
    /// Subscriptions that clients share; nil until the first.
    private(set) var subscriberDesk: SubscriberDesk?
    /// Who subscribes at the server on hubs; nil if no pool of the process shares subscriptions.
    private(set) var book: SubscriberBook?
    /// Nil unless an operator has paused the pool.
    var halt: PoolHalt?

    /// - Parameter seed: seeds the random numbers; different for each pool of the process.
    init(worker: Worker, config: PoolConfig, group: PoolGroup, seed: UInt64) {
        self.worker = worker
        self.config = config
        meter = PoolMeter(config)
        book = worker.group.book(of: config)
        denyList = DenyList(
            config.denyCommands, table: worker.table, countsSubscribers: book != nil)
        deniedStrangers = DeniedStrangers(config.denyCommands, table: worker.table)
        users = UserTable(name: config.username, password: config.password)
        warmKey = config.warmKey
        knownKeys = KnownKeys(warmKey: warmKey)
        self.group = group
        moves = group.moveCount
        member = group.members.firstIndex(of: worker.index)
        self.seed = seed &+ UInt64(worker.index)
        secure = listenerContext()
        if config.cluster != nil {
            let made = ClusterRoute(worker: worker)
            route = made
            routing = Unmanaged.passUnretained(made)
            isRouted = true
        }
        reads = config.reads
        setReads()
        primary = addServer(group.firstNode, at: config.givenAddress)
    }

    private func setReads() {
        readsReplicas = reads != .primary
        isSpread = isRouted || readsReplicas
    }

    deinit {
        denyList.destroy()
    }

    /// Closes all connections. The pool cannot be used afterwards.
    func close() {
        for server in servers { remove(server) }
        primary = nil
    }

    /// A node that work may go to.
    func addServer(_ node: PoolNode, at address: UpstreamAddress?) -> Server {
        seed &+= 1
        let server = Server(pool: self, node: node, address: address, seed: seed)
        servers.append(server)
        if let route {
            server.number = route.add(server)
        } else {
            let taken = servers.dropLast().map(\.number)
            server.number = (0...).first { !taken.contains($0) } ?? 0
        }
        return server
    }

    /// Closes what is left of a server's connections. Nobody may have it any more.
    func remove(_ server: Server) {
        server.closeEverything()
        server.leaveShard()
        server.setReplicas([])
        worker.work.departed.add(server)
        servers.removeAll { $0 === server }
        route?.remove(server)
        meter.before.add(server.machine.counters)
        if member != nil { group.leave(server.node) }
    }

    /// New work goes to this server from now on.
    func prefer(_ server: Server) { primary = server }

    /// The server of this node; nil if it is gone.
    subscript(node: NodeID) -> Server? { servers.first { $0.node.id == node } }

    func forEachServer(_ body: (Server) -> Void) {
        for server in servers { body(server) }
    }

    var allUpstreams: [UpstreamConnection] { servers.flatMap(\.allUpstreams) }

    /// Puts another configuration into force, except for what clients have to move for.
    func setConfig(_ new: PoolConfig) {
        let isOtherList = new.denyCommands != config.denyCommands
        meter.setSlowLog(new.slowLog)
        let isOtherTLS = new.listenTLS != config.listenTLS
        config = new
        reads = new.reads
        if isOtherTLS { secure = listenerContext() }
        if isOtherList { deniedStrangers = DeniedStrangers(new.denyCommands, table: worker.table) }
        takeBook(isOtherList: isOtherList)
    }

    /// Another pool may have begun to share subscriptions at the server.
    private func takeBook(isOtherList: Bool) {
        let found = worker.group.book(of: config)
        guard isOtherList || found !== book else { return }
        book = found
        denyList.destroy()
        denyList = DenyList(
            config.denyCommands, table: worker.table, countsSubscribers: found != nil)
    }

    /// Another server, user or database: nothing that is known of the former one applies any more.
    func forgetServer() {
        users.move(name: config.username, password: config.password)
        warmKey = config.warmKey
        knownKeys = KnownKeys(warmKey: warmKey)
        unknownCommands = UnknownCommands()
        defaultNeedsLogin = false
        isLoginKnown = false
        isPaused = false
    }

    /// The numbers of the pool over all workers. They may be a moment old.
    var use: PoolUse {
        var sum = primary.use
        for server in servers where server !== primary { sum.add(server.use) }
        return sum
    }

    /// The subscriptions that clients share.
    var subscribers: SubscriberDesk {
        if let subscriberDesk { return subscriberDesk }
        let made = SubscriberDesk(self)
        subscriberDesk = made
        return made
    }

    /// A client no longer waits for an upstream, whatever came of it.
    func waitEnded(_ wait: LeaseWait) { waits.record(worker.now - wait.since) }

    /// The waits since the last call.
    func takeWaits() -> LatencyHistogram {
        defer { waits = LatencyHistogram() }
        return waits
    }

    /// A removed pool whose connections are gone.
    var isClosed: Bool { primary == nil }

    /// The other workers that serve the pool.
    var otherWorkers: [Int] {
        group.members.count == 1 ? [] : group.members.filter { $0 != worker.index }
    }

    func tick() {
        judgePause()
        if !monitors.isEmpty { takeOwnCommands() }
        forEachServer { $0.tick() }
        if let route { leaveForgotten(route) }
        letFormerGo()
        if readsReplicas { watchReplicas() }
        subscriberDesk?.tick()
        if halt != nil { judgeHalt() }
        watch()
    }
}
