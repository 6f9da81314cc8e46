// Redpool's PING on an idle upstream, which tests whether the server answers.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Sends the PING. The pool does not lend the connection meanwhile.
    func probe() {
        expect(UpstreamConnection.nobody, .probe, bytes: UpstreamConnection.ping.count)
        sendOwn(UpstreamConnection.ping)
    }

    static let ping = Array("*1\r\n$4\r\nPING\r\n".utf8)

    /// Takes the reply to the PING. An error proves as much as PONG. Any other reply belongs to
    /// another command.
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

    /// The server has answered.
    func probed() {
        server.machine.probed(id, now: worker.now)
        server.noteWork()
        wakeSoloists()
    }
}
