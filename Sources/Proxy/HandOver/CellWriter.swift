// Writes down what one worker hands over. Clients, upstreams and servers refer to each other by
// their positions.

import Config
import EventLoop
import HandOver
import Pool
import RESP
import Session

struct CellWriter {
    private let worker: Worker
    private(set) var cell = CarriedCell()
    private var pools: [String: UInt32] = [:]
    private var servers: [ObjectIdentifier: UInt32] = [:]
    /// By `SlotID.raw`.
    private var clients: [UInt64: UInt32] = [:]
    /// Upstreams with commands of several clients.
    private var shared: [UpstreamConnection] = []

    init(_ worker: Worker) { self.worker = worker }

    /// A client, with the upstream that it has alone.
    mutating func add(_ client: ClientConnection) {
        let pool = position(of: client.pool)
        let position = UInt32(cell.clients.count)
        clients[client.id.raw] = position
        cell.clients.append(client.carried(pool: pool))
        // A command that is recalled goes without its upstream.
        guard let upstream = client.upstream, !upstream.channel.isTLS else { return }
        if !upstream.isShared {
            add(upstream, of: position)
        } else if !shared.contains(where: { $0 === upstream }) {
            shared.append(upstream)
        }
    }

    /// Upstreams that clients share who have been added.
    mutating func addShared() {
        for upstream in shared {
            guard
                case .shared(_, let isSlow, _)? = upstream.server.machine.carried(upstream.id)?
                    .lease
            else { continue }
            var carried = carried(
                upstream, use: .shared(isSlow: isSlow), since: upstream.waitingSince)
            addExpectations(of: upstream, to: &carried)
            carried.fence = upstream.fence.map {
                CarriedFence(digits: $0.digits, form: $0.form == .ping ? .ping : .echo)
            }
            cell.upstreams.append(carried)
        }
    }

    /// The upstreams that a pool has idle.
    mutating func addIdle(of pool: PoolFront) {
        for server in pool.servers where server.departure == nil {
            for upstream in server.allUpstreams where upstream.isCarriedIdle {
                guard let slot = server.machine.carried(upstream.id), slot.lease == .none else {
                    continue
                }
                cell.upstreams.append(carried(upstream, use: .idle, since: slot.idleSince))
            }
        }
    }

    /// The hubs of a pool, with those of their listeners that are added.
    mutating func addHubs(of pool: PoolFront) {
        guard let carried = pool.subscribers.carried else { return }
        let position = position(of: pool)
        var numbers: [HubRef: HubRef] = [:]
        for (hub, upstream) in carried.hubs {
            numbers[hub.ref] = HubRef(UInt32(cell.hubs.count))
            cell.hubs.append(
                CarriedHub(
                    pool: position, user: hub.user, server: self.position(of: upstream.server),
                    hasShards: hub.place != .anyPrimary))
            var written = self.carried(
                upstream, use: .hub(UInt32(cell.hubs.count - 1)), since: hub.probedAt)
            written.partial = hub.frame.bytes
            cell.upstreams.append(written)
        }
        var subscriptions = carried.subscriptions
        subscriptions.subscribers.removeAll {
            self.position(of: $0.client, in: pool.worker) == nil
        }
        cell.pools[Int(position)].subscriptions = subscriptions.renamed(
            clients: { ClientRef(self.position(of: $0, in: pool.worker) ?? 0) },
            hubs: { numbers[$0] ?? $0 })
    }

    private func position(of subscriber: ClientRef, in worker: Worker) -> UInt32? {
        worker.client(subscriber).flatMap { clients[$0.id.raw] }
    }

    private mutating func position(of pool: PoolFront) -> UInt32 {
        if let known = pools[pool.config.name] { return known }
        let position = UInt32(cell.pools.count)
        pools[pool.config.name] = position
        var carried = CarriedPool(name: pool.config.name)
        pool.users.write(to: &carried)
        carried.defaultNeedsLogin = pool.defaultNeedsLogin
        carried.isLoginKnown = pool.isLoginKnown
        cell.pools.append(carried)
        return position
    }

    private mutating func position(of server: Server) -> UInt32 {
        if let known = servers[ObjectIdentifier(server)] { return known }
        let pool = position(of: server.pool)
        let position = UInt32(cell.servers.count)
        servers[ObjectIdentifier(server)] = position
        cell.servers.append(
            CarriedServer(
                pool: pool, node: 0, address: server.place,
                isPrimary: server === server.pool.primary, facts: server.facts.carried,
                runID: server.facts.runID, epoch: 0))
        return position
    }

    private mutating func add(_ upstream: UpstreamConnection, of client: UInt32) {
        guard let sole = upstream.sole else { return }
        let use: CarriedUse
        switch sole.kind {
        case .exclusive:
            use = .exclusive(client: client, isBlocking: sole.isBlocking, since: sole.since)
        case .held(_, let state):
            use = .held(
                client: client, state,
                CarriedHolder(
                    since: sole.since, isBlocking: sole.isBlocking, isDoubtful: sole.isDoubtful))
        case .piped: use = .piped(client: client, since: sole.since)
        default: return
        }
        var carried = carried(upstream, use: use, since: sole.since)
        addExpectations(of: upstream, to: &carried)
        cell.upstreams.append(carried)
    }

    private mutating func carried(
        _ upstream: UpstreamConnection, use: CarriedUse, since: MonotonicTime
    ) -> CarriedUpstream {
        let origin = upstream.origin
        var carried = CarriedUpstream(
            descriptor: upstream.channel.descriptor, server: position(of: upstream.server),
            id: upstream.id, serial: origin.serial, key: upstream.key, address: origin.address,
            times: CarriedTimes(
                dialledAt: origin.dialledAt, connectedAt: origin.dialledAt,
                idleSince: since, activeAt: worker.now, waitingSince: upstream.waitingSince),
            use: use)
        carried.origin.runID = origin.runID
        carried.origin.serverID = origin.serverID
        carried.origin.isIdentified = origin.isIdentified
        carried.origin.lacksLogin = origin.lacksLogin
        carried.identity = upstream.identity
        carried.spoiled = upstream.ending.spoiled?.word
        return carried
    }

    private func addExpectations(
        of upstream: UpstreamConnection, to carried: inout CarriedUpstream
    ) {
        let now = worker.now
        upstream.inFlight.forEach { entry in
            carried.expectations.append(
                CarriedExpectation(
                    client: clients[entry.client.raw], count: entry.count,
                    expectation: entry.expectation, value: entry.value,
                    isSilent: entry.isSilent,
                    command: worker.table.info(entry.command).map { "\($0.name)" } ?? "",
                    since: MonotonicTime(
                        nanoseconds: now.nanoseconds - worker.clock.age(of: entry.stamp))))
        }
    }
}

extension UpstreamConnection {
    /// If the pool has it idle, another program may use it as well.
    fileprivate var isCarriedIdle: Bool {
        stage == .ready && channel.isOpen && !channel.isTLS && output.isAllSent
            && inFlight.isEmpty && !scanner.isInside && ending.spoiled == nil
            && origin.departure == nil
    }
}
