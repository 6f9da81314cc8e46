// Handshakes of TLS take much longer than commands, so they wait behind everything else, and one
// turn goes on with few of them: many clients that come at once do not delay those that are there.

import EventLoop
import Pool

extension Worker {
    /// The most steps of handshakes in one turn.
    private static let mostSteps = 4
    /// After this time no further step is begun in this turn, in nanoseconds.
    private static let stepTime: Int64 = 1_000_000

    /// Begins TLS with a client that has just been accepted. Its pool has a context.
    func secure(_ client: ClientConnection) {
        guard let context = client.pool.secure else { return }
        client.channel.beginPatientTLS(context, on: loop)
        watched.shaking.append((client.id, since: now))
    }

    /// There is input for the client's handshake.
    func shakeHandsLater(with client: ClientConnection) {
        if client.lists.contains(.shaking) { return }
        client.lists.insert(.shaking)
        work.shaking.append(client.id)
    }

    /// Goes on with some handshakes, when all commands of this turn have been written. Returns true
    /// if there may be output again.
    func shakeHands() -> Bool {
        if work.shaking.isEmpty || work.isDelayed { return false }
        let began = EventLoop.now()
        var steps = 0
        while steps < work.shaking.count, steps < Worker.mostSteps {
            clients[work.shaking[steps]]?.shakeHands()
            steps += 1
            if EventLoop.now() - began >= Worker.stepTime { break }
        }
        work.shaking.removeFirst(steps)
        if work.shaking.isEmpty { work.shaking = [] }
        return true
    }

    /// Called with every tick: closes clients whose handshake takes too long, and forgets those
    /// whose handshake is done.
    func closeLateHandshakes() {
        var late: [ClientConnection] = []
        watched.shaking.removeAll { id, since in
            guard let client = clients[id], client.channel.isHandshaking else { return true }
            guard now - since >= ClientConnection.handshakeTimeout else { return false }
            late.append(client)
            return true
        }
        for client in late { client.closeLateHandshake() }
        if watched.shaking.isEmpty { watched.shaking = [] }
    }
}
