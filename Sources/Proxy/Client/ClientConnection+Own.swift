// Commands that need an upstream of their own: for one reply, for as long as a state lasts, or for
// the rest of the session.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    // MARK: For one reply

    func forwardAlone(
        _ kind: LeaseKind, key wanted: PoolKey? = nil, _ expectation: Expectation,
        _ value: UInt32, _ bytes: UnsafeRawBufferPointer, isBlocking: Bool,
        isFenced: Bool = false
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if isBlocking, leaveInsteadOfBlocking() { return .answered }
        // Without a fence this upstream must not go back to other clients.
        if isFenced, server.fences[key.user] == .none { return forwardOneOff(.plain, bytes) }
        guard let own = lease(kind, wanted ?? key, mayBlock: isBlocking) else {
            return withoutLease
        }
        return sendAlone(
            over: own, expectation, value, bytes, isBlocking: isBlocking,
            isFenced: isFenced)
    }

    /// Sends one command over an upstream that is leased for it.
    func sendAlone(
        over own: UpstreamConnection, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawBufferPointer, isBlocking: Bool, isFenced: Bool = false
    ) -> Outcome {
        if isBlocking { own.identify() }
        take(own, expectation, value, bytes: bytes.count, isBlocking: isBlocking)
        mode = .exclusive
        own.send(bytes)
        if isFenced { putFence(behind: own) }
        return .sent
    }

    /// Sends a command that may bring more than one reply. In RESP3 a push that DEBUG causes goes
    /// to the client that holds the upstream.
    func forwardFenced(_ request: Request) -> Outcome {
        guard request.command == .debug, key.protocolVersion == 3, server.fences[key.user] != .none
        else {
            return forwardAlone(
                .pin, .plain, 0, request.bytes, isBlocking: false, isFenced: true)
        }
        let outcome = beginHold(request, .debug, 0)
        guard outcome == .sent, let upstream else { return outcome }
        putFence(behind: upstream)
        mode = .barrier
        return .sent
    }

    /// The command just sent may bring more than one reply. The upstream goes back to the pool only
    /// when a fence behind the command has come back. If the server has no fences, the upstream is
    /// closed instead.
    func putFence(behind own: UpstreamConnection) {
        guard own.canFence else {
            own.spoil(.dirty)
            return
        }
        own.sendFence(for: id)
        inFlight += 1
    }

    /// Closes a client that has ended its input instead of blocking it. Redis does the same: it
    /// unblocks such a client as soon as it reads the end, and runs no later command. During a
    /// drain no client begins to block.
    func leaveInsteadOfBlocking() -> Bool {
        guard mayNotBlock else { return false }
        closeAfterFlush(inputEnded ? .client_closed : .drain)
        return true
    }

    /// What a CLIENT PAUSE delays is no reason to leave: it ends.
    var mayNotBlock: Bool { inputEnded || (isLeaving && !pool.isPaused) }

    /// Lends an upstream to this client for one reply. 0 bytes stand for a stream, which cannot be
    /// sent again.
    func take(
        _ own: UpstreamConnection, _ expectation: Expectation, _ value: UInt32, bytes: Int,
        isBlocking: Bool
    ) {
        upstream = own
        own.lend(to: self, for: .reply(isBlocking: isBlocking))
        if extras != nil { own.askIfRefused(self) }
        if bytes == 0 { own.forgetSent() }
        own.expect(
            id, expectation, bytes: bytes, value: value,
            mark: .init(isSilent: session.takeSilence()),
            command: lastCommand)
        inFlight = 1
        trace("client.pinned", ["use": isBlocking ? "blocking" : "reply"])
        if worker.table.mayWrite(lastCommand) { noteWrite(own) }
        pool.traffic.commandsPinned += 1
        counted.commands &+= 1
    }

    // MARK: Until a state is over

    /// Takes an upstream for the state that `request` begins. `changed`, if given, is sent in its
    /// place.
    func beginHold(
        _ request: Request, _ expectation: Expectation, _ value: UInt32,
        sending changed: UnsafeRawBufferPointer? = nil
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return withoutLease }
        upstream = own
        own.lend(to: self, for: .hold)
        trace("client.pinned", ["use": "hold"])
        session.opened(request.command, request.frame)
        own.rename(session.identity.name)
        if extras != nil { own.askIfRefused(self) }
        return sendHeld(expectation, value, changed ?? request.bytes)
    }

    func sendHeld(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        guard let upstream else { return .answered }
        if expectation == .exec || worker.table.mayWrite(lastCommand) { noteWrite(upstream) }
        // The upstream's id is read now because it cannot be read later: another client may
        // redirect its invalidations here. A subscribed connection takes no CLIENT ID, and on a
        // tracking one it would use up a CLIENT CACHING.
        if expectation == .subscribe || expectation == .trackingOn { upstream.identify() }
        inFlight += 1
        pool.traffic.commandsPinned += 1
        counted.commands &+= 1
        upstream.expect(
            id, expectation, bytes: bytes.count, value: value,
            mark: .init(isSilent: session.takeSilence()),
            command: lastCommand)
        upstream.send(bytes)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
        return .sent
    }

    func carryOutHeld(_ plan: Plan, _ request: Request) -> Outcome {
        switch plan {
        case .send(.rewriteList, _): return forwardList(request)
        case .send(.trackingOn, let options):
            return track(request, TrackingOptions(rawValue: options))
        case .send(.trackingOff, let options) where options != 0:
            return endTracking(request.input.span, request.frame, options)
        case .send(.monitor, _): return monitorHeld(request)
        case .send(.multi, _):
            // Members of the last transaction have been discarded. If they have not, `hold` knows.
            if session.memberCount == 0 { session.takeMembers() }
            return sendHeld(.multi, 0, request.bytes)
        case .send(.exec, _) where upstream?.sole?.isDoubtful == true:
            return execDoubtful(request.bytes)
        case .send(.exec, _) where !session.members.isEmpty || hearsInSilence:
            return execMembers(request.bytes)
        case .send(.plain, _)
        where pool.denyList.corrects(request.command) && !session.isSendingTransaction:
            return forwardCounted(request)
        case .send(.plain, _):
            let wanted = expectation(ofPlain: request.frame)
            return sendHeld(wanted.0, wanted.1, request.bytes)
        case .send(let expectation, let value):
            return sendHeld(expectation, value, request.bytes)
        case .queue(let expectation, let value):
            return queueMember(expectation, value, request)
        case .sendSlow: return sendHeld(.plain, 0, request.bytes)
        case .runScript: return runScriptHeld(request.bytes)
        case .fenced:
            return sendDoubtful(lastCommand == .debug ? .debug : .plain, 0, request.bytes)
        case .impossible: return refuseSubcommand(request.input.span, request.frame)
        case .oneOff(.rewriteList): return forwardList(request)
        case .oneOff(let expectation): return forwardOneOff(expectation, request.bytes)
        case .sendBlocking where session.isSendingTransaction:
            if inFlight > 0 { return waitForReplies() }
            if let plan = planWithoutTransaction(request.input.span, request.frame) {
                return carryOutHeld(plan, request)
            }
            return sendHeld(.plain, 0, request.bytes)
        case .sendBlocking:
            if mayNotBlock, inFlight > 0 { return waitForReplies() }
            if leaveInsteadOfBlocking() { return .answered }
            upstream?.beginBlocking()
            return sendHeld(.plain, 0, request.bytes)
        case .waitForReplicas: return waitOnHeld(request.bytes)
        case .controlClients: return control(request)
        case .mirror: return forwardChange(request)
        case .replyMode where isRestricted: return sendHeld(.plain, 0, request.bytes)
        case .pipe: return pipeHeld(request)
        case .select(let database): return sendHeld(.select, database, request.bytes)
        default: return carryOutState(plan, request)
        }
    }

    /// MONITOR on a held upstream. A server does not answer it on a connection that monitors
    /// already (Redis 7.0 replication.c, monitorCommand). So it is not sent there, except where the
    /// server refuses it.
    private func monitorHeld(_ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let hold = upstream?.hold, hold.isMonitoring, !hold.isInTransaction, !isRestricted
        else { return monitor(request) }
        _ = session.takeSilence()
        return .answered
    }

    /// A command on a held upstream whose effects cannot be followed. A refused command has no
    /// effects and is sent. With CLIENT REPLY OFF in a transaction a pipe could not tell the server
    /// to be silent, so replies stay framed and the upstream is not used again.
    func pipeHeld(_ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if let plan = planWithoutTransaction(request.input.span, request.frame) {
            return carryOutHeld(plan, request)
        }
        if isRestricted { return sendHeld(.plain, 0, request.bytes) }
        if lastCommand == .unknown,
            let outcome = carryOutUnknownHeld(request)
        {
            return outcome
        }
        if session.replyMode != .on, upstream?.hold?.isInTransaction == true {
            return queueSilently(request)
        }
        return enterPipe(request.input.span, request.frame)
    }

    /// Sends the client's CLIENT REPLY mode to the server, because bytes pass through unread from
    /// here on.
    private func handReplyModeOver(to own: UpstreamConnection) {
        let word: String
        switch session.replyMode {
        case .on: return
        case .off: word = "OFF"
        case .skipNext: word = "SKIP"
        }
        var bytes: [UInt8] = []
        Encode.command(["CLIENT", "REPLY", word], into: &bytes)
        own.send(bytes)
    }

    /// A new plan for the head command, if the server has refused the MULTI before it. Nil if there
    /// is a transaction or there was no MULTI. Nothing may be in flight.
    func planWithoutTransaction(_ span: Span<UInt8>, _ frame: CommandFrame) -> Plan? {
        guard session.isSendingTransaction, upstream?.hold?.isInTransaction == false else {
            return nil
        }
        session.released()
        return session.planHeld(lastCommand, worker.table.info(lastCommand), span, frame)
    }

    /// In RESP2 a subscribed connection takes few commands. The server words the refusal.
    var isRestricted: Bool {
        key.protocolVersion == 2 && inFlight == 0 && (upstream?.hold?.subscriptions ?? 0) > 0
    }

    // MARK: For good

    func beginPipe() -> Outcome {
        if pool.isRouted || isSubscribing { return refusePipe() }
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return withoutLease }
        upstream = own
        own.lend(to: self, for: .reply(isBlocking: false))
        mode = .preparing
        pool.traffic.commandsPinned += 1
        counted.commands &+= 1
        own.prepare(for: self)
        return .blocked
    }

    /// The upstream of the pipe now has the client's identity and state.
    func prepared(_ own: UpstreamConnection) {
        guard channel.isOpen, mode == .preparing else { return }
        own.lend(to: self, for: .pipe)
        handReplyModeOver(to: own)
        mode = .piped(Pipe())
        trace("client.pinned", ["use": "pipe"])
        worker.ready(self)
    }

    /// Turns the held upstream into a pipe, because its state cannot be followed any more.
    func becomePipe() -> Outcome {
        if pool.isRouted || isSubscribing { return refusePipe() }
        guard let upstream else { return .answered }
        if inFlight > 0 { return waitForReplies() }
        if session.replyMode != .on, upstream.hold?.isInTransaction == true {
            // The server would queue CLIENT REPLY and answer +QUEUED.
            closeAfterFlush(.upstream_lost)
            return .answered
        }
        upstream.passKeptLine(to: self)
        upstream.lend(to: self, for: .pipe)
        handReplyModeOver(to: upstream)
        mode = .piped(Pipe())
        trace("client.pinned", ["use": "pipe"])
        worker.ready(self)
        return .blocked
    }
}
