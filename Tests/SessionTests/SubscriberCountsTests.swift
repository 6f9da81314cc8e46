import Session
import Testing

@Suite struct SubscriberCountsTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func channelsAndPatternsAdd() {
        var counts = SubscriberCounts()
        #expect(counts.isEmpty)
        counts.change(.channel, bytes("a"), by: .init(listeners: 3, hubs: 1))
        counts.change(.pattern, bytes("a*"), by: .init(listeners: 2, hubs: 1))
        counts.change(.pattern, bytes("b*"), by: .init(listeners: 9, hubs: 2))
        #expect(counts.published(bytes("a")) == .init(listeners: 5, hubs: 2))
        #expect(counts.published(bytes("ab")) == .init(listeners: 2, hubs: 1))
        #expect(counts.published(bytes("c")) == .init())
        #expect(counts.subscribed(.channel, bytes("a")) == .init(listeners: 3, hubs: 1))
        #expect(counts.subscribed(.shard, bytes("a")) == .init())
    }

    @Test func shardsAreApart() {
        var counts = SubscriberCounts()
        counts.change(.shard, bytes("a"), by: .init(listeners: 4, hubs: 1))
        #expect(counts.published(bytes("a")) == .init())
        #expect(counts.subscribed(.shard, bytes("a")) == .init(listeners: 4, hubs: 1))
        #expect(counts.subscribed(.channel, bytes("a")) == .init())
    }

    @Test func whatHasGoneIsForgotten() {
        var counts = SubscriberCounts()
        for kind in [SubscriptionKind.channel, .pattern, .shard] {
            counts.change(kind, bytes("x"), by: .init(listeners: 2, hubs: 1))
            #expect(!counts.isEmpty)
            counts.change(kind, bytes("x"), by: .init(listeners: -2, hubs: -1))
            #expect(counts.isEmpty)
        }
    }

    /// What is remembered of patterns is forgotten when one comes, changes or goes.
    @Test func patternsAreMatchedAnew() {
        var counts = SubscriberCounts()
        counts.change(.pattern, bytes("x*"), by: .init(listeners: 1, hubs: 1))
        #expect(counts.published(bytes("xy"))?.listeners == 1)
        counts.change(.pattern, bytes("*y"), by: .init(listeners: 5, hubs: 1))
        #expect(counts.published(bytes("xy")) == .init(listeners: 6, hubs: 2))
        counts.change(.pattern, bytes("x*"), by: .init(listeners: 2, hubs: 0))
        #expect(counts.published(bytes("xy"))?.listeners == 8)
        counts.change(.pattern, bytes("*y"), by: .init(listeners: -5, hubs: -1))
        #expect(counts.published(bytes("xy")) == .init(listeners: 3, hubs: 1))
    }

    @Test func fewChannelsAreRemembered() {
        var counts = SubscriberCounts()
        counts.change(.pattern, bytes("*7"), by: .init(listeners: 2, hubs: 1))
        for number in 0..<3 * SubscriberCounts.mostMatched {
            let expected = number % 10 == 7 ? 2 : 0
            #expect(counts.published(bytes("\(number)"))?.listeners == expected)
        }
    }

    /// The bound is for all patterns together: one client may have thousands.
    @Test func manyPatternsTakeTooLongTogether() {
        var counts = SubscriberCounts()
        let name = [UInt8](repeating: UInt8(ascii: "a"), count: 200)
        for number in 0..<100 {
            counts.change(
                .pattern, bytes("*" + String(repeating: "a", count: 100) + "b\(number)"),
                by: .init(listeners: 1, hubs: 1))
            if number < 10 { #expect(counts.published(name) == .init()) }
        }
        #expect(counts.published(name) == nil)
    }

    @Test func whatTakesTooLongIsNotCorrected() {
        var counts = SubscriberCounts()
        let pattern = "*" + String(repeating: "a", count: 3000) + "b"
        counts.change(.pattern, bytes(pattern), by: .init(listeners: 2, hubs: 1))
        let name = [UInt8](repeating: UInt8(ascii: "a"), count: 30_000)
        #expect(counts.published(name) == nil)
        #expect(counts.published(bytes("a")) == .init())
    }
}
