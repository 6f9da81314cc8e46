// Hubs in an upgrade: their upstreams, and who listens to what, are carried while no command is
// under way on any of them.

import Pool
import Session

extension SubscriberDesk {
    /// All hubs and their listeners can be handed over now.
    var isCarriable: Bool {
        core.isCarriable
            && hubs.allSatisfy { hub in
                switch hub.state {
                case .closed: true
                case .waiting, .lost: false
                case .open(let upstream): upstream.isCarriable(with: hub)
                }
            }
    }

    /// What is handed over, with the pool's own numbers for clients and hubs. Nil if there is
    /// nothing, or something is under way.
    var carried: (hubs: [(PushHub, UpstreamConnection)], subscriptions: CarriedSubscriptions)? {
        guard isCarriable, let subscriptions = core.carried else { return nil }
        let open = hubs.compactMap { hub in hub.upstream.map { (hub, $0) } }
        return open.isEmpty ? nil : (hubs: open, subscriptions: subscriptions)
    }

    /// Takes over an upstream with the hub that is on it. A user may have several here, if there
    /// are fewer threads than there were: each has its own listeners.
    func adopt(_ upstream: UpstreamConnection, of user: UInt32, _ place: PushHub.Place) -> PushHub {
        let hub = PushHub(
            HubRef(UInt32(hubs.count)), user: user, place, at: upstream.server)
        hubs.append(hub)
        upstream.lend(to: hub)
        hub.opened(upstream, now: worker.now)
        return hub
    }

    /// Takes over who listens to what on those hubs. `carryOut` follows.
    func adopt(_ carried: CarriedSubscriptions) { core.adopt(carried) }
}
