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
        _ value: UInt32, _ bytes: UnsafeRawPointer, _ count: Int, isBlocking: Bool
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if isBlocking, leaveInsteadOfBlocking() { return .done }
        guard let own = lease(kind, wanted ?? key) else { return mode == .open ? .done : .blocked }
        if isBlocking { own.identify() }
        take(own, expectation, value, bytes: count)
        mode = .exclusive(isBlocking: isBlocking)
        own.send(bytes, count: count)
        return .done
    }

    /// A client that has ended its input is not there any more to be blocked: Redis unblocks it as
    /// soon as it reads the end, and what comes behind is not run.
    private func leaveInsteadOfBlocking() -> Bool {
        guard inputEnded else { return false }
        closeAfterFlush(.client_closed)
        return true
    }

    /// Lends an upstream to this client for one reply; a command of 0 bytes is a stream, which is
    /// not kept for sending again.
    func take(
        _ own: UpstreamConnection, _ expectation: Expectation, _ value: UInt32, bytes: Int
    ) {
        upstream = own
        own.isExclusive = true
        own.sharers += 1
        own.output.forgetsSent = bytes == 0
        own.expect(
            id, expectation, bytes: bytes, value: value, isSilent: session.takeSilence())
        inFlight = 1
        worker.statistics.commandsPinned += 1
    }

    // MARK: Until a state is over

    func beginHold(
        _ command: Command, _ frame: CommandFrame, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return mode == .open ? .done : .blocked }
        upstream = own
        own.sharers += 1
        own.beginHold(self)
        mode = .held
        session.opened(command, frame)
        return sendHeld(expectation, value, bytes, count)
    }

    func sendHeld(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        guard let upstream else { return .done }
        inFlight += 1
        worker.statistics.commandsPinned += 1
        upstream.expect(
            id, expectation, bytes: count, value: value, isSilent: session.takeSilence())
        upstream.send(bytes, count: count)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
        return .done
    }

    func carryOutHeld(
        _ plan: Plan, _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer,
        _ count: Int
    ) -> Outcome {
        switch plan {
        case .send(.rewriteList, _): return forwardList(span, frame, bytes, count)
        case .send(let expectation, let value):
            return sendHeld(expectation, value, bytes, count)
        case .sendSlow: return sendHeld(.plain, 0, bytes, count)
        case .sendBlocking:
            if inputEnded, inFlight > 0 { return waitForReplies() }
            if leaveInsteadOfBlocking() { return .done }
            isBlockingHeld = true
            upstream?.identify()
            return sendHeld(.plain, 0, bytes, count)
        case .controlClients: return control(span, frame, bytes, count)
        case .mirror: return forwardChange(span, frame, bytes, count)
        case .pipe: return becomePipe()
        case .select(let database): return sendHeld(.select, database, bytes, count)
        default: return carryOutState(plan, span, frame, bytes, count)
        }
    }

    // MARK: For good

    func beginPipe() -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin, key) else { return mode == .open ? .done : .blocked }
        upstream = own
        own.sharers += 1
        own.isExclusive = true
        mode = .preparing
        worker.statistics.commandsPinned += 1
        own.prepare(for: self)
        return .blocked
    }

    /// The upstream of a pipe is as the client left the ones before.
    func prepared(_ own: UpstreamConnection) {
        guard channel.isOpen, mode == .preparing else { return }
        own.piped = self
        own.output.forgetsSent = true
        mode = .piped
        worker.ready(self)
    }

    /// A held upstream whose further state cannot be followed: from here on, bytes only.
    func becomePipe() -> Outcome {
        guard let upstream else { return .done }
        if inFlight > 0 { return waitForReplies() }
        upstream.endHold()
        upstream.isExclusive = true
        upstream.piped = self
        upstream.output.forgetsSent = true
        mode = .piped
        worker.ready(self)
        return .blocked
    }

    func pass(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard let upstream else { return }
        isOwed = true
        upstream.stream(bytes, count: count)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
    }
}
