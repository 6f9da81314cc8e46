// What the nodes of a cluster say, for `redpool check --online`.

import Config
import EventLoop
import RESP
import Topology

extension OnlineReport {
    /// Asks each address of `cluster` for the map, and then whether the other nodes that the first
    /// answer names can be reached.
    mutating func checkCluster(_ source: ClusterSource, opened: Int) {
        var rows: [ClusterNodeRow]?
        var visited: [NodeAddress] = []
        for seed in source.seeds {
            guard case .tcp(let host, let port) = seed else { continue }
            let answer = SocketAddress.resolve(host, port: port)
            if answer.addresses.isEmpty { note("cannot look up \(host): \(answer.problem)") }
            for address in answer.addresses {
                guard let visit = visit(address, host: host, port: port, saysMore: rows == nil)
                else { continue }
                if let own = visit.rows.first(where: \.isSpeaker)?.address { visited.append(own) }
                if rows == nil {
                    rows = visit.rows
                    compare(visit.limits, opened: opened)
                }
            }
        }
        guard let rows else { return complain("no node says who serves which slot") }
        describe(rows, most: source.maxNodes)
        reach(rows.filter { row in row.address.map { !visited.contains($0) } ?? true })
    }

    /// What one node has said.
    private struct Visit {
        let rows: [ClusterNodeRow]
        let limits: ServerLimits
    }

    /// Nil after a note or a complaint.
    private mutating func visit(
        _ address: SocketAddress, host: String, port: UInt16, saysMore: Bool
    ) -> Visit? {
        let place = address.description
        let began = BlockingSocket.now
        do throws(ExchangeFailure) {
            guard let exchange = try enter(address, host: host) else { return nil }
            let time = (BlockingSocket.now - began) / 1000
            let version = try OnlineReport.version(exchange)
            note("\(place) is \(version), connected and logged in in \(time) us")
            guard let asked = NodeAddress(host: Array(host.utf8), port: port) else { return nil }
            let reply = try exchange.replies(to: [["CLUSTER", "NODES"].map { Array($0.utf8) }])[0]
            guard let rows = ClusterNodeRow.all(in: reply, asked: asked) else {
                let error =
                    if case .error(let text) = Exchange.read(reply) { text } else {
                        "a reply that is not understood"
                    }
                complain("\(place): CLUSTER NODES: \(error)")
                return nil
            }
            try describeState(exchange, place)
            try checkRights(exchange, place)
            return Visit(
                rows: rows,
                limits: saysMore ? try OnlineReport.limits(exchange) : ServerLimits())
        } catch {
            note("\(place): \(error.text)")
            return nil
        }
    }

    /// A connection with TLS and a login; nil after a complaint about these.
    private mutating func enter(
        _ address: SocketAddress, host: String
    ) throws(ExchangeFailure) -> Exchange? {
        let place = address.description
        let exchange = try Exchange(address, within: pool.connectTimeout)
        if let tls = pool.upstreamTLS {
            describe(try exchange.beginTLS(tls, host: host, place: place), place)
        }
        return try logIn(exchange, place) ? exchange : nil
    }

    private mutating func describeState(
        _ exchange: Exchange, _ place: String
    ) throws(ExchangeFailure) {
        let info = try exchange.ask(["CLUSTER", "INFO"])
        switch OnlineReport.field("cluster_state", info) {
        case "ok": break
        case let state?: complain("\(place) says that the cluster's state is \(state)")
        case nil: note("\(place) does not say the cluster's state")
        }
    }

    /// What is sent besides clients' commands.
    private mutating func checkRights(
        _ exchange: Exchange, _ place: String
    ) throws(ExchangeFailure) {
        for command in ["ASKING", "READONLY"] {
            guard case .error(let text) = try exchange.ask([command]) else { continue }
            complain("\(place) refuses \(command): \(text)")
        }
    }

    private mutating func describe(_ rows: [ClusterNodeRow], most: Int) {
        let served = Set(rows.flatMap { $0.slots.flatMap { $0 } }).count
        let primaries = rows.count(where: \.isPrimary)
        note(
            "the cluster has \(rows.count) nodes, \(primaries) of them primaries; "
                + "\(served) of \(Slot.count) slots have an owner")
        if served < Slot.count {
            complain("\(Slot.count - served) slots have no owner: commands for them fail")
        }
        if rows.count > most {
            complain("maxNodes (\(most)) is less than the nodes of the cluster (\(rows.count))")
        }
    }

    /// A node that nobody can reach is bad if it has slots.
    private mutating func reach(_ rows: [ClusterNodeRow]) {
        var reached = 0
        for row in rows {
            guard let node = row.address,
                let target = UpstreamAddress(host: node.hostText, port: node.port)
            else {
                note("a node of the cluster announces no address")
                continue
            }
            if let problem = login(at: target).problem {
                let text = "node \(node) cannot be used: \(problem)"
                if row.slots.isEmpty { note(text) } else { complain(text) }
            } else {
                reached += 1
            }
        }
        if reached > 0 {
            note("\(reached) more " + (reached == 1 ? "node" : "nodes") + " can be reached")
        }
    }

    /// A connection with a login at this address, or why there is none.
    func login(at target: UpstreamAddress) -> (exchange: Exchange?, problem: String?) {
        guard case .tcp(let host, let port) = target else { return (nil, "it is no address") }
        let answer = SocketAddress.resolve(host, port: port)
        guard let address = answer.addresses.first else {
            return (nil, "cannot look up \(host): \(answer.problem)")
        }
        do throws(ExchangeFailure) {
            let exchange = try Exchange(address, within: pool.connectTimeout)
            if let tls = pool.upstreamTLS {
                _ = try exchange.beginTLS(tls, host: host, place: "\(target)")
            }
            if let password = pool.password {
                let user = pool.username.isEmpty ? [] : [pool.username]
                if case .error(let text) = try exchange.ask(["AUTH"] + user + [password.text]) {
                    return (nil, "AUTH: \(text)")
                }
            }
            return (exchange, nil)
        } catch {
            return (nil, error.text)
        }
    }
}
