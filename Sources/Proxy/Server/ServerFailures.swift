// What has failed last with a server, for people to read.

import Pool

/// The last failures of a server, in the words of the system or the server.
struct ServerFailures {
    /// What the last failed dial came to; empty if none has failed.
    private(set) var dial = ""
    /// The last failed dial or lost upstream.
    private(set) var last: LastError?

    mutating func dialFailed(_ text: String, at now: MonotonicTime) {
        dial = text
        last = LastError(text: text, at: now)
    }

    mutating func lost(_ reason: CloseReason, at now: MonotonicTime) {
        last = LastError(text: "lost in use: \(reason.word)", at: now)
    }
}
