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
        case .exclusive(let isBlocking): isBlocking
        case .waiting: waitsToBlock
        case .held, .barrier: isBlockingHeld
        default: false
        }
    }

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
