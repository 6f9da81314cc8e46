// Builds what a former program had: clients, and the upstreams that they have alone. No socket is
// read or written before the hand-over is certain.

import Config
package import EventLoop
import Glibc
package import HandOver
import Pool
import RESP
import Session

/// What a worker takes over before it serves.
package struct Adoption: Sendable {
    let cells: [CarriedCell]
    /// Called on the worker's thread when everything is built.
    let built: @Sendable () -> Void
    /// Readable once the hand-over is certain.
    let commitment: Wakeup

    package init(
        _ cells: [CarriedCell], commitment: Wakeup, built: @escaping @Sendable () -> Void
    ) {
        self.cells = cells
        self.commitment = commitment
        self.built = built
    }
}

extension Worker {
    /// Builds what it takes over, waits until the hand-over is certain, and begins with it.
    func adopt(_ adoption: Adoption) {
        updateNow()
        // Which servers there are.
        readMail()
        let readers = adoption.cells.enumerated().map { number, cell in
            var reader = CellReader(cell, number: number, worker: self)
            reader.read()
            return reader
        }
        clock.isRead = false
        adoption.built()
        adoption.commitment.wait()
        updateNow()
        for reader in readers { reader.begin() }
        for pool in pools { pool.subscribers.carryOut() }
        // Those that wait for an upstream keep their order.
        let waiting = readers.flatMap(\.waiting).sorted { $0.since < $1.since }
        for (_, client) in waiting { client.goOn() }
        for client in readers.flatMap(\.clients) { client?.goOn() }
        clock.isRead = false
    }
}

/// Builds what one worker gets of a cell. Positions in it become objects.
private struct CellReader {
    private let cell: CarriedCell
    private let worker: Worker
    /// By position; nil for one that another worker gets, and for one that is gone.
    private var pools: [PoolFront?] = []
    private let commands: [String: Command]
    /// The users' numbers here, by pool and by their numbers in the cell.
    private var users: [[UInt32: UInt32]] = []
    /// The ids here of upstreams that write trails name, by pool: those of its primary.
    private var ids: [UInt32: [UpstreamID: UpstreamID]] = [:]
    /// In the order of the cell; nil for one that is not this worker's.
    private(set) var clients: [ClientConnection?] = []
    private var upstreams: [UpstreamConnection] = []
    private var idle: [UpstreamConnection] = []
    /// With what has come of a message.
    private var hubs: [(PushHub, [UInt8])] = []
    /// Clients whose commands wait for an upstream, since then.
    private(set) var waiting: [(since: MonotonicTime, client: ClientConnection)] = []
    /// Clients with something that there is no place for. They are closed.
    private var lost: [ClientConnection] = []
    /// Of upstreams that nobody needs.
    private var unused: [Int32] = []
    /// The numbers of hubs here, by their positions.
    private var hubNumbers: [UInt32: HubRef] = [:]

    init(_ cell: CarriedCell, number: Int, worker: Worker) {
        self.cell = cell
        self.worker = worker
        commands = worker.table.commandsByName
        pools = cell.pools.map { carried in
            let heir = worker.group.heir(of: number, pool: carried.name)
            return heir == worker.index ? worker.pool(carried.name) : nil
        }
    }

    mutating func read() {
        for (carried, pool) in zip(cell.pools, pools) {
            users.append(pool?.users.take(carried.users) ?? [:])
            pool?.takeLogins(carried)
        }
        for carried in cell.servers { worker.learn(carried, of: poolFront(carried.pool)) }
        for carried in cell.clients { clients.append(client(carried)) }
        for carried in cell.upstreams {
            switch carried.use {
            case .hub(let hub): take(carried, as: hub)
            case .shared(let isSlow): takeShared(carried, isSlow: isSlow)
            case .exclusive, .held, .piped: take(carried)
            case .idle: takeIdle(carried)
            }
        }
        for (carried, pool) in zip(cell.pools, pools) {
            if let pool { takeSubscriptions(carried.subscriptions, pool) }
        }
        for (client, carried) in zip(clients, cell.clients) { mapTrail(of: client, carried) }
    }

