// Whether the parts of a hand-over file fit together. The successor relies on it: it takes
// positions, numbers and sums as they are.

import Pool
import Session

extension HandOverFile {
    /// The most threads of a process.
    static let mostThreads: UInt32 = 1024
    /// Sums beyond it are none: adding to them could overflow.
    static let mostCount: UInt64 = 1 << 60

    /// Everything but descriptors, which in a rehearsal are of different moments.
    func check() throws(HandOverError) {
        guard (1...HandOverFile.mostThreads).contains(process.threads) else {
            throw .number(UInt64(process.threads), of: "number of threads")
        }
        try count(process.lastClient, "last client")
        try count(process.lastUpstream, "last upstream")
        var numbers = Distinct("listener")
        for listener in listeners {
            if case .pool = listener.purpose { try numbers.add(UInt64(listener.number)) }
        }
        for caller in callers where caller.protocolVersion != 2 && caller.protocolVersion != 3 {
            throw .number(UInt64(caller.protocolVersion), of: "protocol version")
        }
        for counter in counters {
            for value in counter.values { try count(value, "counter") }
        }
        for topology in topologies { try topology.check() }
        var clients = Distinct("client")
        var total = 0
        for cell in cells {
            try cell.check()
            total += cell.clients.count
            for client in cell.clients { try clients.add(client.serial) }
        }
        if total > CarriedClient.most { throw .count(UInt64(total), of: CarriedClient.plural) }
    }

    /// Whether every descriptor is there once. For a file that is carried out: of all workers, at
    /// one moment.
    package func checkDescriptors() throws(HandOverError) {
        var descriptors = Distinct("descriptor")
        func add(_ descriptor: Int32) throws(HandOverError) {
            try descriptors.add(UInt64(UInt32(bitPattern: descriptor)))
        }
        for listener in listeners { try add(listener.descriptor) }
        for caller in callers { try add(caller.descriptor) }
        for cell in cells {
            for client in cell.clients { try add(client.descriptor) }
            for upstream in cell.upstreams { try add(upstream.descriptor) }
        }
    }
}

/// Numbers of which each may come once.
private struct Distinct {
    private let what: String
    private var known: Set<UInt64> = []

    init(_ what: String) { self.what = what }

    mutating func add(_ number: UInt64) throws(HandOverError) {
        guard known.insert(number).inserted else { throw .twice(number, of: what) }
    }

    func has(_ number: UInt64) -> Bool { known.contains(number) }
}

private func count(_ number: UInt64, _ what: String) throws(HandOverError) {
    if number > HandOverFile.mostCount { throw .number(number, of: what) }
}

private func refer(_ position: UInt32, _ count: Int, _ what: String) throws(HandOverError) {
    if Int(position) >= count { throw .reference(position, to: what) }
}

extension CarriedTopology {
    fileprivate func check() throws(HandOverError) {
        guard case .cluster(let map) = source else { return }
        var next = 0
        for slots in map.slots {
            guard slots.first <= slots.last, Int(slots.first) >= next,
                Int(slots.last) < CarriedMap.slotCount
            else { throw .number(UInt64(slots.first), of: "slot") }
            next = Int(slots.last) + 1
            try refer(UInt32(slots.node), map.nodes.count, CarriedMap.Node.plural)
        }
    }
}

// MARK: - Cells

extension CarriedCell {
    fileprivate func check() throws(HandOverError) {
        var users: [Distinct] = []
        for pool in pools { users.append(try pool.checkUsers()) }
        try checkServers()
        for hub in hubs {
            try refer(hub.pool, pools.count, CarriedPool.plural)
            try checkServer(hub.server, of: hub.pool)
            try check(hub.user, users[Int(hub.pool)])
        }
        for client in clients {
            try check(client)
            try check(client.session.key.user, users[Int(client.pool)])
        }
        for pool in pools.indices { try checkSubscriptions(of: pool) }
        for upstream in upstreams {
            try refer(upstream.server, servers.count, CarriedServer.plural)
            try check(upstream.key.user, users[Int(servers[Int(upstream.server)].pool)])
        }
        try checkUses()
        try checkExpectations()
    }

    private func check(_ user: UInt32, _ known: Distinct) throws(HandOverError) {
        if user != 0, !known.has(UInt64(user)) { throw .reference(user, to: CarriedUser.plural) }
    }

    private func checkServers() throws(HandOverError) {
        for server in servers {
            try refer(server.pool, pools.count, CarriedPool.plural)
            if let seconds = server.facts.timeoutSeconds, !(0...Int64(Int32.max)).contains(seconds)
            {
                throw .number(UInt64(bitPattern: seconds), of: "timeout")
            }
            try count(server.facts.outputLimit, "output limit")
        }
        var primaries = Distinct("primary of pool")
        for server in servers where server.isPrimary { try primaries.add(UInt64(server.pool)) }
    }

    private func checkServer(_ server: UInt32, of pool: UInt32) throws(HandOverError) {
        try refer(server, servers.count, CarriedServer.plural)
        if servers[Int(server)].pool != pool {
            throw .contradiction("server \(server) is not of pool \(pool)")
        }
    }

