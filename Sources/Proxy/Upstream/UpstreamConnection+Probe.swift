// Our PING on an idle upstream: whether the server is there.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Sends our PING; the pool lends the connection to nobody meanwhile.
    func probe() {
        expect(UpstreamConnection.nobody, .probe, bytes: UpstreamConnection.ping.count)
        sendOwn(UpstreamConnection.ping)
    }

    static let ping = Array("*1\r\n$4\r\nPING\r\n".utf8)

    /// A reply in the place of that to our PING: an error shows as much as a PONG, anything else
    /// that somebody was answered twice.
    func takeProbe(isComplete: Bool) {
        let isPong =
            scanner.type == UInt8(ascii: "+") && (!isComplete || scanner.head.matches("PONG"))
        guard isPong || scanner.isError else {
            poison("a wrong reply to PING")
            return
        }
        guard isComplete else { return }
        if scanner.isError { noteOwn(UpstreamConnection.ping, isRefused: true) }
        finishHead()
        if isPong { needsNoLogin() }
        if isPong, key.user == 0, stage == .ready, server.mayLookAgain {
            lookAgain()
        } else {
            probed()
        }
    }

    /// The server is there.
    func probed() {
        server.machine.probed(id, now: worker.now)
        server.noteWork()
        wakeSoloists()
    }
}
