// What is carried of the servers that Sentinels and cluster nodes name, so that no command waits
// for the first answer of theirs.

/// What is known of a pool's servers.
package struct CarriedTopology: Equatable, Sendable {
    /// How the pool's servers are found.
    package enum Source: Equatable, Sendable {
        /// Sentinels name the primary.
        case primary(CarriedPrimary)
        /// The nodes of a cluster name each other.
        case cluster(CarriedMap)
    }

    package var pool: String
    package var source: Source

    package init(pool: String, source: Source) {
        self.pool = pool
        self.source = source
    }
}

/// A place that can be dialled.
package struct CarriedAddress: Equatable, Sendable {
    package var host: [UInt8]
    package var port: UInt16

    package init(host: [UInt8], port: UInt16) {
        self.host = host
        self.port = port
    }
}

/// The primary that Sentinels agree on.
package struct CarriedPrimary: Equatable, Sendable {
    package var address: CarriedAddress
    /// `config-epoch`: a claim with a lower one is an old one.
    package var epoch: Int64

    package init(address: CarriedAddress, epoch: Int64) {
        self.address = address
        self.epoch = epoch
    }
}

/// Who serves which slot.
package struct CarriedMap: Equatable, Sendable {
    /// A node of the cluster.
    package struct Node: Equatable, Sendable {
        /// Empty while it is not known.
        package var id: [UInt8]
        package var address: CarriedAddress
        package var isPrimary: Bool
        /// The id of a replica's primary.
        package var primaryID: [UInt8]?
        /// Its config epoch; -1 while it is not known.
        package var epoch: Int64

        package init(
            id: [UInt8], address: CarriedAddress, isPrimary: Bool, primaryID: [UInt8]?,
            epoch: Int64
        ) {
            self.id = id
            self.address = address
            self.isPrimary = isPrimary
            self.primaryID = primaryID
            self.epoch = epoch
        }
    }

    /// Slots that follow each other and have one owner.
    package struct Slots: Equatable, Sendable {
        package var first: UInt16
        package var last: UInt16
        /// The position of the owner.
        package var node: UInt16

        package init(first: UInt16, last: UInt16, node: UInt16) {
            self.first = first
            self.last = last
            self.node = node
        }
    }

    package var version: UInt64
    package var nodes: [Node]
    /// Those that nobody serves are left out.
    package var slots: [Slots]
    /// The ids of nodes in the order of their numbers in cursors of SCAN.
    package var scanNumbers: [[UInt8]] = []

    package init(version: UInt64, nodes: [Node], slots: [Slots]) {
        self.version = version
        self.nodes = nodes
        self.slots = slots
    }
}
