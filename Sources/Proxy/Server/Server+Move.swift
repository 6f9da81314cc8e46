// A server is left: because the pool's configuration names another one, or because another one has
// become the primary. What happens to the connections, and to what is known of the server.

import Config
import EventLoop
import Pool
import Session

extension Server {
    /// No connection of the present server is ready yet.
    var isUnmet: Bool { !processes.isMet || machine.census.connected == 0 }

    /// No new work goes to the present connections. Idle ones close, others when what is in flight
    /// is answered, the last ones when the time of the departure is over.
    func depart(_ departure: Departure) {
        for upstream in allUpstreams { upstream.depart(departure) }
        if scripts.asking?.ticket != nil { endScriptQuestion() }
        endCheck { _ in true }
    }

    /// Another server is dialled from now on, if its address is known. Nothing is known of it.
    func move(to address: UpstreamAddress?) {
        let dials = names.takeWaiting()
        names = NameResolution(address, refresh: pool.config.dnsRefresh)
        tls = pool.config.upstreamTLS.map { ServerTLS($0, at: address) }
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

    /// Ends the use of this server: another one has taken its place, and has its clients already.
    func leave(_ departure: Departure) {
        self.departure = departure
        depart(departure)
        endUnblocking()
        // Their clients have gone over already, and ask there.
        endScriptQuestion()
        oneOffs.waiting = []
        strangers.waiting = []
        let dials = names.takeWaiting()
        machine.drain(departure.reason, now: worker.now)
        for (id, _) in dials { machine.connectFailed(id, departure.reason, now: worker.now) }
        wakeAwaitingReturn(.max)
        noteWork()
    }
}

extension UpstreamConnection {
    /// The server's id of this connection, for commands to the present server; nil while the id
    /// could be that of another server.
    var knownServerID: Int64? {
        origin.departure == nil && !pool.isMoving ? origin.serverID : nil
    }

    fileprivate func depart(_ departure: Departure) {
        guard origin.departure == nil, stage != .closing, stage != .closed else { return }
        origin.departure = departure
        if case .prepare(let client) = handshake.purpose, stage == .handshaking {
            // No command of the client itself has been sent yet.
            handshake = Handshake()
            abandon()
            client.sendAgain([])
            server.machine.retire(id, departure.reason, now: worker.now)
            return
        }
        if departure.reason == .failover, stage == .ready {
            if !output.isAllSent { flush() }
            if isUselessElsewhere {
                lose(.failover)
                return
            }
        }
        if isShared {
            gauge = .leaving
            server.machine.setMost(id, 1)
        }
        retireWhenFree(departure.reason)
    }

    /// The primary has changed. What a client has on this connection (a transaction, subscriptions,
    /// a command that blocks) would be state on a server that takes no more part, and commands that
    /// do not leave now must not reach it later, nor may the rest of one that is still coming in.
    private var isUselessElsewhere: Bool {
        guard stage == .ready else { return false }
        return hold != nil || piped != nil || sole?.hub != nil || sole?.isBlocking == true
            || !output.isAllSent || uploader?.isStreaming == true
    }
}
