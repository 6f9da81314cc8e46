// Commands that can change a connection and that Redpool does not fully understand. Each goes alone
// to an upstream that is closed behind it, so no other client meets what it has changed.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Sends a command that is not understood, over an upstream of its own or over the held one.
    /// That upstream is closed when the client leaves it.
    func forwardOneOff(
        _ expectation: Expectation, _ bytes: UnsafeRawBufferPointer, value: UInt32 = 0
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if isHolding {
            guard let upstream else { return .answered }
            if isRestricted { return sendHeld(expectation, value, bytes) }
            if upstream.ending.spoiled == nil {
                guard server.oneOffs.gate.begin(now: worker.now) else { return awaitOneOff() }
                // The pin counts already. The gate's rate bounds how many upstreams are closed in
                // this way.
                server.oneOffs.gate.end()
                placeInLine = .none
                upstream.spoil(.notUnderstood)
            }
            return sendDoubtful(expectation, value, bytes)
        }
        guard server.maySpend(for: self) else { return awaitOneOff() }
        guard let own = lease(.pin, key) else { return withoutLease }
        guard server.spend(own, for: self) else {
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
            return awaitOneOff()
        }
        take(own, expectation, value, bytes: bytes.count, isBlocking: false)
        mode = .exclusive
        own.send(bytes)
        return .sent
    }

    /// A command that may switch on a state. If the server answers +OK, the client keeps the
    /// upstream until RESET or its end.
    func holdOneOff(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if isHolding { return forwardOneOff(.bind, bytes) }
        if inFlight > 0 { return waitForReplies() }
        guard server.maySpend(for: self) else { return awaitOneOff() }
        guard let own = lease(.pin, key) else { return withoutLease }
        guard server.spend(own, for: self) else {
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
            return awaitOneOff()
        }
        // The pin counts already. The gate's rate bounds how many upstreams are closed in this way.
        server.unspend(own)
        upstream = own
        own.lend(to: self, for: .hold)
        own.rename(session.identity.name)
        return sendDoubtful(.bind, 0, bytes)
    }

    /// The command waits for room in the gate, for `poolTimeout` at most.
    private func awaitOneOff() -> Outcome {
        if let unused = granted {
            granted = nil
            server.giveBack(unused.upstream)
        }
        let limit = retryUntil ?? worker.now + pool.config.poolTimeout
        // A client that has ended its input may be gone: no later client waits for it.
        guard worker.now < limit, !inputEnded else {
            retryUntil = nil
            placeInLine = .none
            let text = server.oneOffText(hasWaited: !inputEnded)
            let outcome = refuse(text)
            if outcome != .blocked { pool.warnRefused(Refusal.pinLimit.word, text) }
            return outcome
        }
        retryUntil = limit
        server.standInLine(self, until: limit)
        return waitForReplies()
    }

    // MARK: On a held upstream

    /// Sends a command on the held upstream that may bring several replies, or none. It is followed
    /// by a fence, and nothing else is sent before the fence has come back. Inside a transaction
    /// the fence follows EXEC. Where no fence is possible, the client gets a pipe.
    func sendDoubtful(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let upstream, let hold = upstream.hold else { return .answered }
        if isRestricted { return sendHeld(expectation, value, bytes) }
        // The server has refused the MULTI, so there is no transaction.
        if !hold.isInTransaction { session.released() }
        guard upstream.canFence, session.members.isEmpty else {
            guard hold.isInTransaction, session.replyMode != .on else { return becomePipe() }
            // In a pipe the replies could not be suppressed. What EXEC changes is not followed, so
            // the upstream is not used again.
            session.takeMembers()
            upstream.taint()
            upstream.noteDoubt()
            return sendHeld(.plain, 0, bytes)
        }
        if hold.isInTransaction {
            upstream.noteDoubt()
            return sendHeld(.plain, 0, bytes)
        }
        return sendFenced(expectation, value, bytes)
    }

    /// EXEC of a transaction with such a command in it.
    func execDoubtful(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        // The elements of remembered members could not be trusted in EXEC's reply.
        guard let upstream, upstream.canFence, session.members.isEmpty else { return becomePipe() }
        upstream.settleDoubt()
        return sendFenced(.exec, 0, bytes)
    }

    private func sendFenced(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        let outcome = sendHeld(expectation, value, bytes)
        if let upstream { putFence(behind: upstream) }
        mode = .barrier
        return outcome
    }
}

/// Whether a client waits in a line: for a one-off upstream, or for room among the clients without
/// a login.
enum PlaceInLine {
    case none
    case waiting
    /// It has been called, and has not run yet.
    case called
}
