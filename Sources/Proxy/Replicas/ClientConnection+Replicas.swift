// Reads from replicas. A replica answers a client's read if it has all of the client's writes, and
// only on upstreams that clients share. Anything else goes to the primary: a command that may
// write, that blocks, or that belongs to a state; a read while the replica is not proven to have
// what it must, or has no upstream free; and what a replica refuses, or loses.

import Config
import EventLoop
import Pool
import RESP
import Session
import Topology

/// What matters to where a client reads, in a pool that reads from replicas.
struct ReplicaReads {
    var writes = OwnWrites()
    /// It has sent READONLY, and not READWRITE since.
    var isReadOnly = false
    /// The primary to which its commands went last, by its number.
    fileprivate var primary: UInt32?
    /// The replicas that it reads from, each by its primary.
    private var kept: [(primary: UInt32, replica: UInt32)] = []

    fileprivate func kept(for primary: UInt32) -> UInt32? {
        for one in kept where one.primary == primary { return one.replica }
        return nil
    }

    fileprivate mutating func keep(_ replica: UInt32, for primary: UInt32) {
        if let index = kept.firstIndex(where: { $0.primary == primary }) {
            kept[index].replica = replica
        } else {
            kept.append((primary, replica))
        }
    }
}

extension ClientConnection {
    /// Called before each command in a pool that reads from replicas. True if the command has to
    /// wait: it may write, and a read before it, which is on a replica, must not see that.
    func mustAwaitReads(before command: Command) -> Bool {
        if worker.table.isReadOnly(command) { return false }
        if mayChange(command) { noteChange() }
        if inFlight > 0 { return readsAreOpen }
        if server.isReplica { turn(to: anyServer) }
        return false
    }

    /// The client sends something that may change data, so it reads from the primary for a while.
    func noteChange() { ownExtras.reads.writes.wrote() }

    /// The command may change data, or end a transaction that does.
    private func mayChange(_ command: Command) -> Bool {
        command == .multi || command == .exec || worker.table.mayWrite(command)
    }

    private var readsAreOpen: Bool {
        if let strands { return strands.strands.contains { $0.upstream.origin.isReadOnly } }
        return upstream?.origin.isReadOnly == true
    }

    /// Something of the client is in flight that is not a read on a replica.
    private var awaitsPrimary: Bool {
        guard inFlight > 0 else { return false }
        guard let strands else { return upstream?.origin.isReadOnly != true }
        return strands.order.heldCount > 0
            || strands.strands.contains { !$0.upstream.origin.isReadOnly }
    }

    private func awaits(_ primary: Server) -> Bool {
        guard inFlight > 0 else { return false }
        guard let strands else { return upstream?.server === primary }
        return strands.order.heldCount > 0 || strands.upstream(on: primary.number) != nil
    }

    /// For a command that any node can answer, but not a replica.
    var anyServer: Server {
        guard server.isReplica, let primary = pool.primary else { return server }
        guard let last = extras?.reads.primary.flatMap({ pool.route?.server(at: $0) }),
            !last.isReplica, last.departure == nil
        else { return primary }
        return last
    }

    /// READONLY or READWRITE of the client has been answered.
    func noteReadOnly(_ command: Command) {
        switch command {
        case .readonly: ownExtras.reads.isReadOnly = true
        case .readwrite: extras?.reads.isReadOnly = false
        default: break
        }
    }

    // MARK: The way to a replica

    /// The replica that a command with keys of one slot goes to; nil if it goes to the primary.
    func replica(for request: Request, in slot: UInt16) -> Server? {
        guard let route = pool.route, let primary = route.owner(of: slot),
            let chosen = replica(
                of: primary, for: request.command,
                since: route.changedAt ?? MonotonicTime(nanoseconds: 0)),
            !route.mayBeLeaving(slot, now: worker.now)
        else { return nil }
        return chosen
    }

    /// The same for a command with keys, of a given primary, whose slots have not changed `since`
    /// then.
    private func replica(
        of primary: Server, for command: Command, since: MonotonicTime
    ) -> Server? {
        guard pool.readsReplicas, !pool.isPaused, worker.table.mayGoToReplica(command),
            pool.reads == .replica || extras?.reads.isReadOnly == true,
            let shard = primary.replication.shard
        else { return nil }
        let now = worker.now
        let last = ownExtras.reads.writes.answeredBy(isWaiting: awaitsPrimary, now: now)
        let chosen = shard.choose(
            kept: ownExtras.reads.kept(for: primary.number), client: serial,
            since: max(last ?? now, since), now: now)
        guard let chosen, last != nil, !awaits(primary) else { return nil }
        ownExtras.reads.primary = primary.number
        ownExtras.reads.keep(chosen.number, for: primary.number)
        return chosen
    }

    /// Sends a command to a replica, beside others in flight. Nil if it goes to the primary.
    func sendToReplica(
        _ request: Request, in slot: UInt16, of primary: Server, _ route: ClusterRoute
    ) -> Outcome? {
        guard let replica = replica(for: request, in: slot),
            !pool.denyList.refuses(request.command),
            let kind = readKind(request, primary, replica)
        else { return nil }
        let version = UInt32(truncatingIfNeeded: route.version)
        if inFlight == 0 {
            guard lend(kind, replica) else { return nil }
            pool.traffic.replicaReads += 1
            return forward(kind, .plain, version, request.bytes)
        }
        if strands == nil, server === replica, upstream?.server === replica {
            pool.traffic.replicaReads += 1
            return forward(kind, .plain, version, request.bytes)
        }
        guard let strands = openStrands(under: route.version) else { return waitForReplies() }
        if strands.upstream(on: replica.number) == nil, !lend(kind, replica) { return nil }
        pool.traffic.replicaReads += 1
        return sendPlaced(kind, request.bytes, in: slot, to: replica, strands)
    }

