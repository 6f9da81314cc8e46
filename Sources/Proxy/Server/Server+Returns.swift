// Clients that wait for one particular connection while another client uses it.

import Pool

extension Server {
    /// How many of the clients that wait for one connection are resumed after each event. Each
    /// costs as much as a command, and there may be thousands.
    static let wokenWithWork = 16

    /// Resumes `client` after the next event in the pool, with the next tick at the latest.
    func wakeWithWork(_ client: ClientConnection) {
        if client.awaitsReturn { return }
        client.awaitsReturn = true
        awaitingReturn.append(client.id)
    }

    /// Resumes the first `count` clients that wait for one connection. A client that has to keep
    /// waiting goes to the end.
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
