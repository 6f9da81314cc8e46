// An upstream of one's own: for one reply, for as long as a state lasts, or for good.

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
        // Without a fence nobody else can have this upstream afterwards.
        if isFenced, server.fences[key.user] == .none { return forwardOneOff(.plain, bytes) }
        guard let own = lease(kind, wanted ?? key, mayBlock: isBlocking) else {
            return withoutLease
        }
        return sendAlone(
            over: own, expectation, value, bytes, isBlocking: isBlocking,
            isFenced: isFenced)
    }

    /// Sends one command over an upstream that has been leased for it.
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

    /// What may bring more than one reply. In RESP3 a push of DEBUG's goes to who holds the upstream.
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

    /// What has just been sent may bring more than one reply: others get this upstream only when a
    /// fence behind it has come back. Where the server has no fences, it is closed instead.
    func putFence(behind own: UpstreamConnection) {
        guard own.canFence else {
            own.spoil(.dirty)
            return
        }
        own.sendFence(for: id)
        inFlight += 1
    }

    /// A client that has ended its input is not there any more to be blocked: Redis unblocks it as
    /// soon as it reads the end, and what comes behind is not run.
    func leaveInsteadOfBlocking() -> Bool {
        guard inputEnded else { return false }
        closeAfterFlush(.client_closed)
        return true
    }

    /// Lends an upstream to this client for one reply; a command of 0 bytes is a stream, which is
    /// not kept for sending again.
    func take(
        _ own: UpstreamConnection, _ expectation: Expectation, _ value: UInt32, bytes: Int,
        isBlocking: Bool
    ) {
        upstream = own
        own.lend(to: self, for: .reply(isBlocking: isBlocking))
        if bytes == 0 { own.forgetSent() }
        own.expect(
            id, expectation, bytes: bytes, value: value, isSilent: session.takeSilence())
        inFlight = 1
        if worker.table.mayWrite(lastCommand) { noteWrite(own) }
        pool.traffic.commandsPinned += 1
    }

    // MARK: Until a state is over

    /// Takes an upstream for a state that `request` begins. What goes to the server in its place is
    /// `changed`, if anything.
    func beginHold(
        _ request: Request, _ expectation: Expectation, _ value: UInt32,
        sending changed: UnsafeRawBufferPointer? = nil
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return withoutLease }
        upstream = own
        own.lend(to: self, for: .hold)
        session.opened(request.command, request.frame)
        own.rename(identity.name)
        // Another client may want its invalidations sent here, and a subscriber cannot be asked;
        // and a question of ours would use up the CLIENT CACHING of one that tracks.
        if expectation == .subscribe || expectation == .trackingOn { own.identify() }
        return sendHeld(expectation, value, changed ?? request.bytes)
    }

    func sendHeld(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        guard let upstream else { return .answered }
        if expectation == .exec || worker.table.mayWrite(lastCommand) { noteWrite(upstream) }
        inFlight += 1
        pool.traffic.commandsPinned += 1
        upstream.expect(
            id, expectation, bytes: bytes.count, value: value, isSilent: session.takeSilence())
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
            // What was queued before has been discarded; if not, `hold` knows.
            if session.memberCount == 0 { members = [] }
            return sendHeld(.multi, 0, request.bytes)
        case .send(.exec, _) where upstream?.sole?.isDoubtful == true:
            return execDoubtful(request.bytes)
        case .send(.exec, _) where !members.isEmpty || hearsInSilence:
            return execMembers(request.bytes)
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
            if inputEnded, inFlight > 0 { return waitForReplies() }
            if leaveInsteadOfBlocking() { return .answered }
            upstream?.setBlocking(true)
            upstream?.identify()
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

    /// MONITOR on a held upstream: one that monitors already is not answered (Redis 7.0
    /// replication.c, monitorCommand), so that one is not sent either, unless the server refuses it.
    private func monitorHeld(_ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let hold = upstream?.hold, hold.isMonitoring, !hold.isInTransaction, !isRestricted
        else { return monitor(request) }
        _ = session.takeSilence()
        return .answered
    }

    /// A command on a held upstream whose effects cannot be followed. What the server refuses has
    /// none; and under CLIENT REPLY OFF in a transaction nobody could tell the server to be silent,
    /// so replies stay framed there and the connection is not used again.
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

    /// Before bytes pass through unread, the server takes over what CLIENT REPLY has asked for.
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

    /// The plan for the command at the head of the input when the server has refused the MULTI that
    /// it was sent behind; nil when there is a transaction, or was no MULTI. Only when nothing is
    /// in flight.
    func planWithoutTransaction(_ span: Span<UInt8>, _ frame: CommandFrame) -> Plan? {
        guard session.isSendingTransaction, upstream?.hold?.isInTransaction == false else {
            return nil
        }
        session.released()
        return session.planHeld(lastCommand, worker.table.info(lastCommand), span, frame)
    }

    /// A subscribed RESP2 connection takes few commands; the server words the refusal.
    var isRestricted: Bool {
        key.protocolVersion == 2 && inFlight == 0 && (upstream?.hold?.subscriptions ?? 0) > 0
    }

    // MARK: For good

    func beginPipe() -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return withoutLease }
        upstream = own
        own.lend(to: self, for: .reply(isBlocking: false))
        mode = .preparing
        pool.traffic.commandsPinned += 1
        own.prepare(for: self)
        return .blocked
    }

    /// The upstream of a pipe is as the client left the ones before.
    func prepared(_ own: UpstreamConnection) {
        guard channel.isOpen, mode == .preparing else { return }
        own.lend(to: self, for: .pipe)
        handReplyModeOver(to: own)
        mode = .piped(Pipe())
        worker.ready(self)
    }

    /// A held upstream whose further state cannot be followed: from here on, bytes only.
    func becomePipe() -> Outcome {
        guard let upstream else { return .answered }
        if inFlight > 0 { return waitForReplies() }
        if session.replyMode != .on, upstream.hold?.isInTransaction == true {
            // The server would queue CLIENT REPLY, and say so.
            closeAfterFlush(.upstream_lost)
            return .answered
        }
        upstream.passKeptLine(to: self)
        upstream.lend(to: self, for: .pipe)
        handReplyModeOver(to: upstream)
        mode = .piped(Pipe())
        worker.ready(self)
        return .blocked
    }
}
