// The Sentinels of all pools, on the main thread: it is idle, goes on when a worker hangs, and is
// the one that reloads. So each worker hears of reloads and failovers in one order.

package import Config
package import EventLoop
package import Logging
import Pool
import Topology

/// Something that a worker has seen of a pool's primary.
package struct PrimarySign: Sendable {
    let pool: String
    /// That of the primary.
    let address: UpstreamAddress
    let trouble: PrimaryTrouble
}

/// Follows the primaries of all pools that have Sentinels, and tells the workers of them.
package final class SentinelDesk {
    private let loop: EventLoop
    private let group: WorkerGroup
    private let log: Logger
    private var watched: [String: WatchedPrimary] = [:]
    private var mail: DescriptorWatch?

    /// Begins to ask the Sentinels of these pools. The workers exist already.
    package init(_ config: Config, loop: EventLoop, group: WorkerGroup, log: Logger) {
        self.loop = loop
        self.group = group
        self.log = log
        let me = Unmanaged.passUnretained(self).toOpaque()
        mail = DescriptorWatch(
            descriptor: group.signs.wakeup.descriptor, loop: loop, owner: me, callback: deskMail)
        replace(config)
    }

    /// Another configuration is in force: the workers have been told of it before.
    package func replace(_ config: Config) {
        for name in Array(watched.keys)
        where config.pools.first(where: { $0.name == name })?.sentinels == nil {
            watched.removeValue(forKey: name)?.watch.stop()
        }
        for pool in config.pools where pool.sentinels != nil {
            if let known = watched[pool.name] {
                known.reconfigure(pool)
            } else if let group = group.pool(pool.name) {
                watched[pool.name] = WatchedPrimary(pool, loop: loop, group: group, log: log)
            }
        }
    }

    /// What is known of the Sentinels of this pool; nil for a pool without.
    package func report(of pool: String) -> SentinelReport? { watched[pool]?.watch.report }

    /// The primaries that workers know, by pool.
    var primaries: [(pool: String, primary: SentinelPrimary)] {
        watched.compactMap { pool, watched in watched.known.map { (pool, $0) } }
            .sorted { $0.pool < $1.pool }
    }

    /// Goes on with a primary that Sentinels have named to a former program.
    func resume(_ pool: String, _ claim: PrimaryClaim) { watched[pool]?.resume(claim) }

    fileprivate func readMail() {
        for sign in group.signs.takeAll() {
            watched[sign.pool]?.take(sign)
        }
    }
}

/// The primary of one pool.
private final class WatchedPrimary: SentinelWatchHandler {
    private(set) var watch: SentinelWatch!
    private let group: PoolGroup
    private var config: PoolConfig
    /// The primary that the workers know.
    fileprivate private(set) var known: SentinelPrimary?

    init?(_ config: PoolConfig, loop: EventLoop, group: PoolGroup, log: Logger) {
        self.config = config
        self.group = group
        guard let watch = SentinelWatch(loop: loop, config: config, log: log, handler: self) else {
            return nil
        }
        self.watch = watch
        watch.start()
    }

    func resume(_ claim: PrimaryClaim) {
        guard let primary = watch.resume(claim) else { return }
        known = primary
        group.succeed(to: primary.address)
    }

    func reconfigure(_ new: PoolConfig) {
        // The workers have forgotten the primary of another name (`PoolFront.replace`).
        if config.source.isMove(to: new.source) { known = nil }
        config = new
        watch.reconfigure(new)
    }

    func adopted(_ primary: SentinelPrimary) {
        known = primary
        group.succeed(to: primary.address)
    }

    func left(_ node: NodeAddress) {
        guard known != nil else { return }
        known = nil
        group.succeed(to: nil)
    }

    func named(replicas: [NodeAddress]) { group.publish(replicas: replicas) }

    /// A sign that comes late may be about a former primary.
    func take(_ sign: PrimarySign) {
        guard let known, known.address == sign.address else { return }
        watch.trouble(sign.trouble, at: known.node)
    }

    func unknown(_ problem: String) { group.tellUnknown(problem) }
}

private func deskMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<SentinelDesk>.fromOpaque(owner).takeUnretainedValue().readMail()
}
