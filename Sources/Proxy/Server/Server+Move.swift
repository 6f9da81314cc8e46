// The pool moves to another server: what happens to the connections to the old one, and to what is
// known of it.

import Config
import Pool
import Session

extension Server {
    /// No connection of the present server is ready yet.
    var isUnmet: Bool { !processes.isMet || machine.census.connected == 0 }

    /// No new work goes to the present connections. Idle ones close, others when what is in flight
    /// is answered, the last ones at `deadline`.
    func depart(by deadline: MonotonicTime) {
        for upstream in allUpstreams { upstream.depart(by: deadline) }
        if let ticket = scripts.asking?.ticket {
            machine.cancel(ticket)
            endScriptQuestion()
        }
        endCheck { _ in true }
    }

    /// Another server is dialled from now on. Nothing is known of it.
    func move() {
        let dials = names.takeWaiting()
        names = NameResolution(pool.config.upstream, refresh: pool.config.dnsRefresh)
        tls = pool.config.upstreamTLS.map { ServerTLS($0) }
        processes = Processes(epoch: processes.epoch &+ 1)
        facts = ServerFacts()
        scripts.forget()
        fences = FenceForms()
        largestReply = LargestReply()
        looks = Looks()
        failures = ServerFailures()
        machine.move(warmKey: pool.warmKey, now: worker.now)
        followConfig()
        for (id, key) in dials { dial(id, key) }
        // Clients that wait for a connection of the old server look again.
        wakeAwaitingReturn(.max)
    }
}

extension UpstreamConnection {
    /// The server's id of this connection, for commands to the present server; nil while the id
    /// could be that of another server.
    var knownServerID: Int64? {
        origin.departsBy == nil && !pool.isMoving ? origin.serverID : nil
    }

    fileprivate func depart(by deadline: MonotonicTime) {
        guard origin.departsBy == nil, stage != .closing, stage != .closed else { return }
        origin.departsBy = deadline
        if case .prepare(let client) = handshake.purpose, stage == .handshaking {
            // No command of the client itself has been sent yet.
            handshake = Handshake()
            abandon()
            client.sendAgain([])
            server.machine.retire(id, .configChanged, now: worker.now)
            return
        }
        if isShared {
            gauge = .leaving
            server.machine.setMost(id, 1)
        }
        retireWhenFree(.configChanged)
    }
}
