import Testing

import enum Session.Expectation

@testable import Session

/// What a reply can be, as far as it decides about state.
enum Answer: CaseIterable {
    case ok, queued, array, null, error, unknownCommand

    var facts: ReplyFacts {
        ReplyFacts(
            type: type, error: error, isOK: self == .ok, isQueued: self == .queued)
    }

    private var error: ErrorKind? {
        switch self {
        case .error: .other
        case .unknownCommand: .unknownCommand
        default: nil
        }
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

/// What can happen to a held connection.
enum Event: CustomStringConvertible {
    case reply(Expectation, Answer, UInt32)
    case confirmation(SubscriptionKind, Int)
    case queued
    case taint
    case cleaned

    var description: String {
        switch self {
        case .reply(let expectation, let answer, let value): "\(expectation) \(value): \(answer)"
        case .confirmation(let kind, let count): "\(kind) \(count)"
        case .queued: "queued"
        case .taint: "taint"
        case .cleaned: "cleaned"
        }
    }

    static let expectations: [Expectation] = [
        .plain, .mirrorName, .mirrorInfo, .rewriteID, .rewriteName, .rewriteInfo, .rewriteList,
        .hello, .helloChange, .authenticate, .select, .multi, .exec, .execWalked, .discard, .watch,
        .unwatch, .subscribe, .unsubscribeChannels, .unsubscribePatterns, .unsubscribeShards,
        .trackingOn, .trackingOff, .monitor, .flagOn, .flagOff, .bind, .redirection, .stranger,
        .write, .block, .blockEnd, .probe, .commandInfo, .kill, .unblock, .identify, .ignored,
        .reset, .clean,
    ]

    /// Every event there is.
    static let all: [Event] = {
        var all: [Event] = [.queued, .taint, .cleaned]
        for expectation in expectations {
            for answer in Answer.allCases {
                for value in values(of: expectation) {
                    all.append(.reply(expectation, answer, value))
                }
            }
        }
        for kind in [SubscriptionKind.channel, .pattern, .shard] {
            for count in 0...4 { all.append(.confirmation(kind, count)) }
        }
        return all
    }()

    private static func values(of expectation: Expectation) -> [UInt32] {
        switch expectation {
        case .trackingOn: [0, 1, 2, 3]
        case .flagOn, .flagOff: [1, 2, 4, 8]
        default: [0]
        }
    }

    func happen(to state: inout HeldState) {
        switch self {
        case .reply(let expectation, let answer, let value):
            state.replied(to: expectation, answer.facts, value: value)
        case .confirmation(let kind, let count): state.confirmed(kind, count: count)
        case .queued: state.queued()
        case .taint: state.taint()
        case .cleaned: state.cleaned()
        }
    }
}

/// The rules of Redis, written down a second time: what is tied to the connection is a set of
/// words.
struct Reference {
    var tied: Set<String> = []
    var counts = ["channel": 0, "pattern": 0, "shard": 0]

    mutating func happen(_ event: Event) {
        switch event {
        case .queued: tied.insert("members")
        case .taint: tied.insert("tainted")
        case .cleaned: clean()
        case .confirmation(.shard, let count): counts["shard"] = count
        case .confirmation(.channel, let count):
            counts["channel"] = max(0, count - counts["pattern"]!)
        case .confirmation(.pattern, let count):
            counts["pattern"] = max(0, count - counts["channel"]!)
        case .reply(let expectation, let answer, let value): reply(expectation, answer, value)
        }
    }

    private mutating func reply(_ expectation: Expectation, _ answer: Answer, _ value: UInt32) {
        switch (expectation, answer) {
        case (.multi, .ok): tied.insert("transaction")
        case (.watch, .ok): tied.insert("watch")
        case (.unwatch, .ok) where !tied.contains("transaction"): tied.remove("watch")
        case (.exec, .unknownCommand), (.execWalked, .unknownCommand), (.discard, .unknownCommand):
            tied.insert("tainted")
        case (.exec, _), (.execWalked, _):
            if expectation == .exec, answer != .error, tied.contains("members") {
                tied.insert("tainted")
            }
            if tied.contains("transaction") { endTransaction() }
        case (.discard, .ok): endTransaction()
        case (.select, .queued), (.authenticate, .queued), (.hello, .queued),
            (.helloChange, .queued), (.trackingOn, .queued), (.trackingOff, .queued),
            (.monitor, .queued), (.flagOn, .queued), (.flagOff, .queued), (.bind, .queued),
            (.bind, .ok):
            tied.insert("tainted")
        case (.trackingOn, .ok):
            tied.insert("tracking")
            tied.remove("broadcast")
            tied.insert(value & 1 == 1 ? "broadcast" : "remembered")
        case (.trackingOff, .ok): tied.subtract(["tracking", "broadcast"])
        case (.monitor, .ok): tied.insert("monitor")
        case (.flagOn, .ok) where value > 0: tied.insert("flag \(value)")
        case (.flagOff, .ok): tied.remove("flag \(value)")
        default: break
        }
    }

    private mutating func endTransaction() {
        tied.subtract(["transaction", "watch", "members"])
    }

    private mutating func clean() {
        if tied.contains("transaction") {
            endTransaction()
        } else if tied.contains("watch") {
            tied.remove("watch")
        } else if let flag = tied.filter({ $0.hasPrefix("flag") }).min() {
            tied.remove(flag)
        }
    }

    var isListening: Bool {
        counts.values.contains { $0 > 0 } || tied.contains("tracking") || tied.contains("monitor")
    }

    /// What two states that look alike have in common.
    var isClean: Bool {
        !isListening && tied.subtracting(["members", "broadcast", "remembered"]).isEmpty
    }

    var isCleanable: Bool {
        !isListening && !tied.contains("remembered") && !tied.contains("tainted")
    }

    /// What `state` says of itself, compared with this.
    func agrees(with state: HeldState) -> Bool {
        let flags: [UInt32] = [1, 2, 4, 8]
        return state.isInTransaction == tied.contains("transaction")
            && state.isWatching == tied.contains("watch")
            && state.isTainted == tied.contains("tainted")
            && state.isTracking == tied.contains("tracking")
            && state.isBroadcast == tied.contains("broadcast")
            && state.isMonitoring == tied.contains("monitor")
            && state.hasMembers == tied.contains("members")
            && state.remembersKeys == tied.contains("remembered")
            && flags.allSatisfy { flag in
                state.flags.contains(ConnectionFlags(rawValue: flag))
                    == tied.contains("flag \(flag)")
            }
            && [state.channels, state.patterns, state.shards]
                == [counts["channel"], counts["pattern"], counts["shard"]]
            && state.isListening == isListening && state.isClean == isClean
            && state.isCleanable == isCleanable
    }
}

/// The ways to every kind of state.
private let ways: [[Event]] = {
    let single: [[Event]] = [
        [], [.reply(.watch, .ok, 0)], [.reply(.multi, .ok, 0)],
        [.reply(.multi, .ok, 0), .queued], [.confirmation(.channel, 2)],
        [.confirmation(.pattern, 1)], [.confirmation(.shard, 3)], [.reply(.trackingOn, .ok, 0)],
        [.reply(.trackingOn, .ok, 1)],
        [.reply(.trackingOn, .ok, 0), .reply(.trackingOff, .ok, 0)], [.reply(.monitor, .ok, 0)],
        [.reply(.flagOn, .ok, 1)], [.reply(.flagOn, .ok, 2)], [.reply(.flagOn, .ok, 4)],
        [.reply(.flagOn, .ok, 8)], [.taint],
    ]
    return single.flatMap { first in single.map { first + $0 } }
}()

@Suite struct HeldStateTests {
    @Test func everyEventInEveryState() {
        for way in ways {
            for event in Event.all {
                var state = HeldState()
                var reference = Reference()
                for step in way + [event] {
                    step.happen(to: &state)
                    reference.happen(step)
                }
                if !reference.agrees(with: state) {
                    Issue.record("\(way), then \(event): \(state), wanted \(reference)")
                }
            }
        }
    }

    @Test(arguments: 1...40) func randomWalks(seed: Int) {
        var random = Walk(state: UInt64(seed))
        var state = HeldState()
        var reference = Reference()
        var last: [Event] = []
        for _ in 0..<2_000 {
            let event = Event.all[Int(random.next() % UInt64(Event.all.count))]
            event.happen(to: &state)
            reference.happen(event)
            last = last.suffix(7) + [event]
            if !reference.agrees(with: state) {
                Issue.record("seed \(seed), after \(last): \(state), wanted \(reference)")
                return
            }
            // A tainted connection stays so: begin anew now and then.
            if state.isTainted, random.next() % 4 == 0 {
                state = HeldState()
                reference = Reference()
            }
        }
    }

    @Test func whatIsCleanableIsCleanAfterItsCleaning() {
        for way in ways {
            var state = HeldState()
            for step in way { step.happen(to: &state) }
            guard state.isCleanable else { continue }
            var said = 0
            while let next = state.cleaning {
                #expect(!next.words.isEmpty)
                state.cleaned()
                #expect(state.cleaning != next, "\(way)")
                said += 1
                if said > 6 { break }
            }
            #expect(state.isClean, "\(way)")
        }
    }

    @Test func theWordsOfEveryCleaning() {
        let wanted: [(HeldState.Cleaning, String)] = [
            (.discard, "DISCARD"), (.unwatch, "UNWATCH"),
            (.turnOff(.noEvict), "CLIENT NO-EVICT OFF"),
            (.turnOff(.noTouch), "CLIENT NO-TOUCH OFF"), (.turnOff(.readOnly), "READWRITE"),
            (.turnOff(.importSource), "CLIENT IMPORT-SOURCE OFF"),
        ]
        for (cleaning, words) in wanted {
            #expect(cleaning.words.map { "\($0)" }.joined(separator: " ") == words)
        }
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

/// A small deterministic generator (xorshift64*): a failure names its seed.
struct Walk {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &+ 0x9E37_79B9_7F4A_7C15
        state ^= state &>> 12
        state ^= state &<< 25
        state ^= state &>> 27
        return (state &* 0x2545_F491_4F6C_DD1D) &>> 11
    }
}
