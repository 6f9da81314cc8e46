// Commands whose replies count subscribers: clients count, and not the hubs that they share.

import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// Sends a command whose reply counts subscribers to the client's server, and corrects it.
    func forwardCounted(_ request: Request) -> Outcome {
        switch request.command {
        case .pubsubNumsub: return forward(.shared, .subscriberNumbers, 0, request.bytes)
        case .pubsubShardnumsub: return forward(.shared, .shardNumbers, 0, request.bytes)
        // A node of a cluster may refuse it, and then it is sent again as it is.
        case .spublish where pool.isRouted: return forward(.shared, .plain, 0, request.bytes)
        default:
            guard let found = pool.book?.correction(of: request, at: server.node.address) else {
                return forward(.shared, .plain, 0, request.bytes)
            }
            return forward(.shared, .published, found.value, request.bytes)
        }
    }

    /// The same in front of a cluster, for a client that holds nothing. Nil if there is nothing to
    /// correct.
    func sendCounted(_ request: Request, _ route: ClusterRoute) -> Outcome? {
        guard let book = pool.book, !book.hasNobody, !pool.isPaused else { return nil }
        switch request.command {
        case .pubsubNumsub: return sendToPrimaries(request, .channel, route)
        case .pubsubShardnumsub: return sendToPrimaries(request, .shard, route)
        case .publish: return publish(request, in: PlaceSlot.none, at: anyServer, book)
        default:
            guard
                case .one(let slot) = worker.table.slots(
                    request.command, request.input.span, request.frame),
                let owner = route.owner(of: slot)
            else { return nil }
            return publish(request, in: slot, at: owner, book)
        }
    }

    /// A node counts those that subscribe there: all are asked.
    private func sendToPrimaries(
        _ request: Request, _ kind: SubscriptionKind, _ route: ClusterRoute
    ) -> Outcome? {
        if route.primaries.isEmpty { return nil }
        let bytes = [UInt8](request.bytes)
        let parts = route.primaries.map {
            GatherPart(slot: PlaceSlot.none, node: $0.number, range: bytes.indices)
        }
        return gather(parts, bytes, .subscribed(kind))
    }

    private func publish(
        _ request: Request, in slot: UInt16, at node: Server, _ book: SubscriberBook
    ) -> Outcome? {
        guard let found = book.correction(of: request, at: node.node.address) else { return nil }
        let bytes = [UInt8](request.bytes)
        return gather(
            [GatherPart(slot: slot, node: node.number, range: bytes.indices)], bytes,
            .published(found))
    }
}
