import Testing

import enum Session.Expectation

@testable import Session

/// What a reply can be, as far as it decides about state.
private enum Answer: CaseIterable {
    case ok, queued, array, null, error, unknownCommand

    var facts: ReplyFacts {
        ReplyFacts(
            type: type, isError: self == .error || self == .unknownCommand, isOK: self == .ok,
            isQueued: self == .queued, isUnknownCommand: self == .unknownCommand)
    }

    private var type: UInt8 {
        switch self {
        case .ok, .queued: UInt8(ascii: "+")
        case .array: UInt8(ascii: "*")
        case .null: UInt8(ascii: "_")
        case .error, .unknownCommand: UInt8(ascii: "-")
        }
    }
}

/// The states that a held connection can be in, each with the way there.
private enum Start: CaseIterable {
    case clean, watching, inTransaction, watchingInTransaction, subscribed, tainted

    var state: HeldState {
        var state = HeldState()
        switch self {
        case .clean: break
        case .watching: state.replied(to: .watch, Answer.ok.facts)
        case .inTransaction: state.replied(to: .multi, Answer.ok.facts)
        case .watchingInTransaction:
            state.replied(to: .watch, Answer.ok.facts)
            state.replied(to: .multi, Answer.ok.facts)
        case .subscribed: state.confirmed(.channel, count: 2)
        case .tainted: state.taint()
        }
        return state
    }
}

private let expectations: [Expectation] = [
    .plain, .mirrorName, .mirrorInfo, .rewriteID, .rewriteName, .rewriteInfo, .rewriteList, .hello,
    .helloChange, .authenticate, .select, .multi, .exec, .discard, .watch, .unwatch, .subscribe,
    .unsubscribeChannels, .unsubscribePatterns, .unsubscribeShards, .blockEnd, .probe,
    .commandInfo, .clean,
]

/// What must become of a state: the rules of Redis, written down a second time.
private func expected(
    _ before: HeldState, _ expectation: Expectation, _ answer: Answer
) -> (transaction: Bool, watching: Bool, tainted: Bool) {
    var result = (before.isInTransaction, before.isWatching, before.isTainted)
    switch (expectation, answer) {
    case (.multi, .ok): result.0 = true
    case (.watch, .ok): result.1 = true
    case (.exec, .unknownCommand), (.discard, .unknownCommand): result.2 = true
    case (.exec, _) where before.isInTransaction: (result.0, result.1) = (false, false)
    case (.discard, .ok): (result.0, result.1) = (false, false)
    case (.unwatch, .ok) where !before.isInTransaction: result.1 = false
    case (.select, .queued), (.authenticate, .queued), (.hello, .queued), (.helloChange, .queued):
        result.2 = true
    default: break
    }
    return result
}

@Suite struct HeldStateTests {
    @Test func everyReplyInEveryState() {
        for start in Start.allCases {
            for expectation in expectations {
                for answer in Answer.allCases {
                    var state = start.state
                    let wanted = expected(state, expectation, answer)
                    state.replied(to: expectation, answer.facts)
                    let place: Comment = "\(start), \(expectation), \(answer)"
                    #expect(state.isInTransaction == wanted.transaction, place)
                    #expect(state.isWatching == wanted.watching, place)
                    #expect(state.isTainted == wanted.tainted, place)
                    #expect(state.subscriptions == start.state.subscriptions, place)
                }
            }
        }
    }

    @Test func cleanAndCleanable() {
        let wanted: [(Start, isClean: Bool, isCleanable: Bool)] = [
            (.clean, true, true), (.watching, false, true), (.inTransaction, false, true),
            (.watchingInTransaction, false, true), (.subscribed, false, false),
            (.tainted, false, false),
        ]
        #expect(wanted.count == Start.allCases.count)
        for (start, isClean, isCleanable) in wanted {
            #expect(start.state.isClean == isClean, "\(start)")
            #expect(start.state.isCleanable == isCleanable, "\(start)")
        }
    }

    @Test func channelsAndPatternsAreCountedTogetherByTheServer() {
        var state = HeldState()
        state.confirmed(.channel, count: 1)
        state.confirmed(.pattern, count: 2)
        state.confirmed(.channel, count: 3)
        state.confirmed(.shard, count: 1)
        #expect((state.channels, state.patterns, state.shards) == (2, 1, 1))
        #expect(state.subscriptions == 4)
        state.confirmed(.channel, count: 2)
        state.confirmed(.channel, count: 1)
        #expect((state.channels, state.patterns) == (0, 1))
        state.confirmed(.pattern, count: 0)
        #expect(!state.isClean)
        state.confirmed(.shard, count: 0)
        #expect(state.isClean)
    }

    @Test func subscribingTwiceToOneChannelCountsOnce() {
        var state = HeldState()
        state.confirmed(.channel, count: 1)
        state.confirmed(.channel, count: 1)
        #expect(state.channels == 1)
    }

    @Test func anUnsubscribeWithoutArgumentsIsConfirmedForEachOrOnce() {
        var state = HeldState()
        let all: [Expectation] = [.unsubscribeChannels, .unsubscribePatterns, .unsubscribeShards]
        #expect(all.map { state.confirmations(of: $0) } == [1, 1, 1])
        state.confirmed(.channel, count: 1)
        state.confirmed(.channel, count: 2)
        state.confirmed(.pattern, count: 3)
        for count in 1...3 { state.confirmed(.shard, count: count) }
        #expect(all.map { state.confirmations(of: $0) } == [2, 1, 3])
        #expect(state.confirmations(of: .plain) == 1)
    }
}
