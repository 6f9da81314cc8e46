import Pool
import Testing
import Topology

/// A tracker with a clock of its own, so that a test reads as a script: an event, and the actions
/// that it brings about.
final class SentinelScript {
    private var tracker: SentinelTracker
    private(set) var now = MonotonicTime(nanoseconds: .seconds(1000))

    /// `count` Sentinels are configured. Those of `connected` are connected and asked.
    init(_ count: Int, connected: ClosedRange<UInt32>? = nil) {
        tracker = SentinelTracker(
            sentinels: (0..<count).map { .test(2, $0 + 1) }, now: now)
        for raw in connected.map(Array.init) ?? [] { self.connected(raw) }
        _ = actions()
    }

    /// All Sentinels have named this primary, it has said that it is one, and all is quiet.
    static func settled(_ count: Int, on number: Int, epoch: Int64 = 1) -> SentinelScript {
        let script = SentinelScript(count, connected: 1...UInt32(count))
        for raw in 1...UInt32(count) { script.answer(raw, claim(number, epoch)) }
        script.role(.primary, number)
        let all = (1...UInt32(count)).map { ($0, claim(number, epoch)) }
        script.pass(.milliseconds(600), Dictionary(uniqueKeysWithValues: all))
        return script
    }

    func connected(_ raw: UInt32) { tracker.connected(SentinelID(raw: raw), now: now) }
    func disconnected(_ raw: UInt32) { tracker.disconnected(SentinelID(raw: raw), now: now) }
    func answer(
        _ raw: UInt32, _ claim: PrimaryClaim?, runID: String? = nil, peers: [SentinelPeer] = [],
        replicas: SentinelReplicas? = nil
    ) {
        let answer = SentinelAnswer(
            claim: claim, runID: runID.map { Array($0.utf8) }, peers: peers, replicas: replicas)
        tracker.answered(SentinelID(raw: raw), answer, now: now)
    }
    func message(_ message: SentinelMessage, _ raw: UInt32) {
        tracker.received(message, from: SentinelID(raw: raw), now: now)
    }
    func role(_ role: ServerRole?, _ number: Int) {
        tracker.role(role, of: .test(1, number), now: now)
    }
    func wantReplicas(_ wanted: Bool) { tracker.wantReplicas(wanted, now: now) }
    func reconnect() { tracker.reconnect(now: now) }
    func doubt(_ number: Int) { tracker.doubt(.test(1, number), now: now) }
    func setSentinels(_ numbers: [Int]) {
        tracker.setSentinels(numbers.map { .test(2, $0) }, now: now)
    }

    /// Time passes, with a tick at each deadline. Sentinels with an answer here give it when they
    /// are asked; those without one give none. Returns what else was wanted.
    @discardableResult
    func pass(
        _ duration: Int64, _ answers: [UInt32: PrimaryClaim] = [:]
    ) -> [SentinelAction] {
        let end = now + duration
        var others: [SentinelAction] = []
        while true {
            for action in actions() {
                if case .ask(let id) = action, let claim = answers[id.raw] {
                    tracker.answered(id, SentinelAnswer(claim: claim), now: now)
                } else {
                    others.append(action)
                }
            }
            if now >= end { return others }
            now = min(max(tracker.nextDeadline, now + 1), end)
            tracker.tick(now: now)
        }
    }

    /// Everything that is wanted since the last call of this.
    func actions() -> [SentinelAction] {
        var actions: [SentinelAction] = []
        while let action = tracker.nextAction() { actions.append(action) }
        return actions
    }

    var primary: PrimaryClaim? { tracker.primary }
    var isVerified: Bool { tracker.isVerified }
    var isSettled: Bool { tracker.isSettled }
    var replicas: [NodeAddress] { tracker.replicas }
    var known: [NodeAddress] { tracker.known }
    var connectedSentinels: Int { tracker.connectedSentinels }
}

/// The server with this number is the primary, says a configuration with this epoch.
func claim(_ number: Int, _ epoch: Int64) -> PrimaryClaim {
    PrimaryClaim(address: .test(1, number), epoch: epoch)
}

func ask(_ raw: UInt32) -> SentinelAction { .ask(SentinelID(raw: raw)) }
