// What a worker reports of its pools and upstreams.

import Config
import EventLoop
import Pool
import Session

extension PoolFront {
    /// This worker's part of the pool.
    var report: PoolReport {
        let census = census
        var sight = sight
        sight.waiting = census.waiting
        return PoolReport(
            pool: config.name,
            upstream: (primary.names.isNamed ? config.scheme : "") + primary.place,
            address: primary.names.next()?.description, maxOpen: config.maxOpen,
            maxPinned: config.maxPinned, clients: traffic.clients, accepted: traffic.accepted,
            commands: traffic.commandsShared + traffic.commandsPinned + traffic.commandsLocal,
            refused: traffic.refused, census: census, sight: sight,
            cluster: traffic.cluster,
            lastError: primary.failures.last,
            nodes: servers.sorted { $0 === primary && $1 !== primary }.map(\.report))
    }
}

extension UpstreamConnection {
    /// Nil when the connection is gone.
    var report: UpstreamReport? {
        guard stage != .closed, let view = server.machine.view(of: id, now: worker.now) else {
            return nil
        }
        let user = worker.client(of: self)
        let oldest = inFlight.oldest(skippingFirst: false)
        return UpstreamReport(
            id: origin.serial, pool: pool.config.name, worker: worker.index,
            address: origin.address, serverID: origin.serverID,
            state: sole?.hub == nil ? view.state : "hub",
            user: pool.users.name(of: key.user), database: key.database,
            protocolVersion: key.protocolVersion, age: worker.now - origin.dialledAt,
            retiresIn: view.retiresIn, idle: view.idle, inFlight: commandsInFlight,
            oldest: oldest.map { age(of: $0) }, commands: inFlight.answered,
            client: user?.serial,
            command: user.flatMap { isShared && $0.inFlight > 1 ? nil : $0.commandName },
            tls: channel.tlsFacts)
    }
}

extension Worker {
    /// What its memory is used for.
    var memory: MemoryReport {
        var report = MemoryReport()
        report.clients = clients.count
        clients.forEach { if $0.channel.isTLS { report.secureClients += 1 } }
        report.output = chunks.outputBytes
        report.buffers = chunks.bytesInUse
        for pool in pools {
            pool.forEachServer { server in
                let census = server.machine.census
                report.waiting += census.waiting
                report.open += census.open
                if server.tls != nil { report.secure += census.open }
            }
        }
        return report
    }

    /// The client that has this upstream alone, or whose command is the oldest on it.
    fileprivate func client(of upstream: UpstreamConnection) -> ClientConnection? {
        if let sole = upstream.sole, let client = sole.client { return client }
        return upstream.inFlight.oldestClient.flatMap { clients[$0] }
    }
}

extension ClientConnection {
    /// The name of its last command. Nil for none, and for one that is not in the table: what the
    /// client has sent in its place may be a key.
    var commandName: String? { worker.table.info(lastCommand)?.name }
}
