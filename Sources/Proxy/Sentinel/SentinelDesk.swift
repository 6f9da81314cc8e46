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
    private var timer: Timer?

    /// How often commands that wait are told that nobody knows the primary, in nanoseconds.
    private static let tellInterval: Int64 = 500_000_000

    /// Begins to ask the Sentinels of these pools. The workers exist already.
    package init(_ config: Config, loop: EventLoop, group: WorkerGroup, log: Logger) {
        self.loop = loop
        self.group = group
        self.log = log
        let me = Unmanaged.passUnretained(self).toOpaque()
        mail = DescriptorWatch(
            descriptor: group.signs.wakeup.descriptor, loop: loop, owner: me, callback: deskMail)
        timer = Timer(loop: loop, owner: me, callback: deskTimer)
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
        if !watched.isEmpty { timer?.start(after: SentinelDesk.tellInterval) }
    }

    /// What is known of the Sentinels of this pool; nil for a pool without.
    package func report(of pool: String) -> SentinelReport? { watched[pool]?.watch.report }

    /// Closes all connections. The primaries stay what they are.
    package func close() {
        for pool in watched.values { pool.watch.stop() }
        watched = [:]
        timer?.start(at: .max)
    }

    fileprivate func readMail() {
        for sign in group.signs.takeAll() {
            watched[sign.pool]?.take(sign)
        }
    }

    fileprivate func tell() {
        for pool in watched.values { pool.tellIfUnknown() }
        if watched.isEmpty { return }
        timer?.start(after: SentinelDesk.tellInterval)
    }
}

/// The primary of one pool.
private final class WatchedPrimary: SentinelWatchHandler {
    private(set) var watch: SentinelWatch!
    private let group: PoolGroup
    private var config: PoolConfig
    /// The primary that the workers know, as they and as the Sentinels write its address.
    private var known: (address: UpstreamAddress, node: NodeAddress)?

    init?(_ config: PoolConfig, loop: EventLoop, group: PoolGroup, log: Logger) {
        self.config = config
        self.group = group
        guard let watch = SentinelWatch(loop: loop, config: config, log: log, handler: self) else {
            return nil
        }
        self.watch = watch
        watch.start()
    }

    func reconfigure(_ new: PoolConfig) {
        // The workers have forgotten the primary of another name (`PoolFront.replace`).
        if config.source.isMove(to: new.source) { known = nil }
        config = new
        watch.reconfigure(new)
    }

    func adopted(_ primary: SentinelPrimary) {
        let node = primary.node
        // The watch takes no others.
        guard let address = UpstreamAddress(host: node.hostText, port: node.port) else { return }
        known = (address, node)
        group.succeed(to: address)
    }

    func left(_ node: NodeAddress) {
        guard known != nil else { return }
        known = nil
        group.succeed(to: nil)
    }

    /// A sign that comes late may be about a former primary.
    func take(_ sign: PrimarySign) {
        guard let known, known.address == sign.address else { return }
        watch.trouble(sign.trouble, at: known.node)
    }

    /// Tells the workers why no primary is known, when each Sentinel has had its say.
    func tellIfUnknown() {
        guard known == nil else { return }
        let report = watch.report
        guard report.sentinels.allSatisfy({ !$0.error.isEmpty }) else { return }
        group.tellUnknown(report.problem)
    }
}

private func deskMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<SentinelDesk>.fromOpaque(owner).takeUnretainedValue().readMail()
}

private func deskTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<SentinelDesk>.fromOpaque(owner).takeUnretainedValue().tell()
}
