// The end of a loop iteration. Hand-overs come first, because they produce output; then one write
// per connection that has any.

import EventLoop
import Pool

extension Worker {
    /// Carries out everything that was decided during the callbacks.
    @inline(__always)
    func epilogue() {
        if hasOrderToCarryOut { carryOutOrders() }
        settleAndResume()
        if !work.expecting.isEmpty { endExpectation() }
        flushAll()
        boundOutput()
        if fanOut.hasWork, !work.isDelayed { writeFanOut() }
        // A flush can lose a connection, which can free a place for a waiter.
        if shakeHands() || !work.readyClients.isEmpty || !work.servers.isEmpty {
            settleAndResume()
            flushAll()
        }
        clock.isRead = false
        if !work.departed.isEmpty { work.departed.letGo(all: work.isDone) }
        assert(
            pools.allSatisfy { $0.servers.allSatisfy(\.hasNotedWork) },
            "a server has decided something unsaid")
    }

    /// Runs pool actions and resumes clients until neither produces more of the other.
    private func settleAndResume() {
        if group.workers > 1 {
            for pool in pools {
                for server in pool.servers where server.mayBalance { server.noteWork() }
            }
        }
        while !work.servers.isEmpty || !work.readyClients.isEmpty {
            // In order: the longest waiter comes first. The lists may grow during the walk.
            var next = 0
            while next < work.servers.count {
                work.servers[next]._withUnsafeGuaranteedRef { $0.settle() }
                next += 1
            }
            work.servers.removeAll()
            next = 0
            while next < work.readyClients.count {
                work.readyClients[next]._withUnsafeGuaranteedRef { $0.resume() }
                next += 1
            }
            work.readyClients.removeAll()
        }
    }

    /// Queues a client for `resume()` in this iteration.
    func ready(_ client: ClientConnection) {
        if client.lists.contains(.ready) { return }
        client.lists.insert(.ready)
        work.readyClients.append(client)
    }

    /// Queues a connection for one write at the end of this iteration.
    func markDirty(_ client: ClientConnection) {
        if client.lists.contains(.dirty) { return }
        client.lists.insert(.dirty)
        work.dirtyClients.append(client)
    }

    func markDirty(_ upstream: UpstreamConnection) {
        if upstream.isDirty { return }
        upstream.isDirty = true
        work.dirtyUpstreams.append(upstream)
    }

    /// Writes to clients first: their commands are done, and each write to a server takes time,
    /// more if it wakes a server on the same processor. An upstream that is lost in its flush has
    /// errors for clients, so clients are flushed again.
    private func flushAll() {
        let answered = work.dirtyClients.count
        flushClients()
        if mayGather(answered) { return }
        flushUpstreams()
        flushClients()
    }

    /// When several clients have been answered, some have sent their next commands by the time the
    /// last one is. Then the worker polls once more, without waiting, and the same write carries
    /// these commands too. A read costs the server more than the commands in it.
    private func mayGather(_ answered: Int) -> Bool {
        work.isDelayed =
            !work.isDelayed && answered >= Worker.gatheringFrom && !work.dirtyUpstreams.isEmpty
        return work.isDelayed
    }

    private func flushUpstreams() {
        if work.dirtyUpstreams.isEmpty { return }
        clock.beginWriting(MonotonicTime(nanoseconds: EventLoop.now()))
        // A flush may append to the list.
        var index = 0
        while index < work.dirtyUpstreams.count {
            work.dirtyUpstreams[index]._withUnsafeGuaranteedRef { upstream in
                upstream.isDirty = false
                upstream.flush()
            }
            index += 1
        }
        work.dirtyUpstreams.removeAll()
    }

    private func flushClients() {
        if work.dirtyClients.isEmpty { return }
        let mayExpect =
            work.hasSeenStrands && work.dirtyClients.count >= Worker.gatheringFrom
            && lifecycle == .running
        var index = 0
        while index < work.dirtyClients.count {
            work.dirtyClients[index]._withUnsafeGuaranteedRef { client in
                if mayExpect, client.isPartlyAnswered, expectMore(of: client) { return }
                client.lists.subtract([.dirty, .expecting])
                client.flush()
            }
            index += 1
        }
        work.dirtyClients.removeAll()
    }

    /// Several nodes answer a pipeline, and each write to the client takes time. Once, what some of
    /// them have answered waits for one more look at what has come, so that one write may carry
    /// what the others have answered as well. False if it has waited.
    private func expectMore(of client: ClientConnection) -> Bool {
        guard client.lists.insert(.expecting).inserted else { return false }
        work.expecting.append(client)
        return true
    }

    /// What has waited since the last iteration goes out in this one.
    private func endExpectation() {
        var index = 0
        while index < work.expecting.count {
            work.expecting[index]._withUnsafeGuaranteedRef { work.dirtyClients.append($0) }
            index += 1
        }
        work.expecting.removeAll()
    }
}
