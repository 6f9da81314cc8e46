// What is known of the servers of pools with Sentinels and in front of clusters: it is handed over,
// so that no client waits for the first answer, and each upstream is at a server that is known.

package import HandOver
import RESP
import Topology

extension SentinelDesk {
    package var carried: [CarriedTopology] {
        primaries.map { pool, primary in
            let node = primary.node
            return CarriedTopology(
                pool: pool,
                source: .primary(
                    CarriedPrimary(
                        address: CarriedAddress(host: node.host, port: node.port),
                        epoch: primary.epoch)))
        }
    }

    /// Goes on with the primaries of a former program. The workers hear of them at once.
    package func resume(_ topologies: [CarriedTopology]) {
        for topology in topologies {
            guard case .primary(let carried) = topology.source,
                let node = NodeAddress(host: carried.address.host, port: carried.address.port)
            else { continue }
            resume(topology.pool, PrimaryClaim(address: node, epoch: carried.epoch))
        }
    }
}

extension ClusterDesk {
    package var carried: [CarriedTopology] {
        maps.map { group, map, epochs in
            var carried = CarriedMap(map, epochs)
            carried.scanNumbers = group.scanOrder
            return CarriedTopology(pool: group.name, source: .cluster(carried))
        }
    }

    /// Goes on with the maps of a former program. The workers hear of them at once.
    package func resume(_ topologies: [CarriedTopology]) {
        for topology in topologies {
            guard case .cluster(let carried) = topology.source, let map = carried.map else {
                continue
            }
            let group = resume(topology.pool, map, epochs: carried.nodes.map(\.epoch))
            group?.scanOrder = carried.scanNumbers
        }
    }
}

extension CarriedMap {
    fileprivate init(_ map: SlotMap, _ epochs: [Int64]) {
        self.init(version: map.version, nodes: [], slots: [])
        nodes = map.nodes.enumerated().map { place, node in
            Node(
                id: node.id,
                address: CarriedAddress(host: node.address.host, port: node.address.port),
                isPrimary: node.isPrimary, primaryID: node.primaryID,
                epoch: place < epochs.count ? epochs[place] : -1)
        }
        let places = Dictionary(
            map.nodes.enumerated().map { ($1.address, UInt16(truncatingIfNeeded: $0)) },
            uniquingKeysWith: { first, _ in first })
        for slot in 0..<UInt16(Slot.count) {
            guard let owner = map.owner(of: slot), let place = places[owner.address] else {
                continue
            }
            if let last = slots.last, last.node == place, last.last + 1 == slot {
                slots[slots.count - 1].last = slot
            } else {
                slots.append(Slots(first: slot, last: slot, node: place))
            }
        }
    }

    /// Nil if a node has no address that could be dialled.
    fileprivate var map: SlotMap? {
        var found: [ClusterNode] = []
        for node in nodes {
            guard let address = NodeAddress(host: node.address.host, port: node.address.port)
            else { return nil }
            found.append(
                ClusterNode(
                    id: node.id, address: address, isPrimary: node.isPrimary,
                    primaryID: node.primaryID))
        }
        var ranges = [[ClosedRange<UInt16>]](repeating: [], count: nodes.count)
        for part in slots where part.first <= part.last && Int(part.node) < ranges.count {
            ranges[Int(part.node)].append(part.first...part.last)
        }
        return SlotMap(version: version, nodes: found, ranges: ranges)
    }
}
