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
        if !work.readyClients.isEmpty || !work.servers.isEmpty {
            settleAndResume()
            flushAll()
        }
        clock.isRead = false
        assert(pools.allSatisfy(\.server.hasNotedWork), "a pool has decided something unsaid")
    }

    /// Runs pool actions and wakes clients until neither makes the other necessary.
    private func settleAndResume() {
        // What other workers lack may concern any pool that is shared with them.
        if group.workers > 1 { for pool in pools { pool.server.noteWork() } }
        while !work.servers.isEmpty || !work.readyClients.isEmpty {
            // In order: those who have waited longest come first. More may be added on the way.
            var next = 0
            while next < work.servers.count {
                work.servers[next].settle()
                next += 1
            }
            work.servers.removeAll()
            next = 0
            while next < work.readyClients.count {
                work.readyClients[next].resume()
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

    /// Clients first: their commands are done, and every write to a server costs time, the more so
    /// if it wakes a server on the same processor. An upstream that is lost in its flush has more to
    /// say to clients.
    private func flushAll() {
        let answered = work.dirtyClients.count
        flushClients()
        if mayGather(answered) { return }
        flushUpstreams()
        flushClients()
    }

    /// Once several clients have been answered, some of them have sent their next commands by the
    /// time the last one is: one more look at what has come, without waiting, and the same write
    /// carries those too. A server spends more on a read than on the commands in it.
    private func mayGather(_ answered: Int) -> Bool {
        work.isDelayed =
            !work.isDelayed && answered >= Worker.gatheringFrom && !work.dirtyUpstreams.isEmpty
        return work.isDelayed
    }

    private func flushUpstreams() {
        if work.dirtyUpstreams.isEmpty { return }
        clock.now = MonotonicTime(nanoseconds: EventLoop.now())
        // A flush may add to the list.
        var index = 0
        while index < work.dirtyUpstreams.count {
            let upstream = work.dirtyUpstreams[index]
            upstream.isDirty = false
            upstream.flush()
            index += 1
        }
        work.dirtyUpstreams.removeAll()
    }

    private func flushClients() {
        if work.dirtyClients.isEmpty { return }
        var index = 0
        while index < work.dirtyClients.count {
            let client = work.dirtyClients[index]
            client.lists.remove(.dirty)
            client.flush()
            index += 1
        }
        work.dirtyClients.removeAll()
    }
}
