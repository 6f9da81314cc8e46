// Reading of clients whose command blocks. The end of a connection comes behind everything that the
// client has sent, so Redpool notices it only by reading on. The server reads blocked clients as
// well. What they send meanwhile is kept and counted.

import Config
import EventLoop
import Pool
import Session

extension ClientConnection {
    /// The head command or the last one on the held upstream blocks until another client acts, or
    /// waits for an upstream on which it will block.
    var isBlocked: Bool {
        switch mode {
        case .waiting(let wait): wait.isBlocking
        case .open, .barrier, .exclusive: upstream?.sole?.isBlocking == true
        default: false
        }
    }

    /// The client waits for an upstream on which it will block, and is to leave instead.
    var isToBlock: Bool {
        if case .waiting(let wait) = mode { wait.isBlocking && mayNotBlock } else { false }
    }

    /// The client has an upstream of its own until the state tied to it is over.
    @inline(__always)
    var isHolding: Bool { upstream?.sole?.isHeld == true }

    /// The client waits for the reply to a command that blocks, and holds no upstream.
    var isBlockedAlone: Bool { mode == .exclusive && isBlocked }

    /// The lease that the client waits for, or has been granted.
    var wanted: Wanted? {
        if case .waiting(let wait) = mode { wait.wanted } else { granted?.wanted }
    }

    /// A large command is coming in and goes to an upstream of its own at the same time.
    var isStreaming: Bool { if case .streaming = mode { true } else { false } }

    /// Bytes pass through in both directions.
    var isPiped: Bool { if case .piped = mode { true } else { false } }

    /// The most input that is kept behind a command that blocks. The server's
    /// `client-query-buffer-limit` is of the same kind; at that limit it closes the client.
    var blockedInputLimit: Int {
        min(max(pool.config.clientOutputLimit, ClientConnection.inputLimit), 1 << 30)
    }

    /// Redpool cannot see any more whether this client has left, and its blocked command must not
    /// take an element of a list for a client that is gone.
    func closeAtInputLimit() {
        pool.warnLimit(
            "client.input_limit", reason: ClientCloseReason.input_limit.word,
            "closing a blocked client: \(input.count) bytes have come behind its command")
        close(.input_limit)
    }

    /// Counted memory that this client needs, in bytes.
    var bytesHeld: Int { output.count + parkedBytes + channel.bytesKept + keptInput }

    /// Counts a long input buffer in the sum over all clients.
    func countInput() {
        let kept = input.capacity > ClientConnection.inputLimit ? input.capacity : 0
        let change = kept - keptInput
        if change == 0 { return }
        worker.chunks.countOutput(change)
        keptInput = kept
    }
}
