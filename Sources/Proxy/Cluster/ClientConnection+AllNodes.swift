// Commands that are not for the node of a slot: for all nodes, for one after the other, or for
// Redpool. The column `cluster` of commands.tsv says which.

import Config
import EventLoop
import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// Carries out a command whose rule is not about slots. Nil for any other one.
    func carryOutByRule(_ request: Request, _ route: ClusterRoute) -> Outcome? {
        if pool.denyList.refuses(request.command) { return nil }
        if extras?.tour != nil { return visitNext(request, route) }
        if pool.denyList.corrects(request.command), let outcome = sendCounted(request, route) {
            return outcome
        }
        switch worker.table.clusterRule(request.command) {
        case .slot, .split, .any, .one: return nil
        case .offset: return waitInCluster(request, route)
        case .all: return sendToAll(route.primaries, request, route)
        case .every: return sendToAll(pool.everyNode(route), request, route)
        case .scan: return sendScan(request, route)
        case .front: return answerAsCluster(request, route)
        case .refuse:
            let name = worker.table.info(request.command)?.name ?? "this command"
            return refuse("ERR '\(name)' is refused by Redpool: it is about one node of a cluster")
        }
    }

    /// Sends a command to several nodes, and merges their replies. Nil if one suits.
    private func sendToAll(
        _ nodes: [Server], _ request: Request, _ route: ClusterRoute
    ) -> Outcome? {
        guard let merge = NodeMerge(request.command), nodes.count > 1 else { return nil }
        if worker.table.commandClass(request.command) == .pinFence {
            // It may bring more than one reply, so it has to be alone on each node.
            return beginTour(request, of: nodes, merge, route)
        }
        let bytes = [UInt8](request.bytes)
        let parts = nodes.map {
            GatherPart(slot: PlaceSlot.none, node: $0.number, range: bytes.indices)
        }
        return gather(parts, bytes, .nodes(merge))
    }

    /// WAIT: on each node that the client may have written to, one after the other if there are
    /// several. Nil for WAITAOF, and without a write.
    private func waitInCluster(_ request: Request, _ route: ClusterRoute) -> Outcome? {
        guard request.command == .wait, let trail = session.writes.upstream,
            let merge = NodeMerge(request.command)
        else { return nil }
        if inFlight > 0 { return waitForReplies() }
        // The node of the writes may have left: then its number can be another one's.
        guard !session.writes.isSpread, let node = route.server(at: trail.slot),
            node.trail == trail
        else { return beginTour(request, of: route.primaries, merge, route) }
        turn(to: node)
        return carryOutRare(request)
    }

    // MARK: SCAN

    private func sendScan(_ request: Request, _ route: ClusterRoute) -> Outcome? {
        let scan: ScanCommand
        do {
            guard let read = try ScanCommand(request.input.span, request.frame) else { return nil }
            scan = read
        } catch {
            if inFlight > 0 { return waitForReplies() }
            if !session.takeSilence() { replyBytes(ScanCommand.invalidCursor) }
            return .answered
        }
        let nodes = pool.scanNumbers(route)
        // A node that is gone is skipped.
        guard let node = nodes.keys.filter({ $0 >= scan.node }).min(), let target = nodes[node]
        else {
            if inFlight > 0 { return waitForReplies() }
            if !session.takeSilence() { reply("*2\r\n$1\r\n0\r\n*0\r\n") }
            return .answered
        }
        let command = node == scan.node ? scan.command : scan.fromStart
        return gather(
            [GatherPart(slot: PlaceSlot.none, node: target.number, range: command.indices)],
            command, .scan(node: node, nodes: Array(nodes.keys)))
    }

    // MARK: One node, Redpool

    private func answerAsCluster(_ request: Request, _ route: ClusterRoute) -> Outcome? {
        let span = request.input.span
        if inFlight > 0 { return waitForReplies() }
        guard pool.config.cluster?.emulates == true else {
            replyError("ERR This instance has cluster support disabled")
            return .answered
        }
        if let slot = ClusterFace.slot(ofCommand: request.command, span, request.frame) {
            guard let owner = route.owner(of: slot) else { return nil }
            turn(to: owner)
            return forward(
                .shared, .plain, UInt32(truncatingIfNeeded: route.version), request.bytes)
        }
        guard
            let answer = clusterFace.reply(
                to: request.command, span, request.frame, protocolVersion: key.protocolVersion,
                isCovered: route.served == Slot.count)
        else { return nil }
        if answer.first == UInt8(ascii: "+") { noteReadOnly(request.command) }
        if !session.takeSilence() { replyBytes(answer) }
        return .answered
    }

    /// Where this client finds the cluster's one node: where it has come to, or `announce`.
    private var clusterFace: ClusterFace {
        let name = pool.config.name
        if case .tcp(let host, let port) = pool.config.cluster?.announce {
            return ClusterFace(pool: name, host: host, port: port)
        }
        guard let local = SocketAddress.local(of: channel.descriptor), !local.isUnix else {
            return ClusterFace(pool: name, host: "", port: 0)
        }
        return ClusterFace(pool: name, host: local.hostText, port: local.port)
    }
}

extension Server {
    /// What the trail of a client's writes has of a node.
    var trail: UpstreamID { UpstreamID(slot: number, generation: node.id.mark) }
}

extension PoolFront {
    /// All nodes of the map, replicas too.
    func everyNode(_ route: ClusterRoute) -> [Server] {
        (route.map?.nodes ?? []).compactMap { server(of: $0.address) }
    }

    /// The primaries by the numbers that cursors of SCAN have for them.
    func scanNumbers(_ route: ClusterRoute) -> [Int: Server] {
        var found: [Int: Server] = [:]
        for server in route.primaries {
            guard let address = server.node.address else { continue }
            let id = route.map?.nodes.first { $0.address == address }?.id ?? []
            let name = id.isEmpty ? Array(address.description.utf8) : id
            if let number = group.scanNumber(of: name) { found[number] = server }
        }
        return found
    }
}