    // MARK: Beside the primary that Sentinels name

    /// Called before each command in a pool with Sentinels that reads from replicas. All commands
    /// in flight are on one server: a command for another one waits. Nil if the command goes on to
    /// the primary, where the client is then.
    @inline(never)
    func readBesidePrimary(_ request: Request) -> Outcome? {
        if refusal != nil { return nil }
        // A read that a replica has refused, or lost, is sent to the primary.
        if strands != nil { return waitForReplies() }
        if mustAwaitReads(before: request.command) { return waitForReplies() }
        if !isHolding, !isLockedOut, !isSubscribing, !pool.denyList.refuses(request.command) {
            if let outcome = answerReadOnly(request) ?? sendToReplica(request) { return outcome }
        }
        guard server.isReplica else { return nil }
        if inFlight > 0 { return waitForReplies() }
        turn(to: anyServer)
        return nil
    }

    /// READONLY and READWRITE where a client says what it wants: a server without a cluster has no
    /// use for them. Nil for other commands, and in a wrong form, which the server refuses.
    private func answerReadOnly(_ request: Request) -> Outcome? {
        guard request.command == .readonly || request.command == .readwrite,
            pool.reads == .client, request.frame.argumentCount == 1
        else { return nil }
        if inFlight > 0 { return waitForReplies() }
        lastCommand = request.command
        noteReadOnly(request.command)
        if !session.takeSilence() { reply("+OK\r\n") }
        return .answered
    }

    /// Sends a read with keys to a replica. Nil if it goes to the primary, or cannot go yet.
    private func sendToReplica(_ request: Request) -> Outcome? {
        guard let primary = pool.primary,
            let replica = replica(
                of: primary, for: request.command, since: MonotonicTime(nanoseconds: 0)),
            worker.table.hasKeys(request.command, request.input.span, request.frame)
        else { return nil }
        lastCommand = request.command
        guard let kind = readKind(request, primary, replica) else { return nil }
        if inFlight > 0 {
            guard upstream?.server === replica else { return nil }
        } else if !lend(kind, replica) {
            return nil
        }
        pool.traffic.replicaReads += 1
        return forward(kind, .plain, 0, request.bytes)
    }

    /// The kind of lease for a read; nil if it needs an upstream of its own.
    private func readKind(
        _ request: Request, _ primary: Server, _ replica: Server
    ) -> LeaseKind? {
        if let kind = placedKind(request) { return kind }
        guard
            CommandTable.planScript(request.command, request.input.span, request.frame)
                == .runScript, primary.scriptVerdict(for: key.user) == .clean
        else { return nil }
        switch replica.scriptVerdict(for: key.user) {
        case .clean: return .slow
        case .unknown:
            replica.askAboutScripts(for: self)
            return nil
        case .splits: return nil
        }
    }

    /// Leases an upstream of a replica, for the next command of this client. False if none is free
    /// at once.
    private func lend(_ kind: LeaseKind, _ replica: Server) -> Bool {
        let wanted = Wanted(kind: kind, key: key)
        if let granted {
            if granted.upstream.server === replica, granted.wanted == wanted,
                granted.upstream.stage == .ready, granted.upstream.origin.isReadOnly
            {
                return true
            }
            self.granted = nil
            granted.upstream.server.giveBack(granted.upstream)
        }
        switch replica.lease(kind, key, for: id) {
        case .granted(let id):
            let own = replica.lent(id)
            if own.origin.isReadOnly, own.isOfThisServer {
                granted = Grant(upstream: own, wanted: wanted)
                home(at: replica)
                return true
            }
            replica.giveBack(own)
        case .queued(let ticket):
            replica.machine.cancel(ticket)
            replica.noteWork()
        case .refused: break
        }
        replica.replication.noRoomUntil = worker.now + Replication.patience
        return false
    }

    // MARK: What a replica refuses

    /// A replica has refused a command: the primary is asked, whatever the reason is. False if
    /// nobody has the slot.
    func judgeReplica(
        _ refused: RefusedReply, at place: UInt32, _ strands: ClientStrands,
        from own: UpstreamConnection
    ) -> Bool {
        if refused.refusal == .clusterDown { own.server.doubtReplica() }
        guard let owner = pool.owner(of: strands.order.slot(of: place)) else { return false }
        var command = RefusedCommand(place: place)
        command.canBeSent = refused.bytes != nil
        command.isByReplica = true
        let action = strands.redirects.judge(
            .notServing, of: command, to: owner.number, in: strands.order,
            version: pool.mapVersion, now: worker.now)
        carryOut(action, refused, at: place, strands)
        return true
    }

    /// Where a held command is sent. Nil if that node is gone, or nobody has its slot.
    func target(of held: HeldCommand, _ owner: Server?, _ strands: ClientStrands) -> Server? {
        guard let number = held.node else { return owner }
        guard let node = pool.server(at: number) else { return nil }
        guard node.isReplica, strands.upstream(on: node.number) == nil else { return node }
        guard lend(.shared, node) else { return owner }
        pool.traffic.replicaReads += 1
        return node
    }
}
