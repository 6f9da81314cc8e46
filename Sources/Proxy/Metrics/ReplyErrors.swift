// The server's error replies by their first word. A fixed list: a script can make up any word, and
// each word is a time series.

import RESP

/// The words that are counted one by one; all others are counted together.
package enum ErrorWord: UInt8, CaseIterable, Sendable {
    case ERR, WRONGTYPE, NOAUTH, WRONGPASS, NOPERM, NOSCRIPT, BUSY, LOADING, MASTERDOWN, READONLY
    case OOM, MISCONF, NOREPLICAS, EXECABORT, BUSYGROUP, NOGROUP, MOVED, CLUSTERDOWN, CROSSSLOT
    case UNBLOCKED
    case other

    package var word: String { "\(self)" }

    private static let known: [(low: UInt64, high: UInt64)] = allCases.dropLast().map {
        ReplyHead.word($0.word)
    }

    /// The word of an error reply.
    init(_ head: ReplyHead) {
        let word = head.firstWord
        let index = ErrorWord.known.firstIndex { $0.low == word.low && $0.high == word.high }
        self = index.map { ErrorWord.allCases[$0] } ?? .other
    }
}

/// Why a command got an error of Redpool's own.
package enum RefusedReason: UInt8, CaseIterable, Sendable {
    case pool_timeout, queue_full, pin_limit, upstream_down, draining
    /// It is in `denyCommands`.
    case denied
    /// Its upstream was lost before the reply, and `onUpstreamLoss` is `error`.
    case upstream_lost

    package var word: String { "\(self)" }

    /// The reason with this word; all reasons of refused leases are among them.
    init?(word: String) {
        guard let found = RefusedReason.allCases.first(where: { $0.word == word }) else {
            return nil
        }
        self = found
    }
}
