// What a pool knows about its server, and what changes when another server answers.

import Config
import Logging
import Pool
import RESP

/// The processes that have answered at one address, as their `run_id`s tell them apart.
struct Processes {
    /// Grows with every process that answers: replies of an earlier one teach nothing.
    var epoch = 0
    /// A connection of the present server has been ready.
    var isMet = false
    /// The `run_id`s of processes before the present one, the latest last.
    var former: [[UInt8]] = []
    /// The address leads to several servers by turns: nothing that is said of one holds for all.
    var areSeveral = false
    /// Connections whose server was too busy to say who it is.
    var unidentified: [UpstreamID] = []
    /// When they were last replaced.
    var lastReplacement = MonotonicTime(nanoseconds: 0)
}

extension Server {
    /// The server has said on a connection who it is.
    func noteAnswered() {
        processes.isMet = true
        tellConnected()
        if self === pool.primary { pool.logUp() }
    }

    /// Another process answers, or may answer. What the previous one accepted does not apply to it.
    /// `runID` is the new one's, if it is known.
    func forgetServer(_ runID: [UInt8]?) {
        processes.epoch &+= 1
        doubtReplica()
        pool.knownKeys.forgetAll()
        pool.unknownCommands = UnknownCommands()
        scripts.forget()
        fences = FenceForms()
        pool.judgePause(of: runID)
        machine.allowConversions()
    }

    /// The server has refused to move a connection to this user's state. If the user lacks the
    /// right, no other connection is converted to it for a while.
    func conversionRefused(to user: UInt32, isForbidden: Bool) {
        guard isForbidden else { return pool.knownKeys.forgetAll() }
        let until = worker.now + looks.interval
        machine.refuseConversions(of: user, until: until, now: worker.now)
        pool.knownKeys.forget(user)
    }

    /// A new connection has reached another server than earlier ones. The earlier connections are
    /// retired, so that no client is served by both.
    func serverChanged(to newest: UpstreamConnection, _ runID: [UInt8]) {
        if noteServer(runID) { return }
        for upstream in allUpstreams where upstream !== newest && upstream.stage == .ready {
            upstream.retireWhenFree(.serverChanged)
        }
        worker.log.notice(
            "another server answers at \(place)",
            metadata: ["event": "pool.server_changed", "pool": "\(pool.config.name)"])
    }

    /// Notes a server's `run_id`. True when it is known from before: several servers answer by
    /// turns, and the connections to the others are as good as this one.
    private func noteServer(_ runID: [UInt8]) -> Bool {
        if processes.former.contains(runID), !processes.areSeveral {
            processes.areSeveral = true
            worker.log.warning(
                "several servers answer at \(place) by turns: scripts run alone",
                metadata: ["event": "pool.several_servers", "pool": "\(pool.config.name)"])
        }
        looks.otherServerSeen = worker.now
        if let last = facts.runID { processes.former.append(last) }
        if processes.former.count > Server.mostFormer { processes.former.removeFirst() }
        return processes.areSeveral
    }

    private static let mostFormer = 16

    /// Called with every tick: looks for changes that no reply has shown.
    func lookAtServer() {
        judgeSeveralServers()
        checkUsers()
    }

    /// The address leads to one server again when no other has answered for `looks.interval` and
    /// every connection leads to the present one. If another one answers later, that is noticed
    /// before its connection is used.
    private func judgeSeveralServers() {
        guard processes.areSeveral, worker.now - looks.otherServerSeen >= looks.interval,
            let present = facts.runID
        else { return }
        // A connection that has not yet learnt its server is judged later.
        let known = allUpstreams.filter {
            ($0.stage == .ready || $0.origin.runID != nil) && $0.origin.departure == nil
        }
        guard known.allSatisfy({ $0.origin.runID == present }) else { return }
        for upstream in known { upstream.origin.epoch = processes.epoch }
        processes.areSeveral = false
        worker.log.notice(
            "one server answers at \(place) again",
            metadata: ["event": "pool.one_server", "pool": "\(pool.config.name)"])
    }

    /// Keeps the PING interval below a third of the server's own idle timeout.
    func learn(_ facts: ServerFacts) {
        let isOtherLimit = facts.outputLimit != self.facts.outputLimit
        self.facts = facts
        if isOtherLimit {
            for upstream in allUpstreams { upstream.startGauge() }
        }
        setPingInterval()
    }

    private func setPingInterval() {
        var interval = pool.config.pingInterval
        if let timeout = facts.timeoutSeconds, timeout > 0 {
            let third = Int64.seconds(timeout) / 3
            interval = interval == 0 ? third : min(interval, third)
        }
        machine.setPingInterval(interval)
        looks.setInterval(interval)
    }

    /// The configuration has changed, but for what clients have to move for.
    func followConfig() {
        let limits = pool.config.limits(
            member: pool.member ?? 0, of: pool.group.members.count)
        if limits != machine.limits { machine.setLimits(limits, now: worker.now) }
        setPingInterval()
        names.refresh = pool.config.dnsRefresh
        // Permits that are too many are given up at once.
        share.isTickDue = true
        noteWork()
    }

    /// True when the answers from an idle connection are old enough to ask again.
    var mayLookAgain: Bool { worker.now - looks.lastAsked >= Looks.least }

    /// A reply suggests that the server has changed its role. Every connection leads to the same
    /// server, so all of them are retired, and the name is looked up before the next dial.
    ///
    /// A script can make up READONLY, and a replica may be there on purpose. So hubs stay, as a
    /// subscriber's own connection would, until another server answers (`serverChanged`) or this
    /// one says what it is.
    func failoverSign(_ trouble: PrimaryTrouble) {
        tell(trouble)
        guard departure == nil, looks.roleDoubts.heeds(facts.runID, now: worker.now) else { return }
        replaceAll(.failoverSign, keepsHubs: trouble == .readOnly)
        names.resolve(self)
    }
}
