// What a process that takes over from another program continues: its clients count, and their ids
// go on.

import HandOver
import Synchronization

extension WorkerGroup {
    /// The last numbers that were given to clients and to upstreams.
    package var lastNumbers: (client: UInt64, upstream: UInt64) {
        (lastSerial.load(ordering: .relaxed), lastUpstream.load(ordering: .relaxed))
    }

    /// Goes on behind the numbers that a former program has given.
    package func goOn(behind last: (client: UInt64, upstream: UInt64)) {
        lastSerial.store(last.client, ordering: .relaxed)
        lastUpstream.store(last.upstream, ordering: .relaxed)
    }

    /// The connections to a pool that a former program has refused count.
    package func goOn(behind rejected: (atLimit: UInt64, withoutFiles: UInt64), of pool: String) {
        guard let counts = self.pool(pool)?.rejected else { return }
        counts.atLimit.wrappingAdd(rejected.atLimit, ordering: .relaxed)
        counts.withoutFiles.wrappingAdd(rejected.withoutFiles, ordering: .relaxed)
    }

    /// The worker that gets the clients of a pool in a cell; nil if there is no such pool. What
    /// they hold comes with them.
    func heir(of cell: Int, pool: String) -> Int? {
        guard let members = self.pool(pool)?.members, !members.isEmpty else { return nil }
        return workers == 1 ? 0 : members[cell % members.count]
    }

    /// Counts a client that `worker` takes over.
    func adoptClient(by worker: Int) {
        clients.wrappingAdd(1, ordering: .relaxed)
        if workers > 1 { loads[worker].clients.wrappingAdd(1, ordering: .relaxed) }
    }
}
