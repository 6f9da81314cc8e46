// A client's commands in flight on several nodes of a cluster.

import Pool
import Session
import Topology

/// The strands of one client, and the order of its replies. They begin when the client has commands
/// in flight on a second node, or when a node refuses a command, and end when all replies have gone
/// out. `ClientConnection.upstream` is the upstream of the strand on the client's present server.
final class ClientStrands {
    /// The client's commands in flight on one node go over one upstream.
    struct Strand {
        /// The node's number in the route.
        let node: UInt32
        let upstream: UpstreamConnection
        /// The client counts as a slow reader there.
        var isSlow = false

        /// The client has nothing in flight there.
        func leave() {
            upstream.takeBack()
            if isSlow { upstream.readerIsQuick() }
            upstream.judgeReading()
        }
    }

    /// A command with several parts, and how their replies become one.
    struct Gather {
        /// The place of the first part.
        let lead: UInt32
        let kind: GatherKind
    }

    /// The version of the map under which the oldest commands were sent. Nothing new is sent under
    /// another one. Nil when some were sent under others.
    let version: UInt64?
    var order: ReplyOrder
    var redirects: Redirects
    private(set) var strands: [Strand] = []
    var gathers: [Gather] = []
    /// The held command for which the client waits for an upstream.
    var wanted: UInt32?
    /// What is known of commands in flight that nodes have refused, by their places.
    var commands: [UInt32: Command] = [:]
    /// The blocks among them.
    var blocks: [UInt32: PlacedBlock] = [:]
    /// What was kept of the parts of gathers has been dropped, because it was too much.
    var isTooLarge = false
    /// Refusals that are being confirmed.
    var confirms: [UInt32: RefusedReply] = [:]
    /// Places whose refusal the node has confirmed.
    var confirmed: Set<UInt32> = []
    /// Bytes that are counted as the client's output.
    var counted = 0
    /// The client reads slower than the nodes answer.
    var isUnread = false
    /// Much is parked.
    var isFull = false

    /// - Parameter patience: how long a refused command is tried again: `poolTimeout`.
    init(version: UInt64?, order: consuming ReplyOrder, patience: Int64) {
        self.version = version
        self.order = order
        redirects = Redirects(patience: patience)
    }

    /// The upstream of the strand on a node; nil if there is none.
    func upstream(on node: UInt32) -> UpstreamConnection? {
        for strand in strands where strand.node == node { return strand.upstream }
        return nil
    }

    /// Whether the client has commands in flight on this upstream.
    func has(_ upstream: UpstreamConnection) -> Bool {
        strands.contains { $0.upstream === upstream }
    }

    func add(_ upstream: UpstreamConnection, on node: UInt32) {
        strands.append(Strand(node: node, upstream: upstream))
    }

    func remove(_ upstream: UpstreamConnection) {
        strands.removeAll { $0.upstream === upstream }
    }

    /// The client is a slow reader of the strands on these nodes, and of no others.
    func pace(_ isSlow: (UInt32) -> Bool) {
        for index in strands.indices where isSlow(strands[index].node) != strands[index].isSlow {
            strands[index].isSlow.toggle()
            let strand = strands[index]
            if strand.isSlow {
                strand.upstream.readerIsSlow()
                strand.upstream.judgeReading()
            } else {
                strand.upstream.readerIsQuick()
            }
        }
    }

    /// Removes and returns the strands with nothing in flight.
    func takeIdle() -> [Strand] {
        guard strands.contains(where: { order.open(on: $0.node) == 0 }) else { return [] }
        let idle = strands.filter { order.open(on: $0.node) == 0 }
        strands.removeAll { order.open(on: $0.node) == 0 }
        return idle
    }

    /// A command is answered by Redpool: how many replies the client gets.
    func takeReplies(of place: UInt32) -> Int {
        blocks.removeValue(forKey: place)?.replies ?? 1
    }

    /// The gather that begins with this place.
    func takeGather(_ lead: UInt32) -> GatherKind? {
        guard let index = gathers.firstIndex(where: { $0.lead == lead }) else { return nil }
        return gathers.remove(at: index).kind
    }
}

/// How the replies to the parts of a command become one.
enum GatherKind {
    /// Its keys are in several slots.
    case split(Split, name: String)
    /// It is for several nodes.
    case nodes(NodeMerge)
    /// SCAN of one node: the numbers of it and of all nodes are those in cursors.
    case scan(node: Int, nodes: [Int])
}

extension ClientConnection {
    /// Nil unless it has commands in flight on several nodes, or refused ones.
    var strands: ClientStrands? {
        get { extras?.strands }
        set { if newValue != nil || extras != nil { ownExtras.strands = newValue } }
    }
}
