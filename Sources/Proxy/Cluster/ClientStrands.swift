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

    /// Under which map the commands were sent; nil when they were sent under several: then nothing
    /// more is sent.
    private var sent: SentVersion?
    var order = ReplyOrder(open: 0, on: 0)
    var redirects = Redirects(patience: 0)
    private(set) var strands: [Strand] = []
    var gathers: [Gather] = []
    /// The held command for which the client waits for an upstream.
    var wanted: UInt32?
    /// The blocks in flight or held, by their places.
    var blocks: [UInt32: PlacedBlock] = [:]
    /// What was kept of the parts of gathers has been dropped, because it was too much.
    var isTooLarge = false
    /// Refusals that are being confirmed.
    var confirms: [UInt32: RefusedReply] = [:]
    /// Bytes that are counted as the client's output.
    var counted = 0
    /// The client reads slower than the nodes answer.
    var isUnread = false
    /// Much is parked.
    var isFull = false

    /// The strands of a client with `open` commands in flight on one node begin.
    ///
    /// - Parameters:
    ///   - hasBegun: the client has got a part of the oldest one's reply.
    ///   - patience: how long a refused command is tried again: `poolTimeout`.
    func begin(
        version: UInt64?, open: UInt32, on node: UInt32, hasBegun: Bool, patience: Int64
    ) {
        sent = version.map { SentVersion(under: $0) }
        order.begin(open: Int(open), on: node, hasBegun: hasBegun)
        redirects = Redirects(patience: patience)
    }

    /// Whether the client may send another command under the present map.
    func maySend(under version: UInt64) -> Bool {
        order.heldCount == 0
            && sent?.maySend(under: version, inFlight: order.count) == true
    }

    /// The client does not count as slow, and nothing that is parked as its output.
    var isAtEase: Bool { !isUnread && !isFull && counted == 0 }

    /// Nothing is left of their use, so they can begin anew.
    var isClean: Bool {
        order.isOver && order.nodes == 0 && strands.isEmpty && gathers.isEmpty && wanted == nil
            && blocks.isEmpty && !isTooLarge && confirms.isEmpty && counted == 0 && !isUnread
            && !isFull
    }

    /// The upstream of the strand on a node; nil if there is none.
    func upstream(on node: UInt32) -> UpstreamConnection? {
        for strand in strands where strand.node == node { return strand.upstream }
        return nil
    }

    /// The same without a retain: the strand keeps it.
    func unretained(on node: UInt32) -> Unmanaged<UpstreamConnection>? {
        for index in strands.indices where strands[index].node == node {
            return Unmanaged.passUnretained(strands[index].upstream)
        }
        return nil
    }

    /// Whether the client has commands in flight on this upstream.
    func has(_ upstream: UpstreamConnection) -> Bool {
        for index in strands.indices where strands[index].upstream === upstream { return true }
        return false
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

    /// Removes and returns a strand with nothing in flight; nil if there is none.
    func takeIdle() -> Strand? {
        guard order.nodes < strands.count else { return nil }
        for index in strands.indices where order.open(on: strands[index].node) == 0 {
            return strands.remove(at: index)
        }
        return nil
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
    /// PUBLISH or SPUBLISH of one node.
    case published(SubscriberCorrection)
    /// PUBSUB NUMSUB and SHARDNUMSUB.
    case subscribed(SubscriptionKind)
    /// SCAN of one node: the numbers of it and of all nodes are those in cursors.
    case scan(node: Int, nodes: [Int])
}

extension Worker {
    /// The most that are kept of those that no client has: some 150 KB.
    private static let mostSpare = 64

    /// Strands for a client. Former ones of another client have their memory already.
    func takeStrands() -> ClientStrands {
        work.hasSeenStrands = true
        return work.spareStrands.popLast() ?? ClientStrands()
    }

    /// A client's strands have ended.
    func keep(_ strands: ClientStrands) {
        guard strands.isClean, work.spareStrands.count < Worker.mostSpare else { return }
        work.spareStrands.append(strands)
    }
}

extension ClientConnection {
    /// Nil unless it has commands in flight on several nodes, or refused ones.
    var strands: ClientStrands? {
        get { extras?.strands }
        set { if newValue != nil || extras != nil { ownExtras.strands = newValue } }
    }

    /// Replies of several nodes are due, and a little of them is about to be written.
    var isPartlyAnswered: Bool {
        guard let extras, let strands = extras.strands else { return false }
        return !strands.order.isOver && output.count <= ClientConnection.fewReplies
    }

    private static let fewReplies = 16 << 10
}
