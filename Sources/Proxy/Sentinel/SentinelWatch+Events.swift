// What Sentinels, servers and names say to a `SentinelWatch`.

import Config
import EventLoop
import Pool
import Telemetry
import Topology

extension SentinelWatch: SentinelLinkOwner {
    func up(_ link: SentinelLink) {
        guard links[link.id] === link else { return }
        noteBack(link)
        tracker.connected(link.id, now: SentinelWatch.now)
        pump()
    }

    func answered(_ link: SentinelLink, _ answer: SentinelAnswer, errors: SentinelErrors) {
        guard links[link.id] === link else { return }
        let now = SentinelWatch.now
        var answer = answer
        var problem = errors.first
        if let claim = answer.claim, let refusal = refusal(of: claim.address) {
            answer.claim = nil
            problem = refusal
        }
        answer.replicas?.up.removeAll { refusal(of: $0) != nil }
        if answer.claim == nil, problem == nil { problem = "it names no primary" }
        noteAnswer(link, problem: answer.claim == nil ? problem : nil)
        let isSilent = tracker.wantsReplicas && answer.claim != nil && answer.replicas == nil
        noteReplicas(
            link,
            problem: isSilent ? errors.last.map { "SENTINEL REPLICAS: \($0)" } : nil)
        if let claim = answer.claim, let primary, claim.address != primary.node {
            history.note(.answer, now: now, isQuiet: tracker.isSettled)
        }
        tracker.answered(link.id, answer, now: now)
        pump()
    }

    func told(_ link: SentinelLink, _ message: SentinelMessage) {
        guard links[link.id] === link else { return }
        let now = SentinelWatch.now
        if message == .switched { history.note(.message, now: now, isQuiet: tracker.isSettled) }
        tracker.received(message, from: link.id, now: now)
        pump()
    }

    func failed(_ link: SentinelLink, _ text: String) {
        guard links[link.id] === link else { return }
        links[link.id] = nil
        tracker.disconnected(link.id, now: SentinelWatch.now)
        noteLost(link, text)
        pump()
    }

    /// Why an address is not taken for that of a server.
    private func refusal(of node: NodeAddress) -> String? {
        guard let address = UpstreamAddress(node) else {
            return "it names \(node), which is no address"
        }
        // Redpool would connect to itself.
        guard config.listen.contains(where: { $0.isReached(by: address) }) else { return nil }
        return "it names \(node), where this pool listens"
    }
}

extension SentinelWatch: RoleProbeOwner {
    func probed(_ probe: RoleProbe, _ result: Result<ServerRole, RoleProbe.Problem>) {
        guard probes[probe.address] === probe else { return }
        probes[probe.address] = nil
        let role: ServerRole?
        switch result {
        case .success(let found): role = found
        case .failure(let problem):
            // Nobody can ask it, so the Sentinels' word stands alone for the present primary. A
            // claim that needs a proof gets none.
            let isPresent = probe.address == tracker.primary?.address
            role = problem.isRefusal && isPresent ? .primary : nil
            if problem.isRefusal { noteRefusal(of: probe.address, problem.text) }
        }
        tracker.role(role, of: probe.address, now: SentinelWatch.now)
        pump()
    }
}

extension SentinelWatch {
    func adopt(_ claim: PrimaryClaim) {
        // `refusal` has let no other address pass.
        guard let address = UpstreamAddress(claim.address) else { return }
        let primary = SentinelPrimary(
            node: claim.address, address: address, epoch: claim.epoch, since: wallClock())
        let failover = history.adopt(primary, now: SentinelWatch.now)
        tell(of: primary, failover)
        handler?.adopted(primary)
    }

    /// Looks names up that are due.
    func lookUpNames() {
        for question in configured.due(now: EventLoop.now(), isSearching: isSearching) {
            names.ask(question) { [weak self] in self?.found($0, question) }
        }
    }

    private func found(_ answer: NameAnswer, _ question: NameLookup.Question) {
        configured.take(answer, to: question)
        let addresses = configured.addresses
        if !addresses.isEmpty { tracker.setSentinels(addresses, now: SentinelWatch.now) }
        pump()
    }
}

extension UpstreamAddress {
    /// An address that a Sentinel names; nil for what is none.
    init?(_ node: NodeAddress) {
        self.init(host: node.hostText, port: node.port)
    }
}

/// Which primaries there have been.
struct FailoverHistory {
    private(set) var primary: SentinelPrimary?
    private(set) var failovers: UInt64 = 0
    private(set) var last: SentinelFailover?
    /// What was noticed first since the primary was adopted or all was well.
    private var sign: (kind: SentinelFailover.Sign, at: MonotonicTime)?

    /// After this time in which all was well, a sign is forgotten.
    private static let memory = Int64.seconds(5)

    /// A sign that a failover is coming. `isQuiet`: until now there was nothing to find out.
    mutating func note(_ kind: SentinelFailover.Sign, now: MonotonicTime, isQuiet: Bool) {
        if let sign, !isQuiet || now - sign.at < FailoverHistory.memory { return }
        sign = (kind, now)
    }

    /// Returns the failover; nil for the first primary, and for one that was left and is back.
    mutating func adopt(_ new: SentinelPrimary, now: MonotonicTime) -> SentinelFailover? {
        defer {
            primary = new
            sign = nil
        }
        guard let primary, primary.node != new.node else { return nil }
        failovers += 1
        let failover = SentinelFailover(
            old: primary.node, new: new.node, epoch: new.epoch, at: new.since,
            duration: sign.map { now - $0.at } ?? 0, sign: sign?.kind ?? .answer)
        last = failover
        return failover
    }
}
