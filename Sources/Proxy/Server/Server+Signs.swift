// Signs that a server may be the primary no longer, for those who name it.

import Config
import EventLoop

extension Server {
    /// Tells the main thread, if Sentinels name the primary: it asks them. One sign of each kind in
    /// 100 ms is enough.
    func tell(_ trouble: PrimaryTrouble) {
        guard pool.config.sentinels != nil, departure == nil, let address = names.upstream,
            looks.mayTell(trouble, now: worker.now)
        else { return }
        worker.group.signs.post(
            PrimarySign(pool: pool.config.name, address: address, trouble: trouble))
    }
}
