// The end of a loop iteration: hand-overs first, because they make more output, then one write per
// connection that has any.

import EventLoop
import Pool

extension Worker {
    /// Everything that was decided during the callbacks happens here.
    @inline(__always)
    func epilogue() {
        if hasOrderToCarryOut { carryOutOrders() }
        settleAndResume()
        flushAll()
        boundOutput()
        // A flush can lose a connection, which can free a place for somebody who waits.
        if !readyClients.isEmpty || !serversWithWork.isEmpty {
            settleAndResume()
            flushAll()
        }
        isClockRead = false
        assert(pools.allSatisfy(\.server.hasNotedWork), "a pool has decided something unsaid")
    }

    /// Runs pool actions and wakes clients until neither makes the other necessary.
    private func settleAndResume() {
        // What other workers lack may concern any pool that is shared with them.
        if group.workers > 1 { for pool in pools { pool.server.noteWork() } }
        while !serversWithWork.isEmpty || !readyClients.isEmpty {
            // In order: those who have waited longest come first. More may be added on the way.
            var next = 0
            while next < serversWithWork.count {
                serversWithWork[next].settle()
                next += 1
            }
            serversWithWork.removeAll()
            next = 0
            while next < readyClients.count {
                readyClients[next].resume()
                next += 1
            }
            readyClients.removeAll()
        }
    }

    /// Queues a client for `resume()` in this iteration.
    func ready(_ client: ClientConnection) {
        if client.isReady { return }
        client.isReady = true
        readyClients.append(client)
    }

    /// Queues a connection for one write at the end of this iteration.
    func markDirty(_ client: ClientConnection) {
        if client.isDirty { return }
        client.isDirty = true
        dirtyClients.append(client)
    }

    func markDirty(_ upstream: UpstreamConnection) {
        if upstream.isDirty { return }
        upstream.isDirty = true
        dirtyUpstreams.append(upstream)
    }

    /// Clients first: their commands are done, and every write to a server costs time, the more so
    /// if it wakes a server on the same processor. An upstream that is lost in its flush has more to
    /// say to clients.
    private func flushAll() {
        let answered = dirtyClients.count
        flushClients()
        if mayGather(answered) { return }
        flushUpstreams()
        flushClients()
    }

    /// Once several clients have been answered, some of them have sent their next commands by the
    /// time the last one is: one more look at what has come, without waiting, and the same write
    /// carries those too. A server spends more on a read than on the commands in it.
    private func mayGather(_ answered: Int) -> Bool {
        isGathering =
            !isGathering && answered >= Worker.gatheringFrom && !dirtyUpstreams.isEmpty
        return isGathering
    }

    private func flushUpstreams() {
        if dirtyUpstreams.isEmpty { return }
        now = MonotonicTime(nanoseconds: EventLoop.now())
        // A flush may add to the list.
        var index = 0
        while index < dirtyUpstreams.count {
            let upstream = dirtyUpstreams[index]
            upstream.isDirty = false
            upstream.flush()
            index += 1
        }
        dirtyUpstreams.removeAll()
    }

    private func flushClients() {
        if dirtyClients.isEmpty { return }
        var index = 0
        while index < dirtyClients.count {
            let client = dirtyClients[index]
            client.isDirty = false
            client.flush()
            index += 1
        }
        dirtyClients.removeAll()
    }
}
