// Scripts and functions: over a slow upstream that others share, unless the server lets them make
// replies up; see ScriptTrust.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// What is in flight goes to an earlier server, or nobody knows where: what holds for this
    /// server's scripts does not hold behind it.
    private var scriptVerdict: ScriptTrust.Verdict {
        if inFlight > 0, let upstream, !upstream.isOfThisServer { return .splits }
        return server.scriptVerdict(for: key.user)
    }

    /// A script of a client that holds nothing.
    func runScript(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        switch scriptVerdict {
        case .clean: forward(.slow, .plain, 0, bytes)
        case .splits:
            forwardAlone(.pin, .plain, 0, bytes, isBlocking: false, isFenced: true)
        case .unknown: askAboutScripts()
        }
    }

    /// A script on the held upstream. Where it can make replies up, they must not come when others
    /// have this connection, nor be taken for what a transaction has done to it.
    func runScriptHeld(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        // A status that looks like a line of MONITOR is not seen as a reply.
        let isKnown =
            upstream?.isOfThisServer == true && upstream?.hold?.isMonitoring != true
        return switch isKnown ? server.scriptVerdict(for: key.user) : .splits {
        case .clean: sendHeld(.plain, 0, bytes)
        case .splits: sendDoubtful(.plain, 0, bytes)
        case .unknown: askAboutScripts()
        }
    }

    private func askAboutScripts() -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if let unused = granted {
            granted = nil
            server.giveBack(unused.upstream)
        }
        server.askAboutScripts(for: self)
        return waitForReplies()
    }

    /// Whether a script may be a member of a block that is forwarded whole.
    func mayRunInBlock(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        guard CommandTable.runsScript(command) else { return true }
        return scriptVerdict == .clean
            && CommandTable.planScript(command, bytes, frame) == .runScript
    }

    /// True when scripts of this client are like any other slow command.
    var trustsScripts: Bool { scriptVerdict == .clean }
}
