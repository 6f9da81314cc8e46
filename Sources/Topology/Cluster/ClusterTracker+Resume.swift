// A tracker goes on with the map of another process, and asks the nodes in its own time.

import RESP

extension ClusterTracker {
    /// The config epochs of the nodes of the map that was published last, in its order.
    package var epochs: [Int64] {
        map?.nodes.map { node in
            nodes.first { $0?.address == node.address && $0?.id == node.id }??.epoch ?? -1
        } ?? []
    }

    /// Takes over a map that another process has published, with the epochs of its nodes. It is
    /// not published again; to be called before anything else has happened. Nothing is taken for
    /// newer than it that was older before, and no node is forgotten before it could be named.
    package mutating func resume(_ map: SlotMap, epochs: [Int64]) {
        let ids = Set(map.nodes.map(\.id).filter { !$0.isEmpty })
        nodes = map.nodes.enumerated().map { place, node in
            var known = Node(
                id: node.id, address: node.address, isPrimary: node.isPrimary,
                primaryID: node.primaryID, epoch: place < epochs.count ? epochs[place] : -1)
            known.named = ids
            return known
        }
        for slot in claims.indices {
            let place = Int(map.owners[slot])
            guard place < nodes.count else { continue }
            claims[slot].owner = Int32(place)
            claims[slot].epoch = nodes[place]?.epoch ?? -1
        }
        version = map.version
        take(map)
    }
}
