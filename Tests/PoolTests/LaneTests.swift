import Pool
import Testing

/// One client's pipeline on a shared upstream, and who else is put behind it.
struct LaneRow: CustomTestStringConvertible, Sendable {
    /// Of the pipeline's commands, in order.
    let kinds: [LeaseKind]
    /// Whether another client's fast command goes there too.
    let takesFast: Bool

    var testDescription: String { kinds.map { "\($0)" }.joined(separator: ", ") }
}

@Suite("Lanes")
struct LaneTests {
    @Test(
        "nobody's fast command is put behind a slow one, wherever in a pipeline that stands",
        arguments: [
            LaneRow(kinds: [.shared], takesFast: true),
            LaneRow(kinds: [.shared, .shared], takesFast: true),
            LaneRow(kinds: [.slow], takesFast: false),
            LaneRow(kinds: [.slow, .shared], takesFast: false),
            LaneRow(kinds: [.shared, .slow], takesFast: false),
            LaneRow(kinds: [.shared, .slow, .shared], takesFast: false),
            LaneRow(kinds: [.shared, .shared, .slow, .slow], takesFast: false),
        ])
    func pipelines(row: LaneRow) {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 3, slowPipeline: 8))
        pool.warm()
        let own = pool.granted(row.kinds[0])
        for kind in row.kinds.dropFirst() { pool.add(own, kind) }
        #expect((pool.lease(.shared) == .granted(own)) == row.takesFast)
        #expect((pool.lease(.slow) == .granted(own)) == !row.takesFast)
    }

    @Test("an upstream that was taken along by a slow command is like any other once it is idle")
    func backAgain() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.add(only, .slow)
        pool.finish(only)
        pool.finish(only)
        pool.settle(only)
        #expect(pool.census.idle == 1)
        #expect(pool.lease(.shared) == .granted(only))
        #expect(pool.lease(.shared) == .granted(only))
    }

    @Test("where nothing is idle, another upstream is opened for the fast ones of others")
    func opens() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 1))
        pool.warm()
        pool.add(pool.granted(.shared), .slow)
        pool.queued(.shared, by: 2)
        #expect(pool.actions() == [.dial(up(1), db0)])
        pool.connected(up(1))
        #expect(pool.actions() == [.grant(client(2), up(1))])
    }

    @Test("in the slow lane its limit of commands in flight holds")
    func slowLimit() {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 2, slowPipeline: 2))
        pool.warm()
        let own = pool.granted(.shared)
        pool.add(own, .slow)
        #expect(pool.lease(.slow) != .granted(own))
    }

    @Test("a lane's others are found after one has left it", arguments: 0..<3)
    func others(leaver: Int) {
        let pool = PoolScript(PoolLimits(maxOpen: 8, minIdle: 3, maxPipeline: 1))
        pool.warm()
        let upstreams = (0..<3).map { _ in pool.granted(.shared) }
        // The last search of the lane has ended at the last one.
        pool.finish(upstreams[2])
        #expect(pool.lease(.shared) == .granted(upstreams[2]))
        pool.add(upstreams[leaver], .slow)
        for index in [2, 1, 0] where index != leaver {
            pool.finish(upstreams[index])
            #expect(pool.lease(.shared) == .granted(upstreams[index]))
        }
    }

    @Test("one that takes no new work stays off work")
    func retiring() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, minIdle: 2))
        pool.warm()
        let own = pool.granted(.shared)
        pool.retire(own, .failoverSign)
        pool.add(own, .slow)
        #expect(pool.lease(.slow) != .granted(own))
        pool.finish(own)
        pool.finish(own)
        pool.settle(own)
        #expect(pool.actions() == [.close(own, .failoverSign)])
    }

    @Test("one that runs empty for another key comes back in the slow lane")
    func yielding() {
        let pool = PoolScript(PoolLimits(maxOpen: 3, maxPinned: 1, minIdle: 2, maxPipeline: 1))
        pool.warm()
        #expect(pool.granted(.shared) == up(1))
        #expect(pool.granted(.shared) == up(0))
        let ticket = pool.queued(.shared, db1, by: 2)
        pool.pass(.milliseconds(200))
        pool.tick()
        // Now it yields.
        pool.add(up(0), .slow)
        pool.finish(up(0))
        pool.cancel(ticket)
        pool.tick()
        #expect(pool.lease(.slow) == .granted(up(0)))
        pool.finish(up(1))
        #expect(pool.lease(.shared) == .granted(up(1)))
    }

    @Test("a single upstream serves both lanes, in whatever order they come")
    func single() {
        let pool = PoolScript(PoolLimits(maxOpen: 1, minIdle: 1))
        pool.warm()
        let only = pool.granted(.shared)
        pool.add(only, .slow)
        #expect(pool.lease(.shared) == .granted(only))
        #expect(pool.lease(.slow) == .granted(only))
    }
}
