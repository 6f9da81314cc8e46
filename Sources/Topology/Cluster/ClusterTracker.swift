// Who serves which slot of a cluster, by what its nodes say. The tracker knows no sockets: it is
// told what has happened and when, and `nextAction()` says what is to be done. In the files beside
// this one:
//
//   +Claims   what is believed of an answer, and of MOVED
//   +Asking   who is asked, and when
//
// A node that is cut off from the others goes on saying what it knew. So an answer is believed slot
// by slot: the owner that it names must have a config epoch of at least that of the present owner,
// unless no node knows the present owner any more. MOVED has no epoch. It is believed at once,
// because the client's command has to go somewhere, and until the node that it names has said what
// it knows.

package import Pool
import RESP

/// What the shell has to do, in order.
package enum ClusterAction: Equatable, Sendable {
    /// Ask this address for CLUSTER NODES; answer `answered`, or `unanswered` when it takes too
    /// long.
    case ask(NodeAddress)
    /// The map from now on.
    case publish(SlotMap)
}

/// Follows the owners of the slots of one cluster.
///
/// `now` never goes back between calls.
package struct ClusterTracker: ~Copyable {
    /// How often a node is asked that is in trouble, and all others because of it.
    package static let searchInterval = Int64.milliseconds(500)
    /// A node that MOVED names is asked at most this often.
    package static let movedInterval = Int64.milliseconds(100)
    /// The first map is published after this time also if slots have no owner.
    package static let firstMapTime = Int64.seconds(2)

    /// What is known of a node. Its place in `nodes` stays until it is forgotten.
    struct Node {
        /// Empty until an answer has named it.
        var id: [UInt8]
        var address: NodeAddress
        var isPrimary: Bool
        var primaryID: [UInt8]?
        var epoch: Int64
        /// The ids in its latest answer.
        var named: Set<[UInt8]> = []
        var isInTrouble = false
        /// MOVED has named it at this time, and it has not been asked since; `.max`: nothing to
        /// ask.
        var namedAt = Int64.max
    }

    /// Who has a slot.
    struct Claim {
        /// The place in `nodes` of the owner that answers have named, or -1.
        var owner: Int32 = -1
        /// The epoch with which it was named.
        var epoch: Int64 = -1
        /// The place of the node that MOVED has named since, or -1.
        var moved: Int32 = -1
        /// When the latest MOVED has come.
        var movedAt = Int64.min

        /// Who gets commands for the slot.
        var serving: Int32 { moved >= 0 ? moved : owner }
    }

    /// When an address was asked.
    struct Asked {
        let address: NodeAddress
        var lastAt: Int64
        var isOpen: Bool
    }

    private(set) var seeds: [NodeAddress]
    private(set) var refreshInterval: Int64
    private(set) var mostNodes: Int
    var nodes: [Node?] = []
    var claims = [Claim](repeating: Claim(), count: Slot.count)
    var asked: [Asked] = []
    var random: RandomSource
    var version: UInt64 = 0
    var hasNewOwners = false
    var hasNewNodes = false
    /// What was published last.
    package private(set) var map: SlotMap?
    var startedAt: Int64
    var refreshAt: Int64
    var turn = 0
    var searchUntil = Int64.min
    var clock: Int64
    private var actions: [ClusterAction] = []
    private var head = 0

    /// - Parameters:
    ///   - seeds: addresses of the configuration, asked while no node answers.
    ///   - refreshInterval: how often one node in turn is asked, 10 % more or less.
    ///   - mostNodes: bounds the nodes that are known.
    ///   - seed: for the jitter.
    package init(
        seeds: [NodeAddress], refreshInterval: Int64 = .seconds(15), mostNodes: Int = 64,
        seed: UInt64, now: MonotonicTime
    ) {
        self.seeds = seeds
        self.refreshInterval = Self.bounded(refreshInterval)
        self.mostNodes = Self.bounded(mostNodes)
        random = RandomSource(seed: seed)
        clock = now.nanoseconds
        startedAt = clock
        refreshAt = clock
        finish()
    }

    private static func bounded(_ interval: Int64) -> Int64 {
        min(max(interval, .milliseconds(100)), .seconds(86_400))
    }

    private static func bounded(_ nodes: Int) -> Int { min(max(nodes, 1), 10_000) }

    /// The next thing for the shell to do, or nil.
    package mutating func nextAction() -> ClusterAction? {
        guard head < actions.count else { return nil }
        let action = actions[head]
        head += 1
        if head == actions.count {
            actions.removeAll(keepingCapacity: true)
            head = 0
        }
        return action
    }

    mutating func want(_ action: ClusterAction) {
        actions.append(action)
    }

    /// The workers have this map already.
    mutating func take(_ known: SlotMap) { map = known }
}

