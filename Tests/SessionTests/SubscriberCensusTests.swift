import Session
import TestSupport
import Testing

@Suite struct SubscriberCensusTests {
    private typealias Reach = SubscriberCounts.Reach

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// Clients count wherever their hub is, hubs only at the node that is asked.
    @Test func hubsCountWhereTheyAre() {
        var census = SubscriberCensus<Int>()
        census.change(.channel, bytes("a"), by: Reach(listeners: 3, hubs: 1), at: 1)
        census.change(.channel, bytes("a"), by: Reach(listeners: 4, hubs: 2), at: 2)
        census.change(.pattern, bytes("*"), by: Reach(listeners: 5, hubs: 1), at: 2)
        census.change(.shard, bytes("a"), by: Reach(listeners: 6, hubs: 1), at: 3)
        let expected = [1: 1, 2: 3, 3: 0]
        for (node, hubs) in expected {
            #expect(census.published(bytes("a"), at: node) == Reach(listeners: 12, hubs: hubs))
        }
        let one = census.subscribed(.channel, bytes("a"), at: .one(2))
        #expect(one == Reach(listeners: 7, hubs: 2))
        #expect(
            census.subscribed(.channel, bytes("a"), at: .all) == Reach(listeners: 7, hubs: 3))
        #expect(
            census.subscribed(.shard, bytes("a"), at: .one(3)) == Reach(listeners: 6, hubs: 1))
        #expect(census.subscribed(.shard, bytes("a"), at: .one(1)) == Reach(listeners: 6))
    }

    @Test func whatTakesTooLongAtOneNodeIsNotKnown() {
        var census = SubscriberCensus<Int>()
        let pattern = "*" + String(repeating: "a", count: 3000) + "b"
        census.change(.pattern, bytes(pattern), by: Reach(listeners: 2, hubs: 1), at: 1)
        let name = [UInt8](repeating: UInt8(ascii: "a"), count: 30_000)
        #expect(census.published(name, at: 2) == nil)
        #expect(census.published(bytes("a"), at: 2) == Reach())
    }

    /// What a message reaches is the sum over all nodes, and nothing is left when all have gone.
    @Test func changesAddUp() {
        var random = SeededRandom(seed: 1)
        var census = SubscriberCensus<Int>()
        var known: [Int: [String: Reach]] = [:]
        func change(_ name: String, _ node: Int, to reach: Reach) {
            let before = known[node]?[name] ?? Reach()
            known[node, default: [:]][name] = reach
            let difference = Reach(
                listeners: reach.listeners - before.listeners, hubs: reach.hubs - before.hubs)
            census.change(.channel, bytes(name), by: difference, at: node)
        }
        for _ in 0..<2000 {
            let name = "c\(random.below(4))"
            let node = random.below(3)
            let listeners = random.below(5)
            let hubs = listeners == 0 ? 0 : 1 + random.below(listeners)
            change(name, node, to: Reach(listeners: listeners, hubs: hubs))
            let all = (0..<3).reduce(0) { $0 + (known[$1]?[name]?.listeners ?? 0) }
            let here = known[node]?[name]?.hubs ?? 0
            #expect(
                census.published(bytes(name), at: node) == Reach(listeners: all, hubs: here))
        }
        for (node, names) in known {
            for name in names.keys { change(name, node, to: Reach()) }
        }
        #expect(census.isEmpty)
    }
}
