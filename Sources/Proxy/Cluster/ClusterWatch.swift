// Follows the map of one pool's cluster by what its nodes say. `ClusterTracker` decides; this class
// carries out what it wants, on one event loop. In the files beside this one:
//
//   +Events   what nodes, workers and names say
//   +Report   what is logged and reported

import Config
import EventLoop
import Logging
import Pool
import Telemetry
import Topology

/// Who uses the map. Calls come from the loop, never from within a call of `ClusterWatch`.
protocol ClusterWatchHandler: AnyObject {
    /// The map from now on.
    func published(_ map: SlotMap)
    /// There is no map yet: each node that can be asked has failed, or a second is over. Called
    /// again, twice a second at most, while that lasts. The text is for clients' errors.
    func unknown(_ problem: String)
}

/// The cluster of a pool. All calls are made on the loop's thread.
final class ClusterWatch {
    let loop: EventLoop
    let log: Logger
    var config: PoolConfig
    var source: ClusterSource
    var tracker: ClusterTracker
    var configured: ConfiguredAddresses
    let names: NameLookup
    weak var handler: (any ClusterWatchHandler)?
    /// Those that are asked, and a few that were.
    var links: [NodeAddress: ClusterLink] = [:]
    var notes: [NodeAddress: ClusterNote] = [:]
    var history = MapHistory()
    var limiter = RateLimiter()
    /// What went wrong last when a node was asked.
    var lastError = ""
    private var signs = ClusterSigns()
    private var phase = Phase.new
    private var isPumping = false
    /// Since when there is no map, and when the handler was last told why; nil with a map.
    private var unknown: (since: Int64, toldAt: Int64)?
    private var timer: Timer?

    private enum Phase { case new, running, stopped }

    /// How many connections are kept while nothing is asked.
    private static let mostKept = 3
    private static let unknownInterval = Int64.milliseconds(500)
    /// How long the first map may take before clients are told that there is none.
    private static let patience = Int64.seconds(1)

    /// Nil for a pool without a cluster, and when the system has no descriptors left.
    init?(
        loop: EventLoop, config: PoolConfig, log: Logger, names: NameLookup? = nil,
        handler: any ClusterWatchHandler
    ) {
        guard let source = config.cluster, let names = names ?? NameLookup(loop: loop) else {
            return nil
        }
        self.loop = loop
        self.log = log
        self.config = config
        self.source = source
        self.names = names
        self.handler = handler
        configured = ConfiguredAddresses(
            source.seeds, refresh: config.dnsRefresh, most: ClusterSource.mostSeeds)
        tracker = ClusterTracker(
            seeds: [], refreshInterval: source.refresh, mostNodes: source.maxNodes,
            seed: UInt64.random(in: .min ... .max), now: ClusterWatch.now)
        timer = Timer(
            loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(), callback: watchTimer)
    }

    /// Begins to ask. The handler hears of it in a later iteration.
    func start() {
        guard phase == .new else { return }
        phase = .running
        unknown = (EventLoop.now(), .min / 2)
        tracker.setSeeds(configured.addresses, now: ClusterWatch.now)
        timer?.start(after: 0)
    }

    /// Goes on with the map of a former program. The handler is not told.
    func resume(_ map: SlotMap, _ epochs: [Int64]) {
        tracker.resume(map, epochs: epochs)
        _ = history.take(map)
        unknown = nil
    }

    /// Closes all connections. Nothing is said to the handler any more.
    func stop() {
        phase = .stopped
        for link in links.values { link.close() }
        links = [:]
        notes = [:]
        timer?.start(at: .max)
    }

    /// Puts another configuration of the pool into force. It is in front of the same cluster.
    func reconfigure(_ new: PoolConfig) {
        guard phase != .stopped, let newSource = new.cluster else { return }
        let old = (config: config, source: source, login: login)
        (config, source) = (new, newSource)
        if old.source.seeds != source.seeds || old.config.dnsRefresh != new.dnsRefresh {
            configured = ConfiguredAddresses(
                source.seeds, refresh: new.dnsRefresh, most: ClusterSource.mostSeeds)
        }
        tracker.configure(
            refreshInterval: source.refresh, mostNodes: source.maxNodes, now: ClusterWatch.now)
        guard phase == .running else { return }
        // Names that are not looked up yet stand for nothing: what they stood for stays until then.
        if !configured.addresses.isEmpty {
            tracker.setSeeds(configured.addresses, now: ClusterWatch.now)
        }
        if old.login != login { renewLinks() }
        timer?.start(after: 0)
    }

    /// A worker has seen something. What follows happens in a later iteration.
    func take(_ sign: ClusterSign.Kind) {
        guard phase == .running else { return }
        signs.add(sign)
        timer?.start(at: signs.dueAt)
    }

    // MARK: Turning

    static var now: MonotonicTime { MonotonicTime(nanoseconds: EventLoop.now()) }

    var login: WatcherLogin {
        WatcherLogin(
            username: config.username, password: config.password, tls: config.upstreamTLS)
    }

    fileprivate func tick() {
        guard phase == .running else { return }
        takeSigns()
        endLateQuestions()
        logHeldBack()
        tracker.tick(now: ClusterWatch.now)
        pump()
    }

