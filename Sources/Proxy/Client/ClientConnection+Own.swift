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
        _ value: UInt32, _ bytes: UnsafeRawPointer, _ count: Int, isBlocking: Bool,
        isFenced: Bool = false
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if isBlocking, leaveInsteadOfBlocking() { return .answered }
        // Without a fence nobody else can have this upstream afterwards.
        if isFenced, pool.fences[key.user] == .none { return forwardOneOff(.plain, bytes, count) }
        guard let own = lease(kind, wanted ?? key, mayBlock: isBlocking) else {
            return withoutLease
        }
        return sendAlone(
            over: own, expectation, value, bytes, count, isBlocking: isBlocking,
            isFenced: isFenced)
    }

    /// Sends one command over an upstream that has been leased for it.
    func sendAlone(
        over own: UpstreamConnection, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawPointer, _ count: Int, isBlocking: Bool, isFenced: Bool = false
    ) -> Outcome {
        if isBlocking { own.identify() }
        take(own, expectation, value, bytes: count, isBlocking: isBlocking)
        mode = .exclusive
        own.send(bytes, count: count)
        if isFenced { putFence(behind: own) }
        return .sent
    }

    /// What may bring more than one reply. In RESP3 a push of DEBUG's goes to who holds the upstream.
    func forwardFenced(
        _ command: Command, _ frame: CommandFrame, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        guard command == .debug, key.protocolVersion == 3, pool.fences[key.user] != .none else {
            return forwardAlone(
                .pin, .plain, 0, bytes, count, isBlocking: false, isFenced: true)
        }
        let outcome = beginHold(command, frame, .debug, 0, bytes, count)
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

    func beginHold(
        _ command: Command, _ frame: CommandFrame, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return withoutLease }
        upstream = own
        own.lend(to: self, for: .hold)
        session.opened(command, frame)
        own.rename(identity.name)
        // Another client may want its invalidations sent here, and a subscriber cannot be asked;
        // and a question of ours would use up the CLIENT CACHING of one that tracks.
        if expectation == .subscribe || expectation == .trackingOn { own.identify() }
        return sendHeld(expectation, value, bytes, count)
    }

    func sendHeld(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        guard let upstream else { return .answered }
        if expectation == .exec || worker.table.mayWrite(lastCommand) { noteWrite(upstream) }
        inFlight += 1
        pool.traffic.commandsPinned += 1
        upstream.expect(
            id, expectation, bytes: count, value: value, isSilent: session.takeSilence())
        upstream.send(bytes, count: count)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
        return .sent
    }

    func carryOutHeld(
        _ plan: Plan, _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer,
        _ count: Int
    ) -> Outcome {
        switch plan {
        case .send(.rewriteList, _): return forwardList(span, frame, bytes, count)
        case .send(.trackingOn, let options):
            return track(lastCommand, span, frame, TrackingOptions(rawValue: options))
        case .send(.trackingOff, let options) where options != 0:
            return endTracking(span, frame, options)
        case .send(.monitor, _): return monitorHeld(frame, bytes, count)
        case .send(.multi, _):
            // What was queued before has been discarded; if not, `hold` knows.
            if session.memberCount == 0 { members = [] }
            return sendHeld(.multi, 0, bytes, count)
        case .send(.exec, _) where upstream?.sole?.isDoubtful == true:
            return execDoubtful(bytes, count)
        case .send(.exec, _) where !members.isEmpty || hearsInSilence:
            return execMembers(bytes, count)
        case .send(.plain, _):
            let wanted = expectation(ofPlain: frame)
            return sendHeld(wanted.0, wanted.1, bytes, count)
        case .send(let expectation, let value):
            return sendHeld(expectation, value, bytes, count)
        case .queue(let expectation, let value):
            return queueMember(expectation, value, span, frame, bytes, count)
        case .sendSlow: return sendHeld(.plain, 0, bytes, count)
        case .runScript: return runScriptHeld(bytes, count)
        case .fenced:
            return sendDoubtful(lastCommand == .debug ? .debug : .plain, 0, bytes, count)
        case .impossible: return refuseSubcommand(span, frame)
        case .oneOff(.rewriteList): return forwardList(span, frame, bytes, count)
        case .oneOff(let expectation): return forwardOneOff(expectation, bytes, count)
        case .sendBlocking where session.isSendingTransaction:
            if inFlight > 0 { return waitForReplies() }
            if let plan = planWithoutTransaction(span, frame) {
                return carryOutHeld(plan, span, frame, bytes, count)
            }
            return sendHeld(.plain, 0, bytes, count)
        case .sendBlocking:
            if inputEnded, inFlight > 0 { return waitForReplies() }
            if leaveInsteadOfBlocking() { return .answered }
            upstream?.setBlocking(true)
            upstream?.identify()
            return sendHeld(.plain, 0, bytes, count)
        case .waitForReplicas: return waitOnHeld(bytes, count)
        case .controlClients: return control(span, frame, bytes, count)
        case .mirror: return forwardChange(span, frame, bytes, count)
        case .replyMode where isRestricted: return sendHeld(.plain, 0, bytes, count)
        case .pipe: return pipeHeld(span, frame, bytes, count)
        case .select(let database): return sendHeld(.select, database, bytes, count)
        default: return carryOutState(plan, span, frame, bytes, count)
        }
    }

    /// MONITOR on a held upstream: one that monitors already is not answered (Redis 7.0
    /// replication.c, monitorCommand), so that one is not sent either, unless the server refuses it.
    private func monitorHeld(
        _ frame: CommandFrame, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let hold = upstream?.hold, hold.isMonitoring, !hold.isInTransaction, !isRestricted
        else { return monitor(lastCommand, frame, bytes, count) }
        _ = session.takeSilence()
        return .answered
    }

    /// A command on a held upstream whose effects cannot be followed. What the server refuses has
    /// none; and under CLIENT REPLY OFF in a transaction nobody could tell the server to be silent,
    /// so replies stay framed there and the connection is not used again.
    func pipeHeld(
        _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if let plan = planWithoutTransaction(span, frame) {
            return carryOutHeld(plan, span, frame, bytes, count)
        }
        if isRestricted { return sendHeld(.plain, 0, bytes, count) }
        if lastCommand == .unknown,
            let outcome = carryOutUnknownHeld(span, frame, bytes, count)
        {
            return outcome
        }
        if session.replyMode != .on, upstream?.hold?.isInTransaction == true {
            return queueSilently(span, frame, bytes, count)
        }
        return enterPipe(span, frame)
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