    private func check(_ client: CarriedClient) throws(HandOverError) {
        try refer(client.pool, pools.count, CarriedPool.plural)
        if let server = client.server { try checkServer(server, of: client.pool) }
        try count(client.counts.commands, "number of commands")
        try count(client.counts.bytesIn, "number of bytes")
        try count(client.counts.bytesTaken, "number of bytes")
        for part in client.output {
            guard case .block(let block, let start, let end) = part else { continue }
            try refer(block, blocks.count, "blocks")
            guard start <= end, Int(end) <= blocks[Int(block)].count else {
                throw .reference(end, to: "bytes in a block")
            }
        }
    }

    private func checkSubscriptions(of pool: Int) throws(HandOverError) {
        let carried = pools[pool].subscriptions
        for entry in carried.entries {
            try refer(entry.hub.raw, hubs.count, CarriedHub.plural)
            if Int(hubs[Int(entry.hub.raw)].pool) != pool {
                throw .contradiction("hub \(entry.hub.raw) is not of pool \(pool)")
            }
        }
        var subscribers = Distinct("subscriber")
        for subscriber in carried.subscribers {
            let client = subscriber.client.raw
            try refer(client, clients.count, CarriedClient.plural)
            if Int(clients[Int(client)].pool) != pool {
                throw .contradiction("client \(client) is not of pool \(pool)")
            }
            try subscribers.add(UInt64(client))
            for entry in subscriber.entries {
                try refer(entry, carried.entries.count, CarriedSubscriptions.Entry.plural)
            }
        }
    }

    // MARK: Uses

    /// Each client has one upstream to itself at most, and has it where its state says so.
    private func checkUses() throws(HandOverError) {
        var ids = [Distinct](repeating: Distinct("upstream"), count: servers.count)
        var sole = Distinct("client with an upstream of its own")
        var onHubs = Distinct("hub with an upstream")
        for upstream in upstreams {
            let id = UInt64(upstream.id.generation) << 32 | UInt64(upstream.id.slot)
            try ids[Int(upstream.server)].add(id)
            if case .hub(let hub) = upstream.use {
                try refer(hub, hubs.count, CarriedHub.plural)
                guard hubs[Int(hub)].server == upstream.server else {
                    throw .contradiction("hub \(hub) is at another server than its upstream")
                }
                try onHubs.add(UInt64(hub))
            }
            guard let client = upstream.use.client else { continue }
            try refer(client, clients.count, CarriedClient.plural)
            try sole.add(UInt64(client))
            guard clients[Int(client)].mode.fits(upstream.use) else {
                throw .contradiction("client \(client) does not have what its upstream says")
            }
        }
        for (position, client) in clients.enumerated() where client.mode.needsUpstream {
            if !sole.has(UInt64(position)) {
                throw .contradiction("client \(position) has no upstream")
            }
        }
        for hub in hubs.indices where !onHubs.has(UInt64(hub)) {
            throw .contradiction("hub \(hub) has no upstream")
        }
    }

    /// Sums of replies fit into the numbers that count them.
    private func checkExpectations() throws(HandOverError) {
        var owed = [UInt64](repeating: 0, count: clients.count)
        for upstream in upstreams {
            if upstream.use == .idle, !upstream.expectations.isEmpty {
                throw .contradiction("an idle upstream owes replies")
            }
            var all: UInt64 = 0
            for expected in upstream.expectations {
                guard expected.count > 0 else { throw .number(0, of: "number of replies") }
                all += UInt64(expected.count)
                guard let client = expected.client else { continue }
                try refer(client, clients.count, CarriedClient.plural)
                if let sole = upstream.use.client, sole != client {
                    throw .contradiction("an upstream of client \(sole) owes \(client) a reply")
                }
                owed[Int(client)] += UInt64(expected.count)
            }
            if all > Int32.max { throw .number(all, of: "number of replies") }
        }
        for owed in owed where owed > Int32.max { throw .number(owed, of: "number of replies") }
    }
}

extension CarriedPool {
    fileprivate func checkUsers() throws(HandOverError) -> Distinct {
        var numbers = Distinct("user")
        for user in users {
            guard (1...max(1, lastUser)).contains(user.number) else {
                throw .number(UInt64(user.number), of: "user")
            }
            try numbers.add(UInt64(user.number))
        }
        if let newestDefault, !numbers.has(UInt64(newestDefault)) {
            throw .reference(newestDefault, to: CarriedUser.plural)
        }
        return numbers
    }
}

extension CarriedUse {
    /// The one client that it is for.
    package var client: UInt32? {
        switch self {
        case .exclusive(let client, _, _), .held(let client, _, _), .piped(let client, _): client
        case .idle, .shared, .hub: nil
        }
    }
}

extension CarriedMode {
    /// The client has an upstream of its own.
    fileprivate var needsUpstream: Bool {
        switch self {
        case .exclusive, .piped: true
        case .open, .waiting, .barrier, .loggedOut, .closing: false
        }
    }

    /// A client in this state can have an upstream for this use.
    fileprivate func fits(_ use: CarriedUse) -> Bool {
        switch (self, use) {
        case (.exclusive, .exclusive), (.piped, .piped): true
        case (.open, .held), (.waiting, .held), (.barrier, .held): true
        // A command that needs an upstream of its own and is followed by a barrier.
        case (.barrier, .exclusive): true
        case (.closing, .held), (.closing, .exclusive), (.closing, .piped): true
        default: false
        }
    }
}
