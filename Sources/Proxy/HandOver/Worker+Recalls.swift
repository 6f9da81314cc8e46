// Commands that block on upstreams with TLS are recalled while the worker is to stand still for an
// upgrade, see `Recall`.

import Pool

extension Worker {
    /// It is to stand still.
    var isFreezing: Bool { orders.freezing != nil }

    /// Servers are being asked to unblock them.
    var recalls: Bool { orders.freezing.map { $0.recalls > 0 } ?? false }

    /// Recalls the commands that block, once nobody else is in the way: it costs them their places
    /// in the servers' queues. True if it has begun to.
    func recallBlocked(_ freezing: Freezing) -> Bool {
        guard freezing.recalls < Freezing.mostRecalls, !freezing.missing.isEmpty,
            freezing.order.cuts || freezing.missing.allSatisfy({ isRecalled($0) })
        else { return false }
        let servers = pools.flatMap(\.servers).filter { server in
            server.tls != nil && server.unblocking.key == nil
                && server.allUpstreams.contains { $0.isRecallable }
        }
        if servers.isEmpty { return false }
        orders.freezing?.recalls += 1
        for server in servers { server.unblockAll() }
        return true
    }

    /// The command of a client is recalled, or can be.
    func isRecalled(_ id: SlotID) -> Bool {
        guard let upstream = clients[id]?.upstream else { return false }
        return upstream.sole?.recall != nil || upstream.isRecallable
    }

    /// There is no upgrade: what was recalled goes to its server again, that which has blocked for
    /// the longest time first.
    func sendRecalledAgain() {
        var recalled: [UpstreamConnection] = []
        for pool in pools {
            for server in pool.servers {
                recalled += server.allUpstreams.filter { $0.sole?.recall == .back }
                if server.unblocking.ticket != nil, !server.releasesBlocked {
                    server.endUnblocking()
                }
            }
        }
        let since = { (one: UpstreamConnection) in one.sole?.since ?? one.waitingSince }
        for upstream in recalled.sorted(by: { since($0) < since($1) }) { upstream.sendAgain() }
    }
}
