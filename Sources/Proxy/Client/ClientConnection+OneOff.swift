// Commands that can change a connection and are not understood to the last word. Each goes alone to
// an upstream that is closed afterwards, so that whatever it has done there meets nobody else.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Sends a command that is not understood: over an upstream of its own, or over the held one;
    /// that upstream is not used again.
    func forwardOneOff(
        _ expectation: Expectation, _ bytes: UnsafeRawBufferPointer, value: UInt32 = 0
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if isHolding {
            guard let upstream else { return .answered }
            if isRestricted { return sendHeld(expectation, value, bytes) }
            if upstream.ending.spoiled == nil {
                guard server.oneOffs.gate.begin(now: worker.now) else { return awaitOneOff() }
                // It counts as the pin that it is; that it is closed is what the rate bounds.
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

    /// A command that may have turned something on if the server says +OK: then the upstream is this
    /// client's until RESET or its end.
    func holdOneOff(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        if isHolding { return forwardOneOff(.bind, bytes) }
        if inFlight > 0 { return waitForReplies() }
        guard server.maySpend(for: self) else { return awaitOneOff() }
        guard let own = lease(.pin, key) else { return withoutLease }
        guard server.spend(own, for: self) else {
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
            return awaitOneOff()
        }
        // It counts as the pin that it is; that it is closed is what the rate bounds.
        server.unspend(own)
        upstream = own
        own.lend(to: self, for: .hold)
        own.rename(identity.name)
        return sendDoubtful(.bind, 0, bytes)
    }

    /// Has the command wait in line, until it has waited long enough.
    private func awaitOneOff() -> Outcome {
        if let unused = granted {
            granted = nil
            server.giveBack(unused.upstream)
        }
        let limit = retryUntil ?? worker.now + pool.config.poolTimeout
        // Nobody waits for a client that has perhaps gone, with many more such commands.
        guard worker.now < limit, !inputEnded else {
            retryUntil = nil
            placeInLine = .none
            return refuse(server.oneOffText)
        }
        retryUntil = limit
        server.standInLine(self, until: limit)
        return waitForReplies()
    }

    // MARK: On a held upstream

    /// Sends a command on the held upstream that may bring more replies than one, or none. Nothing
    /// is sent behind it, so that no reply of its making is believed, before a fence has come back.
    /// Inside a transaction that is done behind EXEC. What cannot be fenced becomes a pipe.
    func sendDoubtful(
        _ expectation: Expectation, _ value: UInt32, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let upstream, let hold = upstream.hold else { return .answered }
        if isRestricted { return sendHeld(expectation, value, bytes) }
        // A MULTI that the server has refused has opened nothing.
        if !hold.isInTransaction { session.released() }
        guard upstream.canFence, members.isEmpty else {
            guard hold.isInTransaction, session.replyMode != .on else { return becomePipe() }
            // The bytes of a pipe could not be hidden here. What EXEC does is not looked at, so
            // nobody else has this upstream afterwards.
            members = []
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
        // Of members that are looked at, what EXEC says could not be believed.
        guard let upstream, upstream.canFence, members.isEmpty else { return becomePipe() }
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

/// Whether a client waits for a one-off upstream, or for room among those who are not logged in.
enum PlaceInLine {
    case none
    case waiting
    /// Its turn has come; it has not looked yet.
    case called
}
