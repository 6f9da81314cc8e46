// Leases of a client: asking the pool for an upstream, waiting for one, and what the pool answers.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// The outcome of a command without a lease: it waits, or it has been answered with an error.
    var withoutLease: Outcome {
        switch mode {
        case .waiting, .barrier: .blocked
        default: .answered
        }
    }

    /// Leases an upstream. Nil if none is free; `withoutLease` then has the outcome.
    func lease(
        _ kind: LeaseKind, _ wanted: PoolKey, mayBlock: Bool = false
    ) -> UpstreamConnection? {
        if let granted {
            self.granted = nil
            // Since the client began to wait, a transaction may have become complete, or a key
            // known. If the head command now needs another kind of lease, this one goes back.
            if granted.upstream.stage == .ready {
                if granted.wanted == Wanted(kind: kind, key: wanted) { return granted.upstream }
                server.giveBack(granted.upstream)
            }
        }
        let outcome = home._withUnsafeGuaranteedRef { $0.lease(kind, wanted, for: id) }
        switch outcome {
        case .granted(let upstream):
            return home._withUnsafeGuaranteedRef { $0.lent(upstream) }
        case .queued(let ticket):
            mode = .waiting(
                LeaseWait(
                    ticket: ticket, wanted: Wanted(kind: kind, key: wanted),
                    isBlocking: mayBlock, since: worker.now))
            trace("client.waits", ["lease": kind.word, "database": "\(wanted.database)"])
            server.noteWork()
            return nil
        case .refused(.draining) where followPrimary():
            // It is planned anew: what is known of the former server, for example whether its
            // scripts can make up replies, says nothing about this one.
            mode = .barrier
            worker.ready(self)
            return nil
        case .refused(let refusal):
            pool.meter.leasesRefused += 1
            replyError(server.refusalText(refusal))
            return nil
        }
    }

    /// The pool grants an upstream. Returns false if this client has stopped waiting.
    func granted(_ upstream: UpstreamConnection) -> Bool {
        guard channel.isOpen, case .waiting(let wait) = mode else { return false }
        granted = Grant(upstream: upstream, wanted: wait.wanted)
        pool.waitEnded(wait)
        pool.countWait(wait)
        noteWait(wait, end: .answered)
        mode = .open
        trace("client.granted", ["lease": wait.wanted.kind.word])
        worker.ready(self)
        return true
    }

    /// Ends a wait of this client: the head command asks again, perhaps another server. What the
    /// pool has decided about it already is carried out first, because a later wait of this client
    /// would take it for its own.
    func giveUp(_ wait: LeaseWait) {
        if !server.machine.cancel(wait.ticket) {
            server.carryOutActions()
            if let unused = granted {
                granted = nil
                server.giveBack(unused.upstream)
            }
        }
        leaseAnew()
    }

    /// The granted upstream is gone already: the head command asks again.
    func leaseAnew() {
        guard channel.isOpen, case .waiting = mode else { return }
        mode = .open
        worker.ready(self)
    }

    /// The pool ends this client's wait with an error.
    func refused(_ refusal: String, _ reason: RefusedReason = .upstream_down) {
        guard channel.isOpen, case .waiting(let wait) = mode else { return }
        self.refusal = refusal
        pool.waitEnded(wait)
        pool.meter.leasesRefused += 1
        noteWait(wait, end: .refused(reason))
        mode = .open
        worker.ready(self)
    }
}
