// The end of a loop iteration: hand-overs first, because they make more output, then one write per
// connection that has any.

import EventLoop
import Pool

extension Worker {
    /// Everything that was decided during the callbacks happens here.
    func epilogue() {
        settleAndResume()
        flushUpstreams()
        flushClients()
        if chunks.outputBytes > totalOutputLimit { closeSlowestReaders() }
        // A flush can lose a connection, which can free a place for somebody who waits.
        if !readyClients.isEmpty || isPoolWaiting {
            settleAndResume()
            flushUpstreams()
            flushClients()
        }
        isClockRead = false
    }

    /// Runs pool actions and wakes clients until neither makes the other necessary.
    private func settleAndResume() {
        repeat {
            for index in pools.indices {
                let pool = pools[index]
                pool.settleEmptied()
                pool.runActions()
            }
            // In order: those who have waited longest come first. More may be added on the way.
            var next = 0
            while next < readyClients.count {
                readyClients[next].resume()
                next += 1
            }
            readyClients.removeAll(keepingCapacity: true)
        } while !readyClients.isEmpty || isPoolWaiting
        for index in pools.indices { pools[index].armDeadline() }
    }

    /// Some pool has decided something that is not carried out yet.
    private var isPoolWaiting: Bool {
        for index in pools.indices where pools[index].hasWork { return true }
        return false
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

    private func flushUpstreams() {
        if dirtyUpstreams.isEmpty { return }
        now = MonotonicTime(nanoseconds: EventLoop.now())
        // The server begins to work while we still write to the clients. By index: a flush may add
        // to the list, and an iterator would make that a copy of it.
        var index = 0
        while index < dirtyUpstreams.count {
            let upstream = dirtyUpstreams[index]
            upstream.isDirty = false
            upstream.flush()
            index += 1
        }
        dirtyUpstreams.removeAll(keepingCapacity: true)
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
        dirtyClients.removeAll(keepingCapacity: true)
    }
}