// MARK: Events

extension ClusterTracker {
    /// A node has answered CLUSTER NODES; `rows` is nil if the answer was not understood.
    package mutating func answered(
        _ address: NodeAddress, _ rows: [ClusterNodeRow]?, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        guard let place = asked.firstIndex(where: { $0.address == address && $0.isOpen }) else {
            return
        }
        asked[place].isOpen = false
        if let rows, !rows.isEmpty { take(rows, from: address, askedAt: asked[place].lastAt) }
        finish()
    }

    /// A node could not be asked, or did not answer in time.
    package mutating func unanswered(_ address: NodeAddress, now: MonotonicTime) {
        clock = now.nanoseconds
        for place in asked.indices where asked[place].address == address {
            asked[place].isOpen = false
        }
        setTrouble(true, at: address)
        distrustMoved(to: address)
        finish()
    }

    /// A node has answered a command with MOVED: this address serves the slot.
    package mutating func moved(_ slot: UInt16, to address: NodeAddress, now: MonotonicTime) {
        moved([slot: address], now: now)
    }

    /// The same for several slots: there is one map for all of them.
    package mutating func moved(_ slots: [UInt16: NodeAddress], now: MonotonicTime) {
        clock = now.nanoseconds
        for (slot, address) in slots { takeMoved(slot, to: address) }
        finish()
    }

    /// Names of the configuration stand for these addresses from now on.
    package mutating func setSeeds(_ new: [NodeAddress], now: MonotonicTime) {
        clock = now.nanoseconds
        seeds = new
        finish()
    }

    /// Other limits are in force. Nodes beyond them stay.
    package mutating func configure(
        refreshInterval: Int64, mostNodes: Int, now: MonotonicTime
    ) {
        clock = now.nanoseconds
        self.refreshInterval = Self.bounded(refreshInterval)
        self.mostNodes = Self.bounded(mostNodes)
        refreshAt = min(refreshAt, clock + self.refreshInterval)
        finish()
    }

    /// The last connection to a node is lost, or dials to it fail.
    package mutating func lost(_ address: NodeAddress, now: MonotonicTime) {
        clock = now.nanoseconds
        setTrouble(true, at: address)
        distrustMoved(to: address)
        finish()
    }

    /// A connection to a node has been made.
    package mutating func connected(_ address: NodeAddress, now: MonotonicTime) {
        clock = now.nanoseconds
        setTrouble(false, at: address)
        finish()
    }

    private mutating func setTrouble(_ isInTrouble: Bool, at address: NodeAddress) {
        for place in nodes.indices where nodes[place]?.address == address {
            nodes[place]?.isInTrouble = isInTrouble
        }
    }

    /// A node has answered CLUSTERDOWN: all are asked for two seconds.
    package mutating func clusterDown(now: MonotonicTime) {
        clock = now.nanoseconds
        searchUntil = clock + .seconds(2)
        finish()
    }

    /// Time has passed. Call it at `nextDeadline` at the latest.
    package mutating func tick(now: MonotonicTime) {
        clock = now.nanoseconds
        finish()
    }

    private mutating func finish() {
        publish()
        pump()
    }

    /// Publishes what has changed.
    private mutating func publish() {
        let isFirst = map == nil
        guard hasNewOwners || hasNewNodes || isFirst else { return }
        let isDue = clock - startedAt >= Self.firstMapTime
        if isFirst, !claims.allSatisfy({ $0.serving >= 0 }) {
            guard isDue, claims.contains(where: { $0.serving >= 0 }) else { return }
        }
        if hasNewOwners { version += 1 }
        hasNewOwners = false
        hasNewNodes = false
        var places = [UInt16](repeating: SlotMap.nobody, count: nodes.count)
        var known: [ClusterNode] = []
        for (place, node) in nodes.enumerated() {
            guard let node else { continue }
            places[place] = UInt16(truncatingIfNeeded: known.count)
            known.append(
                ClusterNode(
                    id: node.id, address: node.address, isPrimary: node.isPrimary,
                    primaryID: node.primaryID))
        }
        let owners = claims.map { $0.serving < 0 ? SlotMap.nobody : places[Int($0.serving)] }
        let made = SlotMap(version: version, nodes: known, owners: owners)
        map = made
        want(.publish(made))
    }
}
