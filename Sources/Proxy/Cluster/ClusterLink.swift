// A connection to one node of a cluster, on which it is asked for the map.

import EventLoop
import Topology

/// Who has a `ClusterLink`.
protocol ClusterLinkOwner: AnyObject {
    /// The reply to CLUSTER NODES.
    func answered(_ link: ClusterLink, _ reply: [UInt8])
    /// The connection is closed. If it was being asked, no reply has come.
    func failed(_ link: ClusterLink, _ text: String)
}

/// A connection that is asked one question at a time, and is kept open between two.
final class ClusterLink: WatcherOwner {
    let address: NodeAddress
    /// When it was asked last.
    private(set) var askedAt: Int64
    /// A reply is awaited.
    private(set) var isAsked = true
    /// It has answered before: the node may have closed it meanwhile, which says nothing of the
    /// node.
    private(set) var isUsed = false
    private weak var owner: (any ClusterLinkOwner)?
    private var watcher: Watcher?

    private static let question = [["CLUSTER", "NODES"].map { Array($0.utf8) }]
    /// More than what 1,000 nodes with long names say whose slots are in many pieces.
    private static let longestReply = 2 << 20

    init(_ address: NodeAddress, askedAt: Int64, owner: any ClusterLinkOwner) {
        self.address = address
        self.askedAt = askedAt
        self.owner = owner
    }

    /// Begins to connect, and asks. `host` is what the certificate must have; nil for that of the
    /// address.
    func begin(host: String?, login: WatcherLogin, loop: EventLoop, names: NameLookup) {
        let made = Watcher(
            address, host: host, login: login, loop: loop, names: names,
            longestReply: ClusterLink.longestReply, owner: self)
        watcher = made
        made.begin()
    }

    /// Asks once more.
    func ask(at now: Int64) {
        askedAt = now
        isAsked = true
        watcher?.send(ClusterLink.question)
    }

    /// Closes without a word to the owner.
    func close() { watcher?.close() }

    /// For messages: what has not come in time.
    var lateText: String { watcher?.lateText ?? "no answer in time" }

    // MARK: WatcherOwner

    func ready(_ watcher: Watcher) { watcher.send(ClusterLink.question) }

    func received(_ reply: [UInt8], from watcher: Watcher) {
        guard isAsked else {
            watcher.close()
            owner?.failed(self, "a reply that nobody has asked for")
            return
        }
        isAsked = false
        isUsed = true
        owner?.answered(self, reply)
    }

    func failed(_ watcher: Watcher, _ text: String) { owner?.failed(self, text) }
}
