// The clusters of all pools, on the main thread, for the reasons of `SentinelDesk`.

package import Config
package import EventLoop
package import Logging
import Pool
import Topology

/// Follows the maps of all pools in front of a cluster, and tells the workers of them.
package final class ClusterDesk {
    private let loop: EventLoop
    private let group: WorkerGroup
    private let log: Logger
    private var watched: [String: WatchedCluster] = [:]
    private var mail: DescriptorWatch?

    /// Begins to ask the nodes of these pools. The workers exist already.
    package init(_ config: Config, loop: EventLoop, group: WorkerGroup, log: Logger) {
        self.loop = loop
        self.group = group
        self.log = log
        let me = Unmanaged.passUnretained(self).toOpaque()
        mail = DescriptorWatch(
            descriptor: group.clusterSigns.wakeup.descriptor, loop: loop, owner: me,
            callback: deskMail)
        replace(config)
    }

    /// Another configuration is in force: the workers have been told of it before. A pool with
    /// another group is another pool of the same name.
    package func replace(_ config: Config) {
        for (name, known) in watched {
            let pool = config.pools.first { $0.name == name }
            if pool?.cluster == nil || group.pool(name) !== known.group {
                watched.removeValue(forKey: name)?.watch.stop()
            }
        }
        for pool in config.pools where pool.cluster != nil {
            if let known = watched[pool.name] {
                known.watch.reconfigure(pool)
            } else if let group = group.pool(pool.name) {
                watched[pool.name] = WatchedCluster(pool, loop: loop, group: group, log: log)
            }
        }
    }

    /// What is known of the cluster of this pool; nil for a pool without.
    package func report(of pool: String) -> ClusterReport? { watched[pool]?.watch.report }

    /// The maps that workers have, and the config epochs of their nodes.
    var maps: [(group: PoolGroup, map: SlotMap, epochs: [Int64])] {
        watched.values.compactMap { watched in
            watched.watch.history.map.map { (watched.group, $0, watched.watch.tracker.epochs) }
        }.sorted { $0.0.name < $1.0.name }
    }

    /// Goes on with the map of a former program. Returns the pool that has it.
    func resume(_ pool: String, _ map: SlotMap, epochs: [Int64]) -> PoolGroup? {
        watched[pool]?.resume(map, epochs)
        return watched[pool]?.group
    }

    fileprivate func readMail() {
        for sign in group.clusterSigns.takeAll() { watched[sign.pool]?.watch.take(sign.kind) }
    }
}

/// The cluster of one pool.
private final class WatchedCluster: ClusterWatchHandler {
    private(set) var watch: ClusterWatch!
    let group: PoolGroup

    init?(_ config: PoolConfig, loop: EventLoop, group: PoolGroup, log: Logger) {
        self.group = group
        guard let watch = ClusterWatch(loop: loop, config: config, log: log, handler: self) else {
            return nil
        }
        self.watch = watch
        watch.start()
    }

    func resume(_ map: SlotMap, _ epochs: [Int64]) {
        watch.resume(map, epochs)
        group.publish(map)
    }

    func published(_ map: SlotMap) { group.publish(map) }

    func unknown(_ problem: String) { group.tellUnknown(problem) }
}

private func deskMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ClusterDesk>.fromOpaque(owner).takeUnretainedValue().readMail()
}
