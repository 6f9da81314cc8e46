// A client whose command blocks is read on, as the server would read it on: nothing else shows that
// it has left, because its end comes behind all that it has sent before. So what it sends meanwhile is
// kept, and counts.

import Config
import Pool
import Session

extension ClientConnection {
    /// The command at the head of the input, or the last one on the held upstream, takes as long as
    /// others like, or waits for an upstream on which it will.
    var isBlocked: Bool {
        switch mode {
        case .waiting(let wait): wait.isBlocking
        case .open, .barrier, .exclusive: upstream?.sole?.isBlocking == true
        default: false
        }
    }

    /// It holds an upstream of its own until the state tied to that is over.
    @inline(__always)
    var isHolding: Bool { upstream?.sole?.isHeld == true }

    /// It waits for the reply to a command that blocks, and holds nothing.
    var isBlockedAlone: Bool { mode == .exclusive && isBlocked }

    /// What it waits for of its pool, or has been granted.
    var wanted: Wanted? {
        if case .waiting(let wait) = mode { wait.wanted } else { granted?.wanted }
    }

    /// A large command is coming in, and goes to an upstream of its own as it comes.
    var isStreaming: Bool { if case .streaming = mode { true } else { false } }

    /// Its bytes pass through, both ways.
    var isPiped: Bool { if case .piped = mode { true } else { false } }

    /// The most that is kept behind a command that blocks. The server has such a limit as well, its
    /// `client-query-buffer-limit`, at which it closes the client.
    var blockedInputLimit: Int {
        min(max(pool.config.clientOutputLimit, ClientConnection.inputLimit), 1 << 30)
    }

    /// Whether this client has left cannot be told any more: what waits for it in a queue is not
    /// taken for nobody.
    func closeAtInputLimit() {
        pool.warnLimit(
            "client.input_limit", reason: ClientCloseReason.input_limit.word,
            "closing a blocked client: \(input.count) bytes have come behind its command")
        close(.input_limit)
    }

    /// What memory is held for this client, as far as it counts.
    var bytesHeld: Int { output.count + keptInput }

    /// Counts a long input with what waits for all clients together.
    func countInput() {
        let kept = input.capacity > ClientConnection.inputLimit ? input.capacity : 0
        let change = kept - keptInput
        if change == 0 { return }
        worker.chunks.countOutput(change)
        keptInput = kept
    }
}