    /// The hand-over is certain: what comes on upstreams is read, and who has lost something is
    /// closed.
    func begin() {
        for (hub, partial) in hubs {
            guard let upstream = hub.upstream else { continue }
            partial.withUnsafeBytes { bytes in
                bytes.baseAddress.map { upstream.receiveHub(hub, $0, bytes.count) }
            }
        }
        for upstream in upstreams + idle { upstream.channel.startReading() }
        for upstream in idle { upstream.takeOver() }
        for client in lost { client.close(.upgrade) }
        for descriptor in unused { Glibc.close(descriptor) }
    }

    /// The upstream is not needed. A program that goes on instead of this one has it yet.
    private mutating func leave(_ carried: CarriedUpstream) { unused.append(carried.descriptor) }

    private func client(at position: UInt32) -> ClientConnection? { clients[Int(position)] }

    private func poolFront(_ position: UInt32) -> PoolFront? { pools[Int(position)] }

    /// Nil if there is no room for the user: it is never another one in its place.
    private func key(_ carried: PoolKey, pool: UInt32) -> PoolKey? {
        if carried.user == 0 { return carried }
        guard let user = users[Int(pool)][carried.user] else { return nil }
        var key = carried
        key.user = user
        return key
    }

    /// The server that has this position, in this program.
    private func server(at position: UInt32) -> Server? {
        let carried = cell.servers[Int(position)]
        guard let pool = poolFront(carried.pool) else { return nil }
        if carried.isPrimary, !pool.isRouted { return pool.primary }
        return pool.servers.first { $0.departure == nil && $0.place == carried.address }
    }

    private mutating func client(_ carried: CarriedClient) -> ClientConnection? {
        guard let pool = poolFront(carried.pool) else { return nil }
        var session = carried.session
        let known = key(session.key, pool: carried.pool)
        session.key = known ?? PoolKey(user: 0, protocolVersion: 2, database: 0)
        let accepted = AcceptedClient(
            pool: pool.config.name, descriptor: carried.descriptor,
            peer: SocketAddress.remote(of: carried.descriptor) ?? SocketAddress.nowhere,
            serial: carried.serial, listener: carried.listener)
        pool.traffic.clients += 1
        worker.group.adoptClient(by: worker.index)
        let generation = UInt32(truncatingIfNeeded: carried.serial)
        let client = worker.clients.insert(generation: generation) { id in
            ClientConnection(id: id, accepted, pool: pool, worker: worker)
        }
        client.session = Session(carried: session)
        if case .waiting(let since) = carried.mode { waiting.append((since, client)) }
        client.restore(carried, lastCommand: commands[carried.lastCommand] ?? .unknown)
        if known == nil { lost.append(client) }
        return client
    }

    private mutating func take(_ carried: CarriedUpstream) {
        guard let position = carried.use.client, let client = clients[Int(position)] else { return }
        let pool = cell.servers[Int(carried.server)].pool
        guard let server = server(at: carried.server), let key = key(carried.key, pool: pool) else {
            lost.append(client)
            leave(carried)
            return
        }
        let upstream = server.adopt(carried, key, for: .pin)
        client.home(at: server)
        if cell.servers[Int(carried.server)].isPrimary, !server.pool.isRouted {
            ids[pool, default: [:]][carried.id] = upstream.id
        }
        upstreams.append(upstream)
        upstream.lend(to: client, as: carried.use)
        upstream.scanner.passesLines = client.monitorFilter != nil
        client.upstream = upstream
        expect(carried, on: upstream)
    }

    /// An upstream that nobody used.
    private mutating func takeIdle(_ carried: CarriedUpstream) {
        let pool = cell.servers[Int(carried.server)].pool
        guard poolFront(pool) != nil else { return }
        guard let server = server(at: carried.server), let key = key(carried.key, pool: pool) else {
            return leave(carried)
        }
        idle.append(server.adopt(carried, key, for: .none))
    }

