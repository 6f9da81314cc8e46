// Scripts and functions. They share a slow upstream unless the server lets them make up replies;
// see ScriptTrust.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Whether scripts can be trusted. What is known of this server applies only to a connection
    /// that is known to lead to it.
    private var scriptVerdict: ScriptTrust.Verdict {
        if inFlight > 0, let upstream, !upstream.isOfThisServer { return .splits }
        return server.scriptVerdict(for: key.user)
    }

    /// Runs a script of a client that holds no upstream.
    func runScript(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        switch scriptVerdict {
        case .clean: forward(.slow, .plain, 0, bytes)
        case .splits:
            forwardAlone(.pin, .plain, 0, bytes, isBlocking: false, isFenced: true)
        case .unknown: askAboutScripts()
        }
    }

    /// Runs a script on the held upstream. If it can make up replies, they must not reach another
    /// client, and they must not be read as replies of a transaction.
    func runScriptHeld(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        // On a monitoring connection a status that looks like a line of MONITOR is not counted as a
        // reply.
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

    /// Whether a script may be a member of a block.
    func mayRunInBlock(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        guard CommandTable.runsScript(command) else { return true }
        return scriptVerdict == .clean
            && CommandTable.planScript(command, bytes, frame) == .runScript
    }

    /// True if this client's scripts are treated like any other slow command.
    var trustsScripts: Bool { scriptVerdict == .clean }
}
