// What the server owes to clients that are not logged in, and those of them who wait because that
// is much. They share one upstream.

import EventLoop
import Pool
import RESP
import Session

/// Clients that are not logged in and wait to send, first come, first served.
struct Strangers {
    var waiting: [SlotID] = []

    /// The server closes a connection without a login when more than 1,024 bytes of replies do not
    /// fit into its write buffer, and that may be as small as 1,024 bytes (Redis from 6.2.18, 7.2.8
    /// and 7.4.3 on, networking.c: CVE-2025-21605). A fence's answer may come on top.
    static let mostOwed = 960

    /// The largest reply: -NOAUTH, or an error that quotes a name and arguments, 128 bytes of each.
    static func cost(isQuoting: Bool) -> Int { isQuoting ? 320 : 40 }
}

extension ClientConnection {
    /// Sends a command on the upstream of all who are not logged in. `value` is 1 when the reply may
    /// quote the command.
    func forwardBeforeLogin(_ value: UInt32, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        let cost = Strangers.cost(isQuoting: value == 1)
        guard server.hasRoom(for: self, cost) else { return awaitRoom() }
        let outcome = forward(.shared, .beforeLogin, value, bytes)
        if outcome == .sent { owe(cost) }
        return outcome
    }

    /// Has our question whether the server wants a login go the same way.
    func askWhetherLocked() -> Outcome {
        let cost = Strangers.cost(isQuoting: false)
        guard server.hasRoom(for: self, cost) else { return awaitRoom() }
        let outcome = ask(.lockQuestion, [Array("PING".utf8)])
        if mode == .asking { owe(cost) }
        return outcome
    }

    private func owe(_ cost: Int) {
        upstream?.owedToStrangers += cost
        placeInLine = .none
    }

    private func awaitRoom() -> Outcome {
        if let unused = granted {
            granted = nil
            server.giveBack(unused.upstream)
        }
        if placeInLine != .waiting {
            placeInLine = .waiting
            server.strangers.waiting.append(id)
        }
        return waitForReplies()
    }
}

extension UpstreamConnection {
    /// A stranger's reply has come.
    func settleStranger(isQuoting: Bool) {
        owedToStrangers -= Strangers.cost(isQuoting: isQuoting)
        server.callStrangers()
    }
}

extension Server {
    /// True when the server may owe `client` so many bytes more, and it is its turn.
    func hasRoom(for client: ClientConnection, _ cost: Int) -> Bool {
        owedToStrangers + cost <= Strangers.mostOwed
            && (strangers.waiting.isEmpty || client.placeInLine == .called)
    }

    private var owedToStrangers: Int {
        allUpstreams.reduce(0) { $0 + $1.owedToStrangers }
    }

    /// Has as many strangers look again as there is room for. Called with every tick as well: a
    /// connection may have ended, or a client that was called may have had nothing to send any more.
    func callStrangers() {
        if strangers.waiting.isEmpty { return }
        var room = (Strangers.mostOwed - owedToStrangers) / Strangers.cost(isQuoting: false)
        var passed = 0
        for id in strangers.waiting {
            if room <= 0 { break }
            passed += 1
            guard let client = worker.clients[id], client.placeInLine == .waiting else { continue }
            client.placeInLine = .called
            worker.ready(client)
            room -= 1
        }
        strangers.waiting.removeFirst(passed)
    }
}