    private func takeSigns() {
        let now = ClusterWatch.now
        guard let taken = signs.take(now: now.nanoseconds) else { return }
        if !taken.moved.isEmpty {
            tracker.moved(taken.moved.filter { refusal(of: $1) == nil }, now: now)
        }
        for (address, isConnected) in taken.nodes {
            if isConnected {
                tracker.connected(address, now: now)
            } else {
                tracker.lost(address, now: now)
            }
        }
        if taken.isDown { tracker.clusterDown(now: now) }
    }

    /// Carries out what the tracker wants, and sets the timer. Events that this brings about come
    /// here again; what they want is carried out by the first call.
    func pump() {
        guard !isPumping, phase == .running else { return }
        isPumping = true
        carryOut()
        isPumping = false
        guard phase == .running else { return }
        lookUpNames()
        closeSurplusLinks()
        forgetNotes()
        tellIfUnknown()
        timer?.start(at: nextDeadline)
    }

    /// Of several maps only the last one is published.
    private func carryOut() {
        var map: SlotMap?
        while phase == .running, let action = tracker.nextAction() {
            switch action {
            case .ask(let address): ask(address)
            case .publish(let made): map = made
            }
        }
        guard phase == .running, let map else { return }
        unknown = nil
        noteMap(map)
        handler?.published(map)
    }

    private var nextDeadline: Int64 {
        var next = min(tracker.nextDeadline.nanoseconds, signs.dueAt, history.dueAt)
        if let due = configured.nextDue(isSearching: isSearching) { next = min(next, due) }
        for link in links.values where link.isAsked {
            next = min(next, link.askedAt + config.connectTimeout)
        }
        if let unknown {
            let told = unknown.toldAt + ClusterWatch.unknownInterval
            next = min(next, max(told, unknown.since + ClusterWatch.patience))
        }
        return next
    }

    private func tellIfUnknown() {
        let now = EventLoop.now()
        guard let unknown, now - unknown.toldAt >= ClusterWatch.unknownInterval else { return }
        let addresses = configured.addresses
        let haveFailed =
            addresses.allSatisfy { notes[$0].map { !$0.error.isEmpty } ?? false }
            && configured.problems.allSatisfy { $0.text != nil }
        guard haveFailed || now - unknown.since >= ClusterWatch.patience else { return }
        self.unknown?.toldAt = now
        warnUnknown()
        handler?.unknown(report.problem)
    }

    /// Nothing is known that could be asked, so names are looked up often.
    var isSearching: Bool {
        tracker.map == nil || notes.values.allSatisfy { !$0.error.isEmpty }
    }

    // MARK: Questions

    private func ask(_ address: NodeAddress) {
        let now = EventLoop.now()
        if let link = links[address], !link.isAsked { return link.ask(at: now) }
        links[address]?.close()
        begin(ClusterLink(address, askedAt: now, owner: self))
    }

    func begin(_ link: ClusterLink) {
        links[link.address] = link
        link.begin(
            host: configured.name(of: link.address), login: login, loop: loop, names: names)
    }

    private func renewLinks() {
        for link in links.values {
            link.close()
            links[link.address] = nil
            guard link.isAsked else { continue }
            begin(ClusterLink(link.address, askedAt: link.askedAt, owner: self))
        }
    }

    private func endLateQuestions() {
        let now = EventLoop.now()
        for link in links.values
        where link.isAsked && now - link.askedAt >= config.connectTimeout {
            let text = link.lateText
            link.close()
            unanswered(link, text)
        }
    }

    /// Those that were asked last stay.
    private func closeSurplusLinks() {
        let kept = links.values.filter { !$0.isAsked }.sorted { $0.askedAt > $1.askedAt }
        for link in kept.dropFirst(ClusterWatch.mostKept) {
            link.close()
            links[link.address] = nil
        }
    }
}

/// What workers have seen since the last look. MOVED comes by the thousand when a node has given
/// its slots away: there is one map for all that is said in a moment.
struct ClusterSigns {
    /// Which address serves a slot now.
    private(set) var moved: [UInt16: NodeAddress] = [:]
    /// Nodes to which a connection was made, or the last one lost.
    private(set) var nodes: [NodeAddress: Bool] = [:]
    /// A node has said that the cluster is down.
    private(set) var isDown = false
    private var takenAt = Int64.min / 2

    private static let interval = Int64.milliseconds(10)

    mutating func add(_ sign: ClusterSign.Kind) {
        switch sign {
        case .moved(let slot, let address): moved[slot] = address
        case .lost(let address): nodes[address] = false
        case .connected(let address): nodes[address] = true
        case .clusterDown: isDown = true
        }
    }

    private var isEmpty: Bool { moved.isEmpty && nodes.isEmpty && !isDown }

    /// When `take` has something; `.max` for never.
    var dueAt: Int64 { isEmpty ? .max : takenAt + ClusterSigns.interval }

    /// What has been added, if it is time.
    mutating func take(now: Int64) -> ClusterSigns? {
        guard dueAt <= now else { return nil }
        let taken = self
        self = ClusterSigns()
        takenAt = now
        return taken
    }
}

private func watchTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ClusterWatch>.fromOpaque(owner).takeUnretainedValue().tick()
}
