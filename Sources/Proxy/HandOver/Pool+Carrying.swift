// What is written down of a pool and of its server, and how it is taken over.

import EventLoop
import HandOver
import Pool
import Session

extension PoolFront {
    /// What a former program has learnt of logins.
    func takeLogins(_ carried: CarriedPool) {
        defaultNeedsLogin = defaultNeedsLogin || carried.defaultNeedsLogin
        isLoginKnown = isLoginKnown || carried.isLoginKnown
    }
}

extension Server {
    /// Ends idle connections with TLS in order, which cannot be handed over: the server sees
    /// close_notify, and no broken stream. They are closed if this program goes on after all.
    func closeIdleTLS() {
        for upstream in allUpstreams where upstream.channel.isTLS {
            guard machine.carried(upstream.id)?.lease == CarriedSlot.Lease.none else { continue }
            upstream.channel.finishWriting()
            machine.retire(upstream.id, .upgrade, now: worker.now)
        }
        noteWork()
    }
}

extension ServerFacts {
    /// What does not change while the same process answers.
    var carried: CarriedFacts {
        var facts = CarriedFacts()
        facts.version = version
        facts.valkeyVersion = valkeyVersion
        facts.runID = runID
        facts.timeoutSeconds = timeoutSeconds
        facts.outputLimit = UInt64(max(0, outputLimit))
        facts.clientLine = clientLine
        facts.hasTransactions = hasTransactions
        facts.newProtocol =
            switch newProtocol {
            case .unknown: .unknown
            case .spoken: .spoken
            case .refused: .refused
            }
        return facts
    }
}

extension Worker {
    /// Facts of a server, until its first connection here tells them anew.
    func learn(_ carried: CarriedServer, of pool: PoolFront?) {
        guard let server = pool?.primary, carried.isPrimary else { return }
        let facts = carried.facts
        server.facts.version = facts.version
        server.facts.valkeyVersion = facts.valkeyVersion
        server.facts.runID = facts.runID
        server.facts.timeoutSeconds = facts.timeoutSeconds
        server.facts.outputLimit = Int(clamping: facts.outputLimit)
        server.facts.clientLine = facts.clientLine
        server.facts.hasTransactions = facts.hasTransactions
        server.facts.newProtocol =
            switch facts.newProtocol {
            case .unknown: .unknown
            case .spoken: .spoken
            case .refused: .refused
            }
    }
}
