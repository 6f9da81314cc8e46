// A pool as its clients see it: what they share, whichever server their commands go to.

import Config
import EventLoop
import Pool
import Session
import Telemetry

/// One pool of one worker, without its servers' connections: configuration, users, names, traffic.
final class PoolFront {
    let worker: Worker
    let config: PoolConfig
    let group: PoolGroup
    /// This worker's place among the pool's; nil where it does not serve the pool, and so has no
    /// permits and no connections.
    let member: Int?
    /// The state a fresh client is in, and so that of the connections kept warm.
    let warmKey: PoolKey
    /// The only server; nil when the pool is closed.
    private(set) var server: Server!
    var traffic = ClientTraffic()
    var unknownCommands = UnknownCommands()
    var users: UserTable
    /// Clients that monitor.
    var monitors: [SlotID] = []
    let denyList: DenyList
    let deniedStrangers: DeniedStrangers
    /// The server wants a password that the configuration does not give: clients log in themselves.
    var defaultNeedsLogin = false
    /// Whether it does is known from a connection.
    var isLoginKnown = false
    /// Where clients may move to unseen.
    var knownKeys: KnownKeys
    /// The server has accepted a CLIENT PAUSE, and it is believed to last. Every command asks, so it
    /// is not worked out from the time each time.
    var isPaused = false
    var pause = PauseBelief()
    var limiter = RateLimiter()

    /// - Parameter seed: of chance, not the same for two pools of a process.
    init(worker: Worker, config: PoolConfig, seed: UInt64) {
        self.worker = worker
        self.config = config
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

    /// Closes all connections, for good.
    func close() {
        server.closeEverything()
        server = nil
    }

    /// Workers, other than this one, that serve the pool.
    var otherWorkers: [Int] {
        group.budget == nil ? [] : group.members.filter { $0 != worker.index }
    }

    func tick() {
        judgePause()
        if !monitors.isEmpty { takeOwnCommands() }
        server.tick()
    }
}
