// A pool as its clients see it: what they share, whatever server their commands go to.

import Config
import EventLoop
import Pool
import Session

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
    /// The only server; nil once the pool is closed.
    private(set) var server: Server!
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
    /// Nil unless an operator has paused the pool.
    var halt: PoolHalt?

    /// - Parameter seed: seeds the random numbers; different for each pool of the process.
    init(worker: Worker, config: PoolConfig, group: PoolGroup, seed: UInt64) {
        self.worker = worker
        self.config = config
        meter = PoolMeter(config)
        denyList = DenyList(config.denyCommands, table: worker.table)
        deniedStrangers = DeniedStrangers(config.denyCommands, table: worker.table)
        users = UserTable(name: config.username, password: config.password)
        warmKey = config.warmKey
        knownKeys = KnownKeys(warmKey: warmKey)
        self.group = group
        moves = group.moveCount
        member = group.members.firstIndex(of: worker.index)
        server = Server(pool: self, seed: seed &+ UInt64(worker.index))
        secure = listenerContext()
    }

    deinit {
        denyList.destroy()
    }

    /// Closes all connections. The pool cannot be used afterwards.
    func close() {
        server.closeEverything()
        worker.work.departed.add(server)
        server = nil
    }

    /// Puts another configuration into force, except for what clients have to move for.
    func setConfig(_ new: PoolConfig) {
        if new.denyCommands != config.denyCommands {
            denyList.destroy()
            denyList = DenyList(new.denyCommands, table: worker.table)
            deniedStrangers = DeniedStrangers(new.denyCommands, table: worker.table)
        }
        meter.setSlowLog(new.slowLog)
        let isOtherTLS = new.listenTLS != config.listenTLS
        config = new
        if isOtherTLS { secure = listenerContext() }
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

    /// A removed pool whose connections are gone.
    var isClosed: Bool { server == nil }

    /// The other workers that serve the pool.
    var otherWorkers: [Int] {
        group.budget == nil ? [] : group.members.filter { $0 != worker.index }
    }

    func tick() {
        judgePause()
        if !monitors.isEmpty { takeOwnCommands() }
        server.tick()
        if halt != nil { judgeHalt() }
        watch()
    }
}
