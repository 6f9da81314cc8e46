// How many clients of this process listen to what at one server, and on how many hubs: so that a
// reply that counts subscribers counts clients, as it would without hubs.

import Config
import Pool
import RESP
import Session
import Synchronization
import Topology

/// The subscribers of one server, or one cluster, in all workers and pools of the process. Only
/// what is steady counts: while a subscription begins or ends, the server's own number stands.
final class SubscriberBook: Sendable {
    /// A node of a cluster, by its address, which all pools have; nil for a server.
    typealias Census = SubscriberCensus<NodeAddress?>

    private let census = Mutex(Census())
    /// There is nothing in it: commands need not look.
    private let isEmpty = Atomic(true)

    /// No client is subscribed on a hub, or none is steady.
    var hasNobody: Bool { isEmpty.load(ordering: .acquiring) }

    /// The number of steady listeners to a name on a hub at the node has changed.
    func note(_ change: SteadyChange, at node: NodeAddress?) {
        census.withLock {
            $0.change(change.kind, change.name, by: change.difference, at: node)
            isEmpty.store($0.isEmpty, ordering: .releasing)
        }
    }

    /// What to add to the node's reply to PUBLISH or SPUBLISH that is sent now; nil for nothing.
    func correction(of request: Request, at node: NodeAddress?) -> SubscriberCorrection? {
        if hasNobody { return nil }
        let frame = request.frame
        guard frame.argumentCount == 3,
            let channel = CommandTable.argument(1, request.input.span, frame)
        else { return nil }
        let isShard = request.command == .spublish
        let reach = census.withLock {
            isShard
                ? $0.subscribed(.shard, channel, at: .one(node))
                : $0.published(channel, at: node)
        }
        return reach.flatMap { SubscriberCorrection($0) }
    }

    /// The reply to PUBSUB NUMSUB or SHARDNUMSUB with clients in place of hubs.
    func corrected(
        _ reply: [UInt8], _ kind: SubscriptionKind, at place: Census.Place
    ) -> [UInt8] {
        if hasNobody { return reply }
        var result: [UInt8] = []
        var cursor = ReplyCursor(from: 0)
        var copied = 0
        var name: Range<Int>?
        while let item = cursor.next(reply.span) {
            if item.type == UInt8(ascii: "$") {
                name = item.range
            } else if item.type == UInt8(ascii: ":"), let channel = name {
                let reach = census.withLock {
                    $0.subscribed(kind, Array(reply[channel]), at: place)
                }
                result.append(contentsOf: reply[copied..<item.range.lowerBound])
                let number = SubscriberCorrection(reach)?.apply(to: item.value) ?? item.value
                Encode.decimal(number, into: &result)
                copied = item.range.upperBound
                name = nil
            }
        }
        return result + reply[copied...]
    }
}
