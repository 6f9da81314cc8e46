// Carries out an operator's commands on this worker.

import EventLoop
import Pool

extension Worker {
    /// Carries out a command and answers, at once or, a PAUSE, when the pool is quiet.
    func carryOut(_ command: OperatorCommand, for asker: OperatorAsker) {
        let answer: OperatorAnswer
        switch command {
        case .pause(let name, let until, let closesHolders):
            guard let pool = pool(name) else {
                answer = .ended(.resumed, UpstreamUses())
                break
            }
            pool.beginHalt(until: until, closesHolders: closesHolders, for: asker)
            return
        case .resume(let name): answer = .done(pool(name)?.endHalt(.resumed) == true ? 1 : 0)
        case .reconnect(let name): answer = .done(pool(name)?.replaceAll() ?? 0)
        case .killClient(let serial): answer = .done(killClient(serial) ? 1 : 0)
        case .killUpstream(let serial): answer = .done(killUpstream(serial) ? 1 : 0)
        }
        asker.answer(answer, from: index)
    }

    /// Closes a client at once. Its commands in flight on a shared upstream still run.
    private func killClient(_ serial: UInt64) -> Bool {
        for pool in pools {
            guard let client = pool.client(serial: serial) else { continue }
            client.close(.killed)
            return true
        }
        return false
    }

    private func killUpstream(_ serial: UInt64) -> Bool {
        for pool in pools {
            let found = pool.allUpstreams.first { $0.origin.serial == serial }
            guard let found else { continue }
            found.kill()
            return true
        }
        return false
    }
}

extension PoolFront {
    /// `Server.replaceAll` of every server.
    fileprivate func replaceAll() -> Int { servers.reduce(0) { $0 + $1.replaceAll(.reconnect) } }
}

extension Server {
    /// Retires every upstream when it is free, and looks the server's name up again before the next
    /// dial. Returns how many there were. A hub is never free while anybody listens, so it is
    /// closed unless `keepsHubs`.
    @discardableResult
    func replaceAll(_ reason: CloseReason, keepsHubs: Bool = false) -> Int {
        names.doubt()
        let all = allUpstreams
        for upstream in all where !upstream.isShared && !(keepsHubs && upstream.sole?.hub != nil) {
            upstream.retireWhenFree(reason)
        }
        machine.replaceAll(reason, now: worker.now)
        noteWork()
        return all.count
    }
}

extension UpstreamConnection {
    /// Ends the connection at once. Commands that are not sent yet go to another one; the others
    /// are lost.
    func kill() {
        switch stage {
        case .closed: break
        case .closing: finishClosing()
        case .handshaking where !handshake.isFirst: lose(.killed)
        case .connecting, .securing, .handshaking:
            server.machine.retire(id, .killed, now: worker.now)
            server.noteWork()
        case .ready: lose(.killed)
        }
    }
}
