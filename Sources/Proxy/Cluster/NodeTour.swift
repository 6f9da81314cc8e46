// A command for several nodes that may bring more than one reply, such as FUNCTION LOAD. It cannot
// share an upstream, so it visits one node after the other, with an upstream of its own on each.

import Config
import EventLoop
import Pool
import RESP
import Session

/// The nodes that a command has still to visit, and what the others have answered.
struct NodeTour {
    /// The command.
    let bytes: [UInt8]
    let merge: NodeMerge
    /// The client gets no reply.
    let isSilent: Bool
    /// The present node and those after it, by their numbers.
    private(set) var nodes: ArraySlice<UInt32>
    private(set) var replies: [[UInt8]] = []
    private var reply: [UInt8] = []

    /// The most bytes of one reply. Those to such commands are short.
    private static let longestReply = 64 << 10

    init(_ bytes: [UInt8], nodes: [UInt32], merge: NodeMerge, isSilent: Bool) {
        self.bytes = bytes
        self.nodes = nodes[...]
        self.merge = merge
        self.isSilent = isSilent
    }

    /// Bytes of the present node's reply.
    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        reply.append(contentsOf: bytes.prefix(NodeTour.longestReply - reply.count))
    }

    /// The present node has answered.
    mutating func answered() {
        replies.append(reply)
        reply = []
        nodes.removeFirst()
    }

    /// The present node has left the cluster.
    mutating func skip() { nodes.removeFirst() }
}

extension ClientConnection {
    /// The tour of the command at hand; nil if there is none.
    var tour: NodeTour? {
        get { extras?.tour }
        set { if newValue != nil || extras != nil { ownExtras.tour = newValue } }
    }

    /// Sends the command at hand to the next node of its tour. Those that are gone are left out.
    func visitNext(_ request: Request, _ route: ClusterRoute) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        while let node = tour?.nodes.first {
            guard let target = route.server(at: node), target.departure == nil else {
                tour?.skip()
                continue
            }
            turn(to: target)
            let outcome = carryOutRare(request)
            if outcome == .answered { tour = nil }
            return outcome
        }
        endTour()
        return .answered
    }

    /// Begins a tour of these nodes.
    func beginTour(
        _ request: Request, of nodes: [Server], _ merge: NodeMerge, _ route: ClusterRoute
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        tour = NodeTour(
            [UInt8](request.bytes), nodes: nodes.map(\.number), merge: merge,
            isSilent: session.replyMode != .on)
        return visitNext(request, route)
    }

    /// Called when a node of the tour has answered, and nothing is in flight.
    func continueTour() {
        guard channel.isOpen else { return }
        tour?.answered()
        guard let tour, !tour.nodes.isEmpty else { return endTour() }
        input.prepend(tour.bytes, pool: worker.chunks)
    }

    /// All nodes have answered.
    private func endTour() {
        guard let tour else { return }
        self.tour = nil
        guard !tour.isSilent else { return }
        if let reply = tour.merge.merged(tour.replies, random: 0) {
            replyBytes(reply)
        } else {
            replyError(
                "ERR pool \(pool.config.name): the nodes' replies do not make one reply")
        }
    }

    /// Bytes of a reply to a command on a tour. False if there is no tour.
    func collectTour(_ bytes: UnsafeRawPointer, count: Int) -> Bool {
        guard extras?.tour != nil else { return false }
        extras?.tour?.add(UnsafeRawBufferPointer(start: bytes, count: count))
        return true
    }
}
