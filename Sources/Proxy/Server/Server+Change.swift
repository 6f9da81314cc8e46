// What a pool knows of its server, and what becomes of that when another one answers.

import Config
import Logging
import Pool
import RESP

/// The processes that have answered at one address, as their `run_id`s tell them apart.
struct Processes {
    /// Grows with every process that answers: what a connection to an earlier one says is not noted.
    var epoch = 0
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
    /// Another process answers, or may: what its predecessor accepted says nothing about it.
    func forgetServer() {
        processes.epoch &+= 1
        pool.knownKeys.forgetAll()
        pool.unknownCommands = UnknownCommands()
        scripts.forget()
        fences = FenceForms()
        pool.isPaused = false
        machine.allowConversions()
    }

    /// The server has refused to move a connection of this user. If he has no right to it, the same
    /// is not tried with the next one.
    func conversionRefused(to user: UInt32, isForbidden: Bool) {
        guard isForbidden else { return pool.knownKeys.forgetAll() }
        let until = worker.now + looks.interval
        machine.refuseConversions(of: user, until: until, now: worker.now)
        pool.knownKeys.forget(user)
    }

    /// A new connection has reached another server than those before it: no client is to be served
    /// by both.
    func serverChanged(to newest: UpstreamConnection, _ runID: [UInt8]) {
        if noteServer(runID) { return }
        for upstream in allUpstreams where upstream !== newest && upstream.stage == .ready {
            upstream.retireWhenFree(.serverChanged)
        }
        worker.log.notice(
            "another server answers at \(pool.config.upstream)",
            metadata: ["event": "pool.server_changed", "pool": "\(pool.config.name)"])
    }

    /// True when the server has been here before: then several answer by turns, and connections to
    /// the others are as good as this one.
    private func noteServer(_ runID: [UInt8]) -> Bool {
        if processes.former.contains(runID), !processes.areSeveral {
            processes.areSeveral = true
            worker.log.warning(
                "several servers answer at \(pool.config.upstream) by turns: scripts run alone",
                metadata: ["event": "pool.several_servers", "pool": "\(pool.config.name)"])
        }
        looks.otherServerSeen = worker.now
        if let last = facts.runID { processes.former.append(last) }
        if processes.former.count > Server.mostFormer { processes.former.removeFirst() }
        return processes.areSeveral
    }

    private static let mostFormer = 16

    /// Called with every tick: what may have changed, and nobody has noticed.
    func lookAtServer() {
        judgeSeveralServers()
        checkUsers()
    }

    /// The address leads to one server again when no other has answered for
    /// a while and every connection is to the present one. The next other one is noticed before
    /// its connection is used.
    private func judgeSeveralServers() {
        guard processes.areSeveral, worker.now - looks.otherServerSeen >= looks.interval,
            let present = facts.runID
        else { return }
        // What has not said yet where it leads is judged when it does.
        let known = allUpstreams.filter { $0.stage == .ready || $0.origin.runID != nil }
        guard known.allSatisfy({ $0.origin.runID == present }) else { return }
        for upstream in known { upstream.origin.epoch = processes.epoch }
        processes.areSeveral = false
        worker.log.notice(
            "one server answers at \(pool.config.upstream) again",
            metadata: ["event": "pool.one_server", "pool": "\(pool.config.name)"])
    }

    /// Keeps the PING interval below a third of the server's own idle timeout.
    func learn(_ facts: ServerFacts) {
        let isOtherLimit = facts.outputLimit != self.facts.outputLimit
        self.facts = facts
        if isOtherLimit {
            for upstream in allUpstreams { upstream.startGauge() }
        }
        var interval = pool.config.pingInterval
        if let timeout = facts.timeoutSeconds, timeout > 0 {
            let third = Int64.seconds(timeout) / 3
            interval = interval == 0 ? third : min(interval, third)
        }
        machine.setPingInterval(interval)
        looks.setInterval(interval)
    }

    /// The answers to what an idle connection is asked are old.
    var mayLookAgain: Bool { worker.now - looks.lastAsked >= Looks.least }

    /// A reply suggests that the server has changed its role. The name is looked up again, and the
    /// connection that said so is retired: not more than one a second, because a client that keeps
    /// writing to a replica must not cost a connection each time.
    func failoverSign(_ upstream: UpstreamConnection) {
        guard worker.now - lastSign >= 1_000_000_000 else { return }
        lastSign = worker.now
        upstream.retireWhenFree(.failoverSign)
        names.resolve(self)
    }
}
