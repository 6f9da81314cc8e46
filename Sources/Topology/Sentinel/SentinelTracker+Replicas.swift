// Which replicas the primary has, if clients read from them. What Sentinels say of them decides
// only where connections are made: what may be read there, the servers' own offsets say.

package import Pool

extension SentinelTracker {
    /// Whether clients read from replicas.
    package mutating func wantReplicas(_ wanted: Bool, now: MonotonicTime) {
        guard wanted != wantsReplicas else { return }
        clock = now.nanoseconds
        wantsReplicas = wanted
        if wanted { askAll() }
        finish()
    }

    /// A replica is one if any Sentinel that names the present primary says that it is up: others
    /// may not see it, or may not have asked it yet. While none says anything, what was known
    /// stays.
    mutating func judgeReplicas() {
        var found: [NodeAddress] = []
        if wantsReplicas {
            guard let primary else { return }
            let lists = sentinels.compactMap { $0.claim == primary ? $0.replicas?.up : nil }
            if lists.isEmpty { return }
            for address in lists.joined() where address != primary.address {
                if found.count < Self.mostReplicas, !found.contains(address) {
                    found.append(address)
                }
            }
        }
        guard Set(found) != Set(replicas) else { return }
        replicas = found
        want(.replicas(found))
    }

    /// How long a Sentinel is not asked in quiet times. A replica that is not up may come up soon.
    var quietTime: Int64 {
        guard wantsReplicas, sentinels.contains(where: { $0.replicas?.hasOthers == true }) else {
            return Self.quietInterval
        }
        return Self.replicaInterval
    }
}
