import Pool
import TestSupport
import Topology

// A world around one tracker: servers that fail over, Sentinels of which some are cut off, late,
// made anew or liars, and a clock. All from one seed. The world keeps its own record of what it has
// told the tracker, and checks every decision against it.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class SentinelWorld {
    /// Whether something can be reached from the tracker.
    enum Reach { case open, refused, silent }

    struct Server {
        let address: NodeAddress
        var isPrimary = false
        var reach = Reach.open
    }

    /// What a Sentinel says that does not know the truth.
    enum Lie: Equatable {
        case claim(PrimaryClaim)
        case nothing
    }

    struct Sentinel {
        let address: NodeAddress
        let runID: [UInt8]
        /// How far in the history it knows.
        var view = 0
        var reach = Reach.open
        var lie: Lie?
        var namesNobody = false
    }

    /// The tracker's connection to an address, and what it was told over it.
    struct Link {
        let address: NodeAddress
        let serial: Int
        var isUp = false
        var hasQuestion = false
        var claim: PrimaryClaim?
        var since: Int64 = 0
        var last: Int64 = 0
        var hasAnswered = false
    }

    enum Event {
        case connected(SentinelID, serial: Int)
        case refused(SentinelID, serial: Int)
        case answer(SentinelID, serial: Int, SentinelAnswer)
        case message(NodeAddress, SentinelMessage)
        case role(NodeAddress)
        case learn(sentinel: Int, view: Int)
        case demote(NodeAddress)
    }

    let seed: UInt64
    /// Nobody lies or is made anew, and a majority learns of a failover soon: then the epoch never
    /// goes back.
    let isHonest: Bool
    var random: SeededRandom
    var now: Int64 = .seconds(1)
    var servers: [Server] = []
    var sentinels: [Sentinel] = []
    var configured: [NodeAddress]
    /// What was true, in order; the last is.
    var history: [PrimaryClaim]
    var tracker: SentinelTracker
    var links: [SentinelID: Link] = [:]
    /// Addresses that have answered since they are watched, and what ROLE has said.
    var roles: [NodeAddress: (ServerRole?, at: Int64)] = [:]
    var pending: [(at: Int64, event: Event)] = []
    var serial = 0
    var adopted: PrimaryClaim?
    /// What is dialled: the address that was adopted, until it is left.
    var used: NodeAddress?
    var decidedAt: Int64 = 0
    var left: Set<NodeAddress> = []
    var steps = 0
    var asks = 0
    var failovers = 0
    var adoptions = 0
    var overrules = 0
    var failure: String?
    var trail: [String] = []

    init(seed: UInt64) {
        self.seed = seed
        isHonest = seed % 3 == 0
        random = SeededRandom(seed: seed)
        for number in 0..<(2 + random.below(3)) {
            servers.append(Server(address: .test(1, number)))
        }
        servers[0].isPrimary = true
        let count = 1 + random.below(5)
        for number in 0..<count {
            let digits = Array("\(1000 + number)".utf8)
            sentinels.append(
                Sentinel(
                    address: .test(2, number),
                    runID: digits + [UInt8](repeating: 0x61, count: 36)))
        }
        history = [PrimaryClaim(address: servers[0].address, epoch: Int64(random.below(3)))]
        configured = sentinels.prefix(1 + random.below(count)).map(\.address)
        tracker = SentinelTracker(
            sentinels: configured, now: MonotonicTime(nanoseconds: now))
    }

    var truth: PrimaryClaim { history[history.count - 1] }

    /// Runs until the tracker was called `count` times, with times of peace between.
    func run(steps count: Int) {
        perform()
        while steps < count, failure == nil {
            for _ in 0..<(20 + random.below(200)) where failure == nil { disturb() }
            makePeace()
        }
    }

    // MARK: The tracker

    func call(
        _ name: @autoclosure () -> String, _ body: (inout SentinelTracker, MonotonicTime) -> Void
    ) {
        guard failure == nil else { return }
        steps += 1
        if trail.count == 60 { trail.removeFirst(30) }
        trail.append("\(now / 1_000_000): \(name())")
        body(&tracker, MonotonicTime(nanoseconds: now))
        perform()
    }

    func perform() {
        let before = adopted
        while failure == nil, let action = tracker.nextAction() {
            trail.append("    \(action)")
            carryOut(action)
        }
        check(before: before)
    }

    private func carryOut(_ action: SentinelAction) {
        switch action {
        case .connect(let id, let address):
            serial += 1
            if links[id]?.isUp == true { fail("connected twice") }
            links[id] = Link(address: address, serial: serial)
            switch reach(of: address) {
            case .open: later(.connected(id, serial: serial))
            case .refused: later(.refused(id, serial: serial))
            case .silent: break
            }
        case .close(let id):
            if links.removeValue(forKey: id) == nil { fail("closed without a connection") }
        case .ask(let id): ask(id)
        case .verify(let address):
            if servers.first(where: { $0.address == address })?.reach != .silent {
                later(.role(address))
            } else {
                roles[address] = (nil, now)
            }
        case .leave(let address):
            if adopted?.address != address { fail("leaves \(address), which is not the primary") }
            left.insert(address)
            used = nil
        case .adopt(let claim): checkAdoption(claim)
        case .replicas(let addresses): fail("names \(addresses), which nobody wants")
        }
    }

    private func ask(_ id: SentinelID) {
        asks += 1
        guard let link = links[id], link.isUp else { return fail("asks without a connection") }
        if link.hasQuestion { return fail("asks twice at once") }
        links[id]?.hasQuestion = true
        guard let index = sentinels.firstIndex(where: { $0.address == link.address }) else {
            return
        }
        switch sentinels[index].reach {
        case .open: later(.answer(id, serial: link.serial, answer(of: index)))
        case .refused: later(.refused(id, serial: link.serial))
        case .silent: break
        }
    }

    private func answer(of index: Int) -> SentinelAnswer {
        var claim: PrimaryClaim? = history[min(sentinels[index].view, history.count - 1)]
        switch sentinels[index].lie {
        case .claim(let lie): claim = lie
        case .nothing: claim = nil
        case nil: break
        }
        var peers = sentinels.indices.filter { $0 != index }.map {
            SentinelPeer(address: sentinels[$0].address, runID: sentinels[$0].runID)
        }
        if sentinels[index].namesNobody { peers = [] }
        if sentinels[index].lie != nil {
            peers.append(SentinelPeer(address: .test(3, index), runID: sentinels[index].runID))
        }
        return SentinelAnswer(claim: claim, runID: sentinels[index].runID, peers: peers)
    }

    func reach(of address: NodeAddress) -> Reach {
        sentinels.first { $0.address == address }?.reach ?? .refused
    }

    func later(_ event: Event, by longest: Int64 = .milliseconds(30)) {
        pending.append((now + 1 + Int64(random.below(Int(longest))), event))
    }

    // MARK: Time

    /// Lets time pass; events come in the order of their times, ticks at the deadlines.
    func advance(_ duration: Int64) {
        let end = now + duration
        while failure == nil {
            let deadline = tracker.nextDeadline.nanoseconds
            let next = pending.indices.min { pending[$0].at < pending[$1].at }
            let eventAt = next.map { pending[$0].at } ?? .max
            guard min(deadline, eventAt) <= end else { break }
            if let next, eventAt <= deadline {
                now = max(now, eventAt)
                happen(pending.remove(at: next).event)
            } else {
                // A deadline that stays is a loop without an end.
                now = max(now + 1, deadline)
                call("tick") { $0.tick(now: $1) }
            }
        }
        now = max(now, end)
    }

    private func happen(_ event: Event) {
        switch event {
        case .connected(let id, let serial) where links[id]?.serial == serial:
            links[id]?.isUp = true
            call("connected \(id.raw)") { $0.connected(id, now: $1) }
        case .refused(let id, let serial) where links[id]?.serial == serial:
            links[id] = nil
            call("disconnected \(id.raw)") { $0.disconnected(id, now: $1) }
        case .answer(let id, let serial, let answer) where links[id]?.serial == serial:
            deliver(answer, to: id)
        case .message(let address, let message):
            for (id, link) in links where link.address == address && link.isUp {
                call("\(message) from \(id.raw)") { $0.received(message, from: id, now: $1) }
            }
        case .role(let address):
            let server = servers.first { $0.address == address && $0.reach == .open }
            let role: ServerRole? = server.map { $0.isPrimary ? .primary : .other }
            roles[address] = (role, now)
            call("role \(address.port) \(role as Any)") { $0.role(role, of: address, now: $1) }
        case .learn(let index, let view):
            guard sentinels[index].view < view else { return }
            sentinels[index].view = min(view, history.count - 1)
            if sentinels[index].reach == .open {
                later(.message(sentinels[index].address, .switched), by: .milliseconds(5))
            }
        case .demote(let address):
            for index in servers.indices where servers[index].address == address {
                servers[index].isPrimary = truth.address == address
            }
        default: break
        }
    }

    private func deliver(_ answer: SentinelAnswer, to id: SentinelID) {
        guard var link = links[id] else { return }
        link.hasQuestion = false
        link.hasAnswered = true
        link.last = now
        if link.claim != answer.claim {
            link.claim = answer.claim
            link.since = now
        }
        links[id] = link
        call("answer of \(id.raw): \(answer.claim as Any)") { $0.answered(id, answer, now: $1) }
    }

    func fail(_ what: String) {
        guard failure == nil else { return }
        failure = "seed \(seed), step \(steps): \(what)\n" + trail.joined(separator: "\n")
    }
}
