// A pool as its clients see it: what they share, whatever server their commands go to.

import Config
import Pool
import Session

/// One pool of one worker, without its server's connections: configuration, users, names, traffic.
final class PoolFront {
    let worker: Worker
    let config: PoolConfig
    let group: PoolGroup
    /// This worker's index among the workers of the pool. Nil if it does not serve the pool: then
    /// it has no permits and no connections.
    let member: Int?
    /// The state of a new client, and so of the connections that are kept warm.
    let warmKey: PoolKey
    /// The only server; nil once the pool is closed.
    private(set) var server: Server!
    var traffic = ClientTraffic()
    var meter: PoolMeter
    var unknownCommands = UnknownCommands()
    var users: UserTable
    /// Clients that monitor.
    var monitors: [SlotID] = []
    let denyList: DenyList
    let deniedStrangers: DeniedStrangers
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
    init(worker: Worker, config: PoolConfig, seed: UInt64) {
        self.worker = worker
        self.config = config
        meter = PoolMeter(config)
        denyList = DenyList(config.denyCommands, table: worker.table)
        deniedStrangers = DeniedStrangers(config.denyCommands, table: worker.table)
        users = UserTable(name: config.username, password: config.password)
        warmKey = PoolKey(
            user: 0, protocolVersion: 2, database: UInt32(clamping: config.upstreamDatabase))
        knownKeys = KnownKeys(warmKey: warmKey)
        group = worker.group.pool(config.name)
        member = group.members.firstIndex(of: worker.index)
        server = Server(pool: self, seed: seed &+ UInt64(worker.index))
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
