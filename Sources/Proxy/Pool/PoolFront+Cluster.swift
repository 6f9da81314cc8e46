// The nodes of a cluster: they come and go with its maps.

import Config
import EventLoop
import Pool
import RESP
import Topology

extension PoolFront {
    /// How long commands that are in flight at a node that has left the cluster may take, in
    /// nanoseconds.
    private static let nodePatience: Int64 = 5_000_000_000

    /// The cluster has another map, or the first one.
    func take(_ map: SlotMap) {
        guard let route, !isClosed, leavesBy == nil else { return }
        let losers = route.take(map) { server(of: $0.address) }
        preferOwner(route)
        leaveForgotten(route)
        followReplicas()
        for server in losers { replanClients(of: server) }
        for server in servers { server.noteWork() }
        route.wakePaused()
    }

    /// Leaves nodes that the map does not have. One that MOVED has named a moment ago may be in the
    /// next map.
    func leaveForgotten(_ route: ClusterRoute) {
        guard let map = route.map else { return }
        let known = Set(map.nodes.map(\.address))
        for server in servers where server.departure == nil {
            guard let address = server.node.address, !known.contains(address) else { continue }
            if let namedAt = server.namedAt, worker.now - namedAt < PoolFront.nodePatience {
                continue
            }
            for client in clientsByWait(of: server) { client.replan() }
            route.disown(server)
            server.leave(
                Departure(by: worker.now + PoolFront.nodePatience, reason: .nodeRemoved))
        }
    }

    /// Commands without keys go to a node that has slots.
    private func preferOwner(_ route: ClusterRoute) {
        let owners = route.primaries
        if owners.contains(where: { $0 === primary }) { return }
        guard let next = owners.first else { return }
        let former: Server = primary
        prefer(next)
        guard !former.names.isNamed else { return }
        for client in clientsByWait(of: former) { client.follow(next) }
        former.leave(Departure(by: worker.now, reason: .nodeRemoved))
    }

    /// The server at this address, which is made if it is not there. Nil when there are `maxNodes`.
    func server(of address: NodeAddress) -> Server? {
        if let known = servers.first(where: {
            $0.node.address == address && $0.departure == nil
        }) {
            return known
        }
        guard let target = UpstreamAddress(address), let node = group.join(address) else {
            return nil
        }
        let server = addServer(node, at: target)
        if isHalted { server.halt() }
        judgeRole(of: server)
        return server
    }

    /// The server of a slot; without a cluster the primary has them all. Nil if nobody has it, and
    /// for what is no slot.
    func owner(of slot: UInt16) -> Server? {
        guard let route else { return primary }
        return Int(slot) < Slot.count ? route.owner(of: slot) : nil
    }

    /// The version of the map; 0 without a cluster.
    var mapVersion: UInt64 { route?.version ?? 0 }

    /// The server with this number; nil if it is gone.
    func server(at number: UInt32) -> Server? {
        guard let route else { return servers.first { $0.number == number } }
        return route.server(at: number)
    }

    /// The server that is this node; nil once the node has left.
    func server(of node: NodeID) -> Server? {
        servers.first { $0.node.id == node && $0.departure == nil }
    }

    /// Clients that wait at a server that has lost slots ask again: their commands may be for
    /// these.
    private func replanClients(of server: Server) {
        for client in clientsByWait(of: server) {
            guard case .waiting = client.mode else { continue }
            client.replan()
        }
    }

    /// Changes the map as a refusal says. Returns the node that it names, or the one that has the
    /// slot; nil if there is none, or no room for it.
    func learn(_ refusal: NodeRefusal, slot: UInt16) -> Server? {
        guard let route else { return nil }
        switch refusal {
        case .moved(let slot, let address):
            traffic.moved += 1
            let target = server(of: address)
            if target.map({ route.move(slot, to: $0) }) ?? true {
                tell(.moved(slot: slot, to: address))
            }
            target?.namedAt = worker.now
            return target
        case .ask(let slot, let address):
            traffic.asked += 1
            route.leaves(slot)
            let target = server(of: address)
            target?.namedAt = worker.now
            // It is sent writes, and on a connection for reads these would be sent again when the
            // connection is lost.
            target?.setReplica(false)
            return target
        case .tryAgain: traffic.triedAgain += 1
        case .clusterDown:
            traffic.triedAgain += 1
            tell(.clusterDown)
        case .notServing, .notReceived: break
        }
        return Int(slot) < Slot.count ? route.owner(of: slot) : nil
    }

    /// Tells the main thread what this worker has seen.
    func tell(_ kind: ClusterSign.Kind) {
        guard let route, route.isNews(kind) else { return }
        worker.group.clusterSigns.post(ClusterSign(pool: config.name, kind: kind))
    }
}
