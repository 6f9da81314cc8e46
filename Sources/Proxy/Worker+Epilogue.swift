// The end of a loop iteration: hand-overs first, because they make more output, then one write per
// connection that has any.

import Pool

extension Worker {
    /// Everything that was decided during the callbacks happens here.
    func epilogue() {
        if readyClients.isEmpty && dirtyClients.isEmpty && dirtyUpstreams.isEmpty {
            for pool in pools { pool.runActions() }
            if readyClients.isEmpty && dirtyClients.isEmpty && dirtyUpstreams.isEmpty { return }
        }
        settleAndResume()
        flushUpstreams()
        flushClients()
        // A flush can lose a connection, which can free a place for somebody who waits.
        if !readyClients.isEmpty || pools.contains(where: { $0.hasWork }) {
            settleAndResume()
            flushUpstreams()
            flushClients()
        }
    }

    /// Runs pool actions and wakes clients until neither makes the other necessary.
    private func settleAndResume() {
        repeat {
            for pool in pools { pool.settleEmptied() }
            for pool in pools { pool.runActions() }
            while let client = readyClients.popLast() {
                client.resume()
            }
        } while !readyClients.isEmpty || pools.contains(where: { $0.hasWork })
        for pool in pools { pool.armDeadline() }
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
        // The server begins to work while we still write to the clients.
        for upstream in dirtyUpstreams {
            upstream.isDirty = false
            upstream.flush()
        }
        dirtyUpstreams.removeAll(keepingCapacity: true)
    }

    private func flushClients() {
        for client in dirtyClients {
            client.isDirty = false
            client.flush()
        }
        dirtyClients.removeAll(keepingCapacity: true)
    }
}