    /// An upstream with commands of several clients. It gets no other commands, and closes when
    /// these are answered.
    private mutating func takeShared(_ carried: CarriedUpstream, isSlow: Bool) {
        let pool = cell.servers[Int(carried.server)].pool
        let sharers = Set(carried.expectations.compactMap(\.client)).sorted()
        let found = sharers.compactMap { client(at: $0) }
        guard let server = server(at: carried.server), let key = key(carried.key, pool: pool) else {
            if poolFront(pool) != nil { leave(carried) }
            lost += found
            return
        }
        let isFenced = carried.expectations.contains(where: \.isOwnFence)
        let owed = carried.expectations.reduce(0) {
            $0 + ($1.isOwnFence ? 0 : Int32(clamping: $1.count))
        }
        if found.isEmpty || owed == 0 {
            leave(carried)
            return
        }
        let upstream = server.adopt(
            carried, key,
            for: .shared(inFlight: owed, isSlow: isSlow, isFenced: isFenced))
        upstream.fence = carried.fence.map {
            Fence(digits: $0.digits, $0.form == .ping ? .ping : .echo)
        }
        upstreams.append(upstream)
        for client in found {
            client.home(at: server)
            client.upstream = upstream
            upstream.share()
        }
        expect(carried, on: upstream)
        upstream.retireWhenFree(.upgrade)
    }

    /// The replies that an upstream owes.
    private func expect(_ carried: CarriedUpstream, on upstream: UpstreamConnection) {
        for entry in carried.expectations {
            let client = entry.client.flatMap { self.client(at: $0) }
            upstream.inFlight.append(
                client?.id ?? UpstreamConnection.nobody, entry.expectation, count: entry.count,
                bytes: 0, value: entry.value, mark: .init(isSilent: entry.isSilent),
                stamp: TurnClock.stamp(of: entry.since),
                command: commands[entry.command] ?? .unknown)
            client?.inFlight += entry.count
        }
        upstream.waitingSince = carried.times.waitingSince
    }

    private mutating func take(_ carried: CarriedUpstream, as position: UInt32) {
        let hub = cell.hubs[Int(position)]
        // Without it its listeners are lost.
        guard let pool = poolFront(hub.pool) else { return }
        guard let server = server(at: hub.server), let key = key(carried.key, pool: hub.pool) else {
            leave(carried)
            return
        }
        let upstream = server.adopt(carried, key, for: .pin)
        upstreams.append(upstream)
        let made = pool.subscribers.adopt(
            upstream, of: key.user,
            hub.hasShards ? .shards(of: server.node.id) : .anyPrimary)
        hubNumbers[position] = made.ref
        hubs.append((made, carried.partial))
    }

    /// Who listens to what on the hubs that are there. Whoever has something on another is lost.
    private mutating func takeSubscriptions(_ given: CarriedSubscriptions, _ pool: PoolFront) {
        var carried = CarriedSubscriptions()
        var positions: [UInt32: UInt32] = [:]
        for (position, entry) in given.entries.enumerated() {
            guard let hub = hubNumbers[entry.hub.raw] else { continue }
            positions[UInt32(position)] = UInt32(carried.entries.count)
            carried.entries.append(entry)
            carried.entries[carried.entries.count - 1].hub = hub
        }
        for subscriber in given.subscribers {
            guard let client = clients[Int(subscriber.client.raw)] else { continue }
            let entries = subscriber.entries.compactMap { positions[$0] }
            guard entries.count == subscriber.entries.count, let last = entries.last else {
                lost.append(client)
                continue
            }
            client.listens(on: carried.entries[Int(last)].hub)
            carried.subscribers.append(
                CarriedSubscriptions.Subscriber(client: client.subscriber, entries: entries))
        }
        if !carried.entries.isEmpty { pool.subscribers.adopt(carried) }
    }

    /// Writes went over an upstream that is not there any more, or has another id.
    private func mapTrail(of client: ClientConnection?, _ carried: CarriedClient) {
        let writes = carried.session.writes
        guard let client, let last = writes.upstream else { return }
        // Without its upstream a trail is spread: the next WAIT raises the offset of the one that
        // it gets, whatever its id.
        let known = ids[carried.pool]?[last]
        client.session.writes = WriteTrail(
            upstream: known ?? last, isSpread: writes.isSpread || known == nil)
    }
}

extension CarriedExpectation {
    /// It is counted as a fence, and not as a command.
    fileprivate var isOwnFence: Bool {
        expectation == .fence && FenceTraits(rawValue: value).contains(.isOurs)
    }
}

extension CarriedUse {
    /// The one client that has the upstream.
    fileprivate var client: UInt32? {
        switch self {
        case .exclusive(let client, _, _), .held(let client, _, _), .piped(let client, _): client
        case .idle, .shared, .hub: nil
        }
    }
}
