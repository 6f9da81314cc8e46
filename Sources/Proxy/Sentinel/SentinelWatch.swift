// Follows the primary of one pool by what its Sentinels say. `SentinelTracker` decides; this class
// carries out what it wants, on one event loop. In the files beside this one:
//
//   +Events   what Sentinels, servers and names say
//   +Report   what is logged and reported

import Config
import EventLoop
import Logging
import Pool
import Telemetry
import Topology

/// Who uses the primary. Calls come from the loop, never from within a call of `SentinelWatch`.
protocol SentinelWatchHandler: AnyObject {
    /// Dial this server from now on. If another one was the primary, `left` for it has come before,
    /// in the same iteration.
    func adopted(_ primary: SentinelPrimary)
    /// Take all connections to this server out of use: it is the primary no longer, or says so
    /// itself. It may be adopted again.
    func left(_ node: NodeAddress)
    /// These are the primary's replicas from now on.
    func named(replicas: [NodeAddress])
    /// There is no primary: each Sentinel has failed or names none; or the last primary was left a
    /// second ago, and nobody names another. Called again, twice a second at most, while that
    /// lasts. The text is for clients' errors.
    func unknown(_ problem: String)
}

/// A sign that the primary may be none any more.
enum PrimaryTrouble: Hashable {
    /// It has answered READONLY.
    case readOnly
    /// The last connection to it is lost.
    case lost
    /// It has said in ROLE, in the handshake of a dial, that it is something else.
    case wrongRole
    /// It could not be connected.
    case dialFailed
}

/// The Sentinels of a pool. All calls are made on the loop's thread.
final class SentinelWatch {
    let loop: EventLoop
    let log: Logger
    var config: PoolConfig
    var source: SentinelSource
    var tracker: SentinelTracker
    var configured: ConfiguredAddresses
    let names: NameLookup
    weak var handler: (any SentinelWatchHandler)?
    var links: [SentinelID: SentinelLink] = [:]
    var probes: [NodeAddress: RoleProbe] = [:]
    /// What is remembered of each watched Sentinel; it is dropped with the Sentinel.
    var notes: [SentinelID: SentinelNote] = [:]
    var history = FailoverHistory()
    var limiter = RateLimiter()
    private var troubles: Set<PrimaryTrouble> = []
    private var phase = Phase.new
    private var isPumping = false
    /// Since when there is no primary, and when the handler was last told why; nil with a primary.
    private var unknown: (since: Int64, toldAt: Int64)?
    private var timer: Timer?

    private enum Phase { case new, running, stopped }

    /// Nil for a pool without Sentinels, and when the system has no descriptors left.
    init?(
        loop: EventLoop, config: PoolConfig, log: Logger, names: NameLookup? = nil,
        handler: any SentinelWatchHandler
    ) {
        guard let source = config.sentinels, let names = names ?? NameLookup(loop: loop) else {
            return nil
        }
        self.loop = loop
        self.log = log
        self.config = config
        self.source = source
        self.names = names
        self.handler = handler
        configured = ConfiguredAddresses(
            source.addresses, refresh: config.dnsRefresh, most: SentinelSource.most)
        tracker = SentinelTracker(config, sentinels: [])
        timer = Timer(
            loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(), callback: watchTimer)
    }

    /// Begins to ask. The handler hears of it in a later iteration.
    func start() {
        guard phase == .new else { return }
        phase = .running
        unknown = (EventLoop.now(), .min / 2)
        tracker.wantReplicas(config.reads != .primary, now: SentinelWatch.now)
        tracker.setSentinels(configured.addresses, now: SentinelWatch.now)
        wake()
    }

    /// Goes on with a primary that Sentinels have named to a former program. The handler is not
    /// told. Nil if the claim names no server.
    func resume(_ claim: PrimaryClaim) -> SentinelPrimary? {
        guard let address = UpstreamAddress(claim.address) else { return nil }
        let primary = SentinelPrimary(
            node: claim.address, address: address, epoch: claim.epoch, since: wallClock())
        tracker.resume(claim)
        _ = history.adopt(primary, now: SentinelWatch.now)
        unknown = nil
        return primary
    }

    /// Closes all connections. Nothing is said to the handler any more.
    func stop() {
        phase = .stopped
        closeAll()
        notes = [:]
        timer?.start(at: .max)
    }

    /// Puts another configuration of the pool into force. A primary of another name is looked for
    /// from nothing, so `primary` is nil until it is adopted; otherwise the primary stays.
    func reconfigure(_ new: PoolConfig) {
        guard phase != .stopped, let newSource = new.sentinels else { return }
        let old = (config: config, source: source)
        (config, source) = (new, newSource)
        if old.source.addresses != source.addresses || old.config.dnsRefresh != new.dnsRefresh {
            configured = ConfiguredAddresses(
                source.addresses, refresh: new.dnsRefresh, most: SentinelSource.most)
        }
        if old.source.primaryName != source.primaryName {
            closeAll()
            notes = [:]
            history = FailoverHistory()
            unknown = (EventLoop.now(), .min / 2)
            tracker = SentinelTracker(new, sentinels: [])
        }
        guard phase == .running else { return }
        tracker.wantReplicas(new.reads != .primary, now: SentinelWatch.now)
        // Names that are not looked up yet stand for nothing: what is watched stays until then.
        if !configured.addresses.isEmpty {
            tracker.setSentinels(configured.addresses, now: SentinelWatch.now)
        }
        let isSameLogin =
            old.source.username == source.username && old.source.password == source.password
            && old.source.tls == source.tls
        if !isSameLogin {
            for link in links.values { link.close() }
            links = [:]
            tracker.reconnect(now: SentinelWatch.now)
        }
        wake()
    }

