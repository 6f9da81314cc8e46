// Which node of a cluster a command goes to, for a client that holds no upstream.

import Config
import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// Handles a command of a pool in front of a cluster. Returns its end, or nil if it has to
    /// wait.
    @inline(never)
    func handleRouted(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ frame: CommandFrame, _ command: Command
    ) -> Int? {
        if pool.readsReplicas {
            if mustAwaitReads(before: command) {
                mode = .barrier
                return nil
            }
        } else if let end = forwardKeyed(buffer, frame, command) {
            return end
        }
        if case .multi = command, !isSubscribing, let block = forwardRoutedBlock(buffer, frame) {
            return block.outcome != .blocked ? block.end : nil
        }
        if extras != nil, let outcome = answerRefusal() {
            return outcome != .blocked ? frame.end : nil
        }
        lastCommand = command
        let request = Request(command: command, frame: frame, input: UnsafeBufferPointer(buffer))
        let outcome = isSubscribing ? carryOutSubscribing(request) : carryOutRouted(request)
        if outcome == .answered, extras != nil { soleRedirect = nil }
        return outcome != .blocked ? frame.end : nil
    }

    /// Sends a command with one key at once, and those behind it for the same node: nearly all
    /// commands. Nil if there is more to it.
    @inline(__always)
    private func forwardKeyed(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ frame: CommandFrame, _ command: Command
    ) -> Int? {
        guard worker.table.hasOneKey(command), frame.firstLength >= 0, isUsual, !isHolding,
            !isLockedOut, !pool.isPaused, !pool.denyList.stops(command),
            let routing = pool.routing
        else { return nil }
        let slot = Slot.of(buffer.span, start: frame.firstStart, length: frame.firstLength)
        return routing._withUnsafeGuaranteedRef { route in
            guard let owner = route.unretainedOwner(of: slot) else { return nil }
            let isHome = owner.toOpaque() == home.toOpaque()
            if !isHome && inFlight > 0 || extras?.strands != nil {
                return forwardPlaced(buffer, frame, command, slot, to: owner, route)
            }
            if !isHome || granted != nil { turn(to: owner.takeUnretainedValue()) }
            lastCommand = command
            let bytes = UnsafeRawBufferPointer(
                rebasing: UnsafeRawBufferPointer(buffer)[frame.start..<frame.end])
            let version = UInt32(truncatingIfNeeded: route.version)
            let outcome = forwardNow(
                .shared, key: nil, .plain, version, bytes, kept: nil, isKeyed: true)
            // It is looked at again when it has waited.
            guard outcome == .sent else { return outcome == .answered ? frame.end : frame.start }
            guard frame.end < buffer.count else { return frame.end }
            return forwardRun(buffer, from: frame.end, route, version)
        }
    }

    /// Nothing of a cluster is in progress for this client, but that it may have strands.
    @inline(__always)
    private var isUsual: Bool {
        if subscribing != nil { return false }
        guard let extras else { return true }
        return extras.soleRedirect == nil && extras.openMulti == nil && extras.tour == nil
            && extras.aside == nil && extras.refusal == nil
    }

    /// `forwardRun` for commands to one node.
    private func forwardRun(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int, _ route: ClusterRoute,
        _ version: UInt32
    ) -> Int {
        guard case .open = mode, case .on = session.replyMode, !isPausedByUpstream,
            let target = upstream, !target.gauge.measures
        else { return start }
        let run = worker.table.run(
            buffer.span, from: start, limits: worker.limits.loggedIn, stopped: pool.denyList,
            most: worker.turn.left, of: UInt16(truncatingIfNeeded: server.number),
            in: UnsafePointer(route.owners))
        return send(run, buffer, from: start, over: target, value: version, isKeyed: true)
    }

    /// A wait of this client may be over.
    func resumeRouted() {
        if let strands {
            sendHeldCommands(strands)
            settleStrands(strands)
        }
        // Its shard channels have ended with their slots.
        if mode == .open, inFlight == 0, let upstream, upstream.hold?.isClean == true,
            upstream.holder === self
        {
            endHold(upstream)
        }
    }

    /// Finds the node, and carries the command out there.
    func carryOutRouted(_ request: Request) -> Outcome {
        if isHolding { return carryOutRoutedHeld(request) }
        guard !isLockedOut, aside == nil, let route = pool.route else {
            if inFlight > 0, strands != nil { return waitForReplies() }
            if server.isReplica {
                if inFlight > 0 { return waitForReplies() }
                turn(to: anyServer)
            }
            return carryOutRare(request)
        }
        if let multi = openMulti { return continueMulti(request, multi) }
        if request.command == .multi, let outcome = promiseMulti(request) { return outcome }
        if let redirect = soleRedirect {
            if mustPause(redirect) { return waitForReplies() }
            if let node = redirect.node, let target = route.server(at: node) {
                return send(request, in: PlaceSlot.unknown, to: target)
            }
        }
        if let outcome = carryOutByRule(request, route) { return outcome }
        let span = request.input.span
        let slots = worker.table.slots(request.command, span, request.frame)
        switch slots {
        case .one(let slot):
            guard let target = route.owner(of: slot) else { return refuseSlot(slot) }
            if pool.readsReplicas,
                let outcome = sendToReplica(request, in: slot, of: target, route)
            {
                return outcome
            }
            return send(request, in: slot, to: target)
        case .several(let first):
            guard let target = route.owner(of: first) else { return refuseSlot(first) }
            if let split = split(request) { return send(split, request) }
            if let outcome = refuseOddMSET(request) { return outcome }
            // The server says CROSSSLOT.
            return send(request, in: PlaceSlot.unknown, to: target)
        case .none:
            return send(request, in: PlaceSlot.none, to: anyServer)
        case .malformed:
            return send(request, in: PlaceSlot.unknown, to: anyServer)
        }
    }

    /// Sends a command without a state beside others in flight; any other one waits for them.
    private func send(_ request: Request, in slot: UInt16, to target: Server) -> Outcome {
        if let kind = placedKind(request), !pool.isPaused,
            !pool.denyList.refuses(request.command)
        {
            return sendPlain(kind, request, in: slot, to: target)
        }
        if inFlight > 0 { return waitForReplies() }
        turn(to: target)
        return carryOutRare(request)
    }

    /// The kind of lease for a command that can have a place among others; nil for one that has to
    /// be alone.
    func placedKind(_ request: Request) -> LeaseKind? {
        if worker.table.isStateless(request.command) { return .shared }
        switch worker.table.plan(request.command, request.input.span, request.frame) {
        case .send(.plain, _): return .shared
        case .sendSlow: return .slow
        default: return nil
        }
    }

    /// A client with all its commands in flight on one node needs no places.
    private func sendPlain(
        _ kind: LeaseKind, _ request: Request, in slot: UInt16, to target: Server
    ) -> Outcome {
        guard let route = pool.route else { return .answered }
        if inFlight == 0 {
            turn(to: target)
        } else if strands != nil || server !== target {
            guard let strands = openStrands(under: route.version) else { return waitForReplies() }
            return sendPlaced(kind, request.bytes, in: slot, to: target, strands)
        }
        return forward(
            kind, .plain, UInt32(truncatingIfNeeded: route.version), request.bytes)
    }

    /// A large command that is coming in goes to the node of its first key. False if it has to
    /// wait, or has been answered.
    func routeUnfinished(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard let route = pool.route else { return true }
        var target: Server? = server
        let words = CommandArguments.begun(span, from: start, to: start + scanner.scanned)
        if let slot = worker.table.firstSlot(ofBegun: lastCommand, words) {
            target = route.owner(of: slot)
            if target == nil, openMulti == nil {
                if refuseSlot(slot) == .answered { mode = .swallowing }
                return false
            }
        }
        if let multi = openMulti {
            if let target, multi.stage == .promised {
                if sendMulti(to: target) == .answered { mode = .swallowing }
            } else {
                refuseOpenMulti()
                replyError("ERR the transaction has no node")
                mode = .swallowing
            }
            return false
        }
        if let target { turn(to: target) }
        return true
    }

    /// Its next command goes to this server.
    func turn(to target: Server) {
        if let unused = granted, unused.upstream.server !== target {
            granted = nil
            unused.upstream.server.giveBack(unused.upstream)
        }
        if server !== target { home(at: target) }
    }

    /// In front of a cluster there are no pipes: a node's MOVED would pass through one unread.
    func refusePipe() -> Outcome {
        if lastCommand == .exec {
            // The transaction stays open at the node.
            closeAfterFlush(.upstream_lost)
            return .answered
        }
        let name = worker.table.info(lastCommand)?.name ?? "this command"
        let place = pool.isRouted ? "in front of a cluster" : "beside shared subscriptions"
        return refuse(
            "ERR '\(name)' is refused by Redpool: \(place) its effects cannot be followed")
    }

    /// The node has queued a command that may do anything when EXEC runs it.
    func taintTransaction() {
        upstream?.taint()
        upstream?.noteDoubt()
        openMulti?.forget()
    }

    /// Nobody has the slot.
    private func refuseSlot(_ slot: UInt16) -> Outcome {
        // The map may be on its way; until then the command waits for the first one.
        if !server.names.isNamed {
            if inFlight > 0 { return waitForReplies() }
            return lease(.shared, key) == nil ? withoutLease : .answered
        }
        if inFlight > 0 { return waitForReplies() }
        pool.tell(.clusterDown)
        replyError(ClusterWords.notServed)
        return .answered
    }

    /// MSET with a key without a value, which cannot be split. The node would say CROSSSLOT.
    private func refuseOddMSET(_ request: Request) -> Outcome? {
        guard request.command == .mset, pool.config.cluster?.crossSlot == .all,
            request.frame.argumentCount % 2 == 0
        else { return nil }
        return refuse("ERR wrong number of arguments for 'mset' command")
    }

    /// The parts of a command whose keys are in several slots; nil if the pool does not split it.
    private func split(_ request: Request) -> Split? {
        guard let cluster = pool.config.cluster, cluster.crossSlot != .refuse,
            !pool.denyList.refuses(request.command)
        else { return nil }
        return Split(
            request.command, request.input.span, request.frame,
            includesMSET: cluster.crossSlot == .all)
    }
}
