import Pool
import Testing
import Topology

private let start = MonotonicTime(nanoseconds: 1_000_000_000)

private func later(_ milliseconds: Int64) -> MonotonicTime { start + .milliseconds(milliseconds) }

private func row(
    _ node: UInt8, epoch: Int64, isSpeaker: Bool = false, _ slots: [ClosedRange<UInt16>]
) -> ClusterNodeRow {
    ClusterNodeRow(
        id: [node], address: .test(1, Int(node)), isSpeaker: isSpeaker, epoch: epoch, slots: slots)
}

private let half: UInt16 = 8191

@Suite("What another process has found out about topology")
struct ResumeTests {
    /// What is published from now on.
    private func published(_ tracker: inout ClusterTracker) -> [SlotMap] {
        var found: [SlotMap] = []
        while let action = tracker.nextAction() {
            if case .publish(let map) = action { found.append(map) }
        }
        return found
    }

    private func asked(_ tracker: inout ClusterTracker) -> [NodeAddress] {
        var found: [NodeAddress] = []
        while let action = tracker.nextAction() {
            if case .ask(let address) = action { found.append(address) }
        }
        return found
    }

    private func followed() -> ClusterTracker {
        var tracker = ClusterTracker(seeds: [.test(1, 1)], seed: 1, now: start)
        tracker.answered(
            .test(1, 1),
            [
                row(1, epoch: 3, isSpeaker: true, [0...half]),
                row(2, epoch: 5, [(half + 1)...16_383]),
            ], now: later(1))
        return tracker
    }

    /// As the file has it.
    private func copy(_ map: SlotMap) -> SlotMap {
        SlotMap(version: map.version, nodes: map.nodes, ranges: map.ranges)
    }

    private func resumed() throws -> ClusterTracker {
        let before = followed()
        let (published, epochs) = (before.map, before.epochs)
        let map = try #require(published)
        #expect(copy(map) == map)
        #expect(epochs == [3, 5])
        var tracker = ClusterTracker(seeds: [.test(1, 1)], seed: 2, now: later(100))
        tracker.resume(copy(map), epochs: epochs)
        return tracker
    }

    @Test("the map stays, is not published again, and is asked for")
    func quiet() throws {
        let before = followed()
        var tracker = try resumed()
        let (old, new) = (before.map, tracker.map)
        #expect(new == old)
        #expect(asked(&tracker) == [.test(1, 1)])
        tracker.answered(
            .test(1, 1),
            [
                row(1, epoch: 3, isSpeaker: true, [0...half]),
                row(2, epoch: 5, [(half + 1)...16_383]),
            ], now: later(200))
        #expect(published(&tracker) == [])
        let again = tracker.epochs
        #expect(again == [3, 5])
    }

    @Test("a node that is cut off is not believed, a failover is")
    func epochs() throws {
        var tracker = try resumed()
        _ = asked(&tracker)
        // It knows neither the second node nor its epoch.
        tracker.answered(
            .test(1, 1), [row(1, epoch: 3, isSpeaker: true, [0...16_383])], now: later(200))
        #expect(published(&tracker) == [])
        let owner = tracker.map?.owner(of: 16_383)
        #expect(owner?.id == [2])
        tracker.clusterDown(now: later(900))
        _ = asked(&tracker)
        tracker.answered(
            .test(1, 2),
            [
                row(1, epoch: 3, []), row(2, epoch: 6, isSpeaker: true, [0...16_383]),
            ], now: later(1000))
        let maps = published(&tracker)
        #expect(maps.count == 1)
        #expect(maps.first?.owner(of: 0)?.id == [2])
        #expect(maps.first?.version == 2)
    }

    @Test("the Sentinels are asked, and need a higher epoch to name another primary")
    func sentinels() {
        var tracker = SentinelTracker(sentinels: [.test(9, 1)], now: start)
        let known = PrimaryClaim(address: .test(1, 1), epoch: 4)
        tracker.resume(known)
        var link: SentinelID?
        while let action = tracker.nextAction() {
            if case .adopt = action { Issue.record("it is adopted again") }
            if case .connect(let id, _) = action { link = id }
        }
        guard let link else {
            Issue.record("no Sentinel is connected")
            return
        }
        tracker.connected(link, now: later(1))
        tracker.answered(
            link,
            SentinelAnswer(claim: PrimaryClaim(address: .test(1, 2), epoch: 3)), now: later(2))
        let unmoved = tracker.primary
        #expect(unmoved == known)
        tracker.tick(now: later(600))
        tracker.answered(
            link,
            SentinelAnswer(claim: PrimaryClaim(address: .test(1, 2), epoch: 5)), now: later(601))
        let moved = tracker.primary
        #expect(moved == PrimaryClaim(address: .test(1, 2), epoch: 5))
    }
}