    /// Something is wrong with a server. It counts if that is the primary. What follows happens in
    /// a later iteration, at once.
    func trouble(_ trouble: PrimaryTrouble, at node: NodeAddress) {
        guard phase == .running, node == history.primary?.node else { return }
        troubles.insert(trouble)
        wake()
    }

    /// The primary that was adopted last; nil before the first one.
    var primary: SentinelPrimary? { history.primary }

    // MARK: Turning

    static var now: MonotonicTime { MonotonicTime(nanoseconds: EventLoop.now()) }

    private func wake() { timer?.start(after: 0) }

    private func closeAll() {
        for link in links.values { link.close() }
        for probe in probes.values { probe.close() }
        links = [:]
        probes = [:]
        troubles = []
    }

    fileprivate func tick() {
        guard phase == .running else { return }
        for trouble in troubles { take(trouble) }
        troubles = []
        endLateProbes()
        logHeldBack()
        tracker.tick(now: SentinelWatch.now)
        pump()
    }

    private func take(_ trouble: PrimaryTrouble) {
        guard let node = history.primary?.node else { return }
        let now = SentinelWatch.now
        switch trouble {
        case .readOnly:
            history.note(.readonly, now: now, isQuiet: tracker.isSettled)
            tracker.doubt(node, now: now)
        case .lost:
            history.note(.lost, now: now, isQuiet: tracker.isSettled)
            tracker.doubt(node, now: now)
        case .wrongRole:
            history.note(.role, now: now, isQuiet: tracker.isSettled)
            tracker.role(.other, of: node, now: now)
        case .dialFailed:
            history.note(.dial, now: now, isQuiet: tracker.isSettled)
            tracker.role(nil, of: node, now: now)
        }
    }

    /// Carries out what the tracker wants, and sets the timer. Events that this brings about come
    /// here again; what they want is carried out by the first call.
    func pump() {
        guard !isPumping, phase == .running else { return }
        isPumping = true
        while phase == .running, let action = tracker.nextAction() { carryOut(action) }
        isPumping = false
        guard phase == .running else { return }
        lookUpNames()
        forgetNotes()
        tellIfUnknown()
        var next = tracker.nextDeadline.nanoseconds
        if let due = configured.nextDue(isSearching: isSearching) { next = min(next, due) }
        // The handler may have told of trouble meanwhile.
        timer?.start(at: troubles.isEmpty ? next : 0)
    }

    private func tellIfUnknown() {
        let now = EventLoop.now()
        guard let unknown, now - unknown.toldAt >= SentinelWatch.unknownInterval else { return }
        let report = report
        let hasWaited = now - unknown.since >= SentinelWatch.patience
        guard report.sentinels.allSatisfy({ !$0.error.isEmpty }) || hasWaited else { return }
        self.unknown?.toldAt = now
        handler?.unknown(report.problem)
    }

    private static let unknownInterval = Int64.milliseconds(500)
    /// How long a failover may take before clients are told that there is no primary.
    private static let patience = Int64.seconds(1)

    /// No primary is known for sure.
    var isSearching: Bool { !tracker.isSettled || tracker.connectedSentinels == 0 }

    private func carryOut(_ action: SentinelAction) {
        switch action {
        case .connect(let id, let address): connect(id, address)
        case .ask(let id): links[id]?.ask(withReplicas: tracker.wantsReplicas)
        case .close(let id): close(id)
        case .verify(let address): verify(address)
        case .leave(let address):
            unknown = (EventLoop.now(), .min / 2)
            handler?.left(address)
        case .adopt(let claim):
            unknown = nil
            adopt(claim)
        case .replicas(let addresses):
            tell(ofReplicas: addresses)
            handler?.named(replicas: addresses)
        }
    }

    private func connect(_ id: SentinelID, _ address: NodeAddress) {
        links[id]?.close()
        let link = SentinelLink(id, address, name: source.primaryName, owner: self)
        links[id] = link
        link.begin(
            host: configured.name(of: address),
            login: WatcherLogin(
                username: source.username, password: source.password, tls: source.tls),
            loop: loop, names: names)
    }

    /// The tracker has given a connection up: the Sentinel is not watched any more, or is late.
    private func close(_ id: SentinelID) {
        guard let link = links.removeValue(forKey: id) else { return }
        if tracker.views.contains(where: { $0.id == id }) { noteLost(link, link.lateText) }
        link.close()
    }

    private func verify(_ address: NodeAddress) {
        probes[address]?.close()
        let probe = RoleProbe(address, began: EventLoop.now(), owner: self)
        probes[address] = probe
        probe.begin(
            login: WatcherLogin(
                username: config.username, password: config.password, tls: config.upstreamTLS),
            loop: loop, names: names)
    }

    /// The tracker has counted them as unreachable by itself.
    private func endLateProbes() {
        let now = EventLoop.now()
        for (address, probe) in probes where now - probe.began >= tracker.answerTimeout {
            probe.close()
            probes[address] = nil
        }
    }
}

extension SentinelTracker {
    fileprivate init(_ config: PoolConfig, sentinels: [NodeAddress]) {
        self.init(
            sentinels: sentinels, answerTimeout: config.connectTimeout,
            seed: UInt64.random(in: .min ... .max), now: SentinelWatch.now)
    }
}

private func watchTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<SentinelWatch>.fromOpaque(owner).takeUnretainedValue().tick()
}
