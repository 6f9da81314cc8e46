// Which hub a command goes to, and at which server a hub is.

import Config
import Pool
import RESP
import Session
import Topology

extension SubscriberDesk {
    /// The hub for a command of the SUBSCRIBE family. Nil if nobody serves its slot.
    func hub(
        for client: ClientConnection, _ verb: SubscribeVerb, _ names: [[UInt8]]
    ) -> PushHub? {
        guard let route = pool.route, verb.kind == .shard, let name = names.first else {
            return hub(of: client, .anyPrimary, at: server(at: .anyPrimary))
        }
        let slot = Slot.of(name.span, start: 0, length: name.count)
        guard let owner = route.owner(of: slot) else { return nil }
        return hub(of: client, .shards(of: owner.node.id), at: owner)
    }

    /// The open hub over which a PUBLISH is answered in the order of its client's own messages; nil
    /// if there is none. Without a subscription there the client would not keep it open.
    func hub(forPublish request: Request, of client: ClientConnection) -> PushHub? {
        var place = PushHub.Place.anyPrimary
        if request.command == .spublish, let route = pool.route {
            let frame = request.frame
            let slot = Slot.of(
                request.input.span, start: frame.firstStart, length: frame.firstLength)
            guard let owner = route.owner(of: slot) else { return nil }
            place = .shards(of: owner.node.id)
        }
        return hub(of: client, place).flatMap { $0.upstream != nil ? $0 : nil }
    }

    /// The one at this place that the client is on. A user can have several: see `adopt`.
    private func hub(of client: ClientConnection, _ place: PushHub.Place) -> PushHub? {
        let user = client.key.user
        return hubs.first { $0.user == user && $0.place == place && isOn($0, client) }
    }

    private func hub(
        of client: ClientConnection, _ place: PushHub.Place, at server: Server?
    ) -> PushHub? {
        hub(of: client, place) ?? hub(of: client.key.user, place, at: server)
    }

    fileprivate func hub(
        of user: UInt32, _ place: PushHub.Place, at server: Server?
    ) -> PushHub? {
        if let known = hubs.first(where: { $0.user == user && $0.place == place }) { return known }
        guard let server else { return nil }
        if let old = hubs.firstIndex(where: { isUnused($0) }) {
            hubs[old] = PushHub(hubs[old].ref, user: user, place, at: server)
            return hubs[old]
        }
        let made = PushHub(HubRef(UInt32(hubs.count)), user: user, place, at: server)
        hubs.append(made)
        return made
    }

    /// Where a hub gets its upstream; nil if there is no such server.
    func server(at place: PushHub.Place) -> Server? {
        guard let route = pool.route else { return pool.primary }
        switch place {
        case .shards(let node): return pool[node]
        case .anyPrimary:
            // Workers are spread over the nodes; the clients of one would open hubs everywhere.
            let primaries = pool.servers.filter { $0.departure == nil && route.hasSlots($0) }
                .sorted { $0.number < $1.number }
            return primaries.isEmpty ? nil : primaries[worker.index % primaries.count]
        }
    }
}

extension PushHub {
    /// The hub at the node that an error names in MOVED, for the same user; nil for any other
    /// error.
    func named(by error: [UInt8], from server: Server, _ desk: SubscriberDesk) -> HubRef? {
        guard let asked = server.node.address,
            let refusal = NodeRefusal(error, from: asked), case .moved(let slot, _) = refusal,
            let target = desk.pool.learn(refusal, slot: slot)
        else { return nil }
        return desk.hub(of: user, .shards(of: target.node.id), at: target)?.ref
    }
}
