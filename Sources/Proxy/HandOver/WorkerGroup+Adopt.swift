// What a process that takes over from another program continues: its clients count, and their ids
// go on.

import HandOver
import Session
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

extension PoolGroup {
    /// The ids of primaries in the order of their numbers in cursors of SCAN. A former program has
    /// given them before this one gives any.
    var scanOrder: [[UInt8]] {
        get { scanNumbers.withLock { $0.sorted { $0.value < $1.value }.map(\.key) } }
        set {
            let known = newValue.prefix(ScanCursor.mostNodes).enumerated()
            scanNumbers.withLock { numbers in
                for (number, id) in known where numbers[id] == nil { numbers[id] = number }
            }
        }
    }
}
