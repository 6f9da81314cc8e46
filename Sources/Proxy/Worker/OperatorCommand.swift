// The changing commands of an operator (PAUSE, RESUME, RECONNECT, KILL) as the workers carry them
// out, and what they answer. All are values: they go from the main thread to workers and back.

import EventLoop
package import Pool

/// A command of an operator, for one worker. Pools are given by name.
package enum OperatorCommand: Equatable, Sendable {
    /// Halt the pool until this moment. Answered when nothing is in flight, or when the halt is
    /// over. With `closesHolders`, clients whose state keeps an upstream are closed.
    case pause(pool: String, until: MonotonicTime, closesHolders: Bool)
    case resume(pool: String)
    /// Retire every upstream of the pool when it is free.
    case reconnect(pool: String)
    /// Close the client with this id, as CLIENT ID shows it.
    case killClient(UInt64)
    /// Close the upstream with this serial number.
    case killUpstream(UInt64)
}

/// What a worker answers to an `OperatorCommand`.
package enum OperatorAnswer: Equatable, Sendable {
    /// PAUSE: nothing is in flight. What is left is held.
    case quiet(UpstreamUses)
    /// PAUSE: the halt is over, and has not been quiet before. What was still in use.
    case ended(HaltEnd, UpstreamUses)
    /// To the others: how many pools, upstreams or clients it concerned.
    case done(Int)
}

/// Why a halt has ended.
package enum HaltEnd: Equatable, Sendable {
    /// RESUME.
    case resumed
    /// Its time was over.
    case expired
}

/// The answer of one worker, on its way to the main thread.
package struct OperatorMail: Sendable {
    let token: UInt64
    let worker: Int
    let answer: OperatorAnswer
}

/// Who waits for an answer.
struct OperatorAsker: Sendable {
    let token: UInt64
    let box: Mailbox<OperatorMail>

    func answer(_ answer: OperatorAnswer, from worker: Int) {
        box.post(OperatorMail(token: token, worker: worker, answer: answer))
    }
}

/// How many upstreams of a halted pool are used for what.
package struct UpstreamUses: Equatable, Sendable {
    /// The use of one upstream. The first ones hold it with nothing in flight.
    package enum Use: Int, CaseIterable, Sendable {
        case subscribed, monitoring, tracking, piped, bound
        case inTransaction, blocked, uploading, inFlight, closing

        var isHeld: Bool { rawValue <= Use.bound.rawValue }

        /// The word in answers and in docs/operations.md.
        package var word: String {
            switch self {
            case .subscribed: "subscribed"
            case .monitoring: "monitoring"
            case .tracking: "tracking"
            case .piped: "piped"
            case .bound: "bound"
            case .inTransaction: "in a transaction"
            case .blocked: "blocked"
            case .uploading: "uploading"
            case .inFlight: "in flight"
            case .closing: "closing"
            }
        }
    }

    private var counts = [Int](repeating: 0, count: Use.allCases.count)

    package init() {}

    package mutating func count(_ use: Use, _ number: Int = 1) { counts[use.rawValue] += number }

    package mutating func add(_ other: UpstreamUses) {
        for use in Use.allCases { count(use, other.counts[use.rawValue]) }
    }

    package func count(of use: Use) -> Int { counts[use.rawValue] }

    private func sum(_ isWanted: (Use) -> Bool) -> Int {
        Use.allCases.filter(isWanted).reduce(0) { $0 + counts[$1.rawValue] }
    }

    /// Those that their clients keep, with nothing in flight.
    package var held: Int { sum(\.isHeld) }

    /// Those that are not quiet.
    package var busy: Int { sum { !$0.isHeld } }

    /// The held ones: `3 upstreams held: 2 subscribed, 1 tracking`. Empty without any.
    package var heldText: String { text("held", \.isHeld) }

    /// The others: `2 upstreams busy: 1 in a transaction, 1 blocked`. Empty without any.
    package var busyText: String { text("busy") { !$0.isHeld } }

    private func text(_ word: String, _ isWanted: (Use) -> Bool) -> String {
        let all = sum(isWanted)
        if all == 0 { return "" }
        let parts = Use.allCases.filter { isWanted($0) && counts[$0.rawValue] > 0 }
            .map { "\(counts[$0.rawValue]) \($0.word)" }
        return "\(all) \(all == 1 ? "upstream" : "upstreams") \(word): "
            + parts.joined(separator: ", ")
    }
}
