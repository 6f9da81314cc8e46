// Where a command goes in a pool in front of a cluster: the column `cluster` of commands.tsv.

/// Where a command goes in a pool in front of a cluster. The order is that of `RULES` in
/// scripts/generate-command-table.
package enum ClusterRule: UInt8, Sendable, CaseIterable {
    /// To the node of its keys' slot; without keys to any node.
    case slot
    /// As `slot`; with keys in several slots it is split, see `Split`.
    case split
    /// To whichever node suits; or Redpool answers it anyhow, as for a pool with one server.
    case any
    /// To every primary; see `NodeMerge` for the reply.
    case all
    /// To every node, replicas too; see `NodeMerge` for the reply.
    case every
    /// SCAN: to one primary after the other; see `ScanCommand`.
    case scan
    /// Redpool answers; see `ClusterFace`.
    case front
    /// To a node of choice: the answer is about that node.
    case one
    /// Refused: it is about one node of a cluster.
    case refuse
    /// WAIT, WAITAOF: to every node that the client has written to.
    case offset
}

extension CommandTable {
    /// The rule for a command; `.slot` for one that the table does not have.
    package func clusterRule(_ command: Command) -> ClusterRule {
        CommandTable.clusterRule(row: Int(command.rawValue))
    }

    static func clusterRule(row: Int) -> ClusterRule {
        let rules = CommandTable.clusterRules
        guard row < rules.utf8CodeUnitCount else { return .slot }
        let digit = unsafe rules.utf8Start[row] &- UInt8(ascii: "0")
        return ClusterRule(rawValue: digit) ?? .slot
    }
}
