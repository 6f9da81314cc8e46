// Bounds what the server owes to clients that are not logged in. They share one upstream; some wait
// when the server owes too much.

import EventLoop
import Pool
import RESP
import Session

/// Clients that are not logged in and wait to send, in order of arrival.
struct Strangers {
    var waiting: [SlotID] = []

    /// The server closes a connection without a login when more than 1,024 bytes of replies do not
    /// fit into its write buffer, which may be as small as 1,024 bytes (Redis from 6.2.18, 7.2.8
    /// and 7.4.3 on, networking.c: CVE-2025-21605). The reply to a fence may be added to it.
    static let mostOwed = 960

    /// The largest reply in bytes: -NOAUTH, or an error that quotes a name and arguments, 128 bytes
    /// of each.
    static func cost(isQuoting: Bool) -> Int { isQuoting ? 320 : 40 }
}

extension ClientConnection {
    /// Sends a command on the upstream that all clients without a login share. `value` is 1 when
    /// the reply may quote the command.
    func forwardBeforeLogin(_ value: UInt32, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        let cost = Strangers.cost(isQuoting: value == 1)
        guard server.hasRoom(for: self, cost) else { return awaitRoom() }
        let outcome = forward(.shared, .beforeLogin, value, bytes)
        if outcome == .sent { owe(cost) }
        return outcome
    }

    /// Sends the question whether the server requires a login on the same upstream.
    func askWhetherLocked() -> Outcome {
        let cost = Strangers.cost(isQuoting: false)
        guard server.hasRoom(for: self, cost) else { return awaitRoom() }
        let outcome = ask(.lockQuestion, [Array("PING".utf8)])
        if mode == .asking { owe(cost) }
        return outcome
    }

    private func owe(_ cost: Int) {
        upstream?.flow.owedToStrangers += cost
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
    /// The reply to a client without a login has come.
    func settleStranger(isQuoting: Bool) {
        flow.owedToStrangers -= Strangers.cost(isQuoting: isQuoting)
        server.callStrangers()
    }
}

extension Server {
    /// True when the server may owe `client` so many bytes more and it is the client's turn.
    func hasRoom(for client: ClientConnection, _ cost: Int) -> Bool {
        owedToStrangers + cost <= Strangers.mostOwed
            && (strangers.waiting.isEmpty || client.placeInLine == .called)
    }

    private var owedToStrangers: Int {
        allUpstreams.reduce(0) { $0 + $1.flow.owedToStrangers }
    }

    /// Resumes as many waiting clients as there is room for. Also called with every tick: a
    /// connection may have ended, or a resumed client may have nothing left to send.
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
