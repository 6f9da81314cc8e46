// Signs that a server may be the primary no longer, for those who name it.

import Config
import EventLoop

extension Server {
    /// Tells the main thread, if Sentinels name the primary: it asks them. One sign of each kind in
    /// 100 ms is enough.
    func tell(_ trouble: PrimaryTrouble) {
        if let node = node.address {
            guard departure == nil, !isReplica, trouble == .lost || trouble == .dialFailed,
                looks.mayTell(trouble, now: worker.now)
            else { return }
            return pool.tell(.lost(node))
        }
        guard pool.config.sentinels != nil, departure == nil, let address = names.upstream,
            looks.mayTell(trouble, now: worker.now)
        else { return }
        worker.group.signs.post(
            PrimarySign(pool: pool.config.name, address: address, trouble: trouble))
    }

    /// A node of a cluster of which trouble was told can be reached again.
    func tellConnected() {
        guard let node = node.address, looks.hasTold() else { return }
        pool.tell(.connected(node))
    }
}
