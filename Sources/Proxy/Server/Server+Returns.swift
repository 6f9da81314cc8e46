// Clients that wait for one particular connection, which another client has now.

import Config
import EventLoop
import Pool
import RESP
import Session

extension Server {
    /// How many of those who wait for one connection look again when something has happened: each
    /// costs as much as a command, and there may be thousands.
    static let wokenWithWork = 16

    /// Has `client` look again when something has happened to the pool, at the latest with the next
    /// tick.
    func wakeWithWork(_ client: ClientConnection) {
        if client.awaitsReturn { return }
        client.awaitsReturn = true
        awaitingReturn.append(client.id)
    }

    /// Wakes the first `count` of those who wait for the return of one connection. Who waits on
    /// goes to the end.
    func wakeAwaitingReturn(_ count: Int) {
        if awaitingReturn.isEmpty { return }
        let woken = Array(awaitingReturn.prefix(count))
        awaitingReturn.removeFirst(woken.count)
        for id in woken {
            guard let client = worker.clients[id] else { continue }
            client.awaitsReturn = false
            worker.ready(client)
        }
    }
}
