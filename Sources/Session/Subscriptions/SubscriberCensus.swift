// Who listens to what in front of a cluster, where each node counts its own connections. Pure.

/// The steady subscribers of a process at the nodes of a cluster.
///
/// A node counts the hubs that are there. In their place all clients of hubs count, wherever their
/// hubs are: as if all of them were connected to the node that carries the command out.
package struct SubscriberCensus<Node: Hashable & Sendable>: Sendable {
    /// The nodes that a command goes to, whose numbers are added up.
    package enum Place: Sendable {
        case one(Node)
        case all
    }

    private var nodes: [Node: SubscriberCounts] = [:]

    /// Nobody listens to anything.
    package init() {}

    /// Nobody listens to anything.
    package var isEmpty: Bool { nodes.isEmpty }

    /// What a message to a name reaches over the hubs at the node has changed by so much.
    package mutating func change(
        _ kind: SubscriptionKind, _ name: [UInt8], by difference: SubscriberCounts.Reach,
        at node: Node
    ) {
        nodes[node, default: SubscriberCounts()].change(kind, name, by: difference)
        if nodes[node]?.isEmpty == true { nodes[node] = nil }
    }

    /// Whom PUBLISH at the node would reach; nil if that takes too long to find out.
    package mutating func published(
        _ channel: [UInt8], at node: Node
    ) -> SubscriberCounts.Reach? {
        var reach = SubscriberCounts.Reach()
        for index in nodes.indices {
            guard let found = nodes.values[index].published(channel) else { return nil }
            reach.add(found, isAsked: nodes.keys[index] == node)
        }
        return reach
    }

    /// Who is subscribed to a channel, and would get SPUBLISH: patterns do not count.
    package func subscribed(
        _ kind: SubscriptionKind, _ channel: [UInt8], at place: Place
    ) -> SubscriberCounts.Reach {
        var reach = SubscriberCounts.Reach()
        for (node, counts) in nodes {
            let isAsked =
                switch place {
                case .one(let one): one == node
                case .all: true
                }
            reach.add(counts.subscribed(kind, channel), isAsked: isAsked)
        }
        return reach
    }
}

extension SubscriberCounts.Reach {
    /// Only a node that is asked counts its hubs.
    fileprivate mutating func add(_ other: Self, isAsked: Bool) {
        add(isAsked ? other : Self(listeners: other.listeners))
    }
}
