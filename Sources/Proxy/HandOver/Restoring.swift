// Clients, servers and upstreams as they were in a former program.

import Config
import EventLoop
import HandOver
import Pool
import Session

extension ClientConnection {
    /// Takes over what a former program has written down; the upstream follows.
    func restore(_ carried: CarriedClient, lastCommand: Command) {
        origin = Origin(
            connectedAt: carried.connectedAt.nanoseconds, portMark: origin.portMark,
            listener: carried.listener)
        lastActivity = carried.lastActivity.nanoseconds
        bytesTaken = carried.counts.bytesTaken
        counted = ClientCounts(
            commands: carried.counts.commands, bytesIn: carried.counts.bytesIn)
        self.lastCommand = lastCommand
        inputEnded = carried.hasEnded
        if carried.loggedOutAt != 0 { loggedOutAt = carried.loggedOutAt }
        if carried.hasOldInput { hasOldInput = true }
        if carried.isReadOnly { ownExtras.reads.isReadOnly = true }
        if let multi = carried.openMulti { openMulti = OpenMulti(multi) }
        if !carried.trackers.isEmpty { trackers = Set(carried.trackers) }
        if let monitor = carried.monitor { pool.goOnWatching(self, OwnCommands(carried: monitor)) }
        carried.input.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            input.append(base, count: bytes.count, pool: worker.chunks)
        }
        for case .bytes(let bytes) in carried.output { output.append(bytes, pool: worker.chunks) }
        switch carried.mode {
        case .open, .waiting, .barrier, .closing: mode = .open
        case .exclusive: mode = .exclusive
        case .loggedOut: mode = .loggedOut
        case .piped(let isOwed, let isBlind):
            mode = .piped(Pipe(view: isBlind ? .blind : .watching, isOwed: isOwed))
        }
        countKept()
    }

    /// The hand-over is certain: it is read, and what has come before is handled.
    func goOn() {
        guard channel.isOpen else { return }
        if !inputEnded { channel.startReading() }
        if !output.isEmpty { worker.markDirty(self) }
        if !input.isEmpty || inputEnded { worker.ready(self) }
    }
}

extension Server {
    /// Takes over a connection. One that is in use ends with that use; one that was idle, `.none`,
    /// is lent again when `UpstreamConnection.takeOver` has shown who answers.
    func adopt(
        _ carried: CarriedUpstream, _ key: PoolKey, for lease: CarriedSlot.Lease
    ) -> UpstreamConnection {
        let slot = CarriedSlot(
            lease: lease, dialedAt: carried.times.dialledAt, connectedAt: carried.times.connectedAt,
            idleSince: carried.times.idleSince, activeAt: carried.times.activeAt,
            progressAt: carried.times.waitingSince)
        let id = machine.adopt(slot, key: key, now: worker.now)
        if let budget = node.budget {
            share.keeper.adopt(
                PoolPermits(open: 1, pins: lease == .pin ? 1 : 0), &machine, budget.permits,
                now: worker.now)
        }
        let upstream = UpstreamConnection(
            id: id, key: key, descriptor: carried.descriptor, address: carried.address,
            server: self)
        var origin = UpstreamOrigin(
            serial: carried.serial, address: carried.address, dialledAt: carried.times.dialledAt)
        // What it showed of its server was known to the former program.
        origin.epoch = nil
        origin.runID = carried.origin.runID
        origin.serverID = carried.origin.serverID
        origin.isIdentified = carried.origin.isIdentified
        origin.lacksLogin = carried.origin.lacksLogin
        upstream.origin = origin
        upstream.identity = carried.identity
        upstream.stage = .ready
        upstream.keepSent()
        if lease != .none { upstream.ending.spoiled = .upgrade }
        keep(upstream)
        noteConnected()
        noteWork()
        return upstream
    }
}

extension UpstreamConnection {
    func lend(to client: ClientConnection, as use: CarriedUse) {
        switch use {
        case .exclusive(_, let isBlocking, _): lend(to: client, for: .reply(isBlocking: isBlocking))
        case .piped: lend(to: client, for: .pipe)
        case .held(_, let state, let holder):
            lend(to: client, for: .hold)
            restore(state, isBlocking: holder.isBlocking, isDoubtful: holder.isDoubtful)
        case .idle, .shared, .hub: break
        }
    }
}
