import Testing

@testable import Pool

@Suite("PoolWatch")
struct PoolWatchTests {
    private let second: Int64 = 1_000_000_000

    private func at(_ seconds: Double) -> MonotonicTime {
        MonotonicTime(nanoseconds: Int64(seconds * 1e9))
    }

    /// Commands in flight since a time.
    private func flying(_ count: Int, since: Double) -> PoolSight {
        var sight = PoolSight()
        sight.inFlight = count
        sight.clients = count
        sight.commandSince = at(since).nanoseconds
        return sight
    }

    /// Waiters since a time; nil for none.
    private func queue(_ count: Int, since: Double?, left: UInt64 = 0) -> PoolSight {
        var sight = PoolSight()
        sight.waiting = count
        sight.waiterSince = since.map { at($0).nanoseconds }
        sight.left = left
        return sight
    }

    @Test("a stall is told at 5 s, once a minute while it lasts, and at its end")
    func stall() {
        var watch = PoolWatch(members: 1)
        var told: [(Double, PoolNotice)] = []
        for step in 0..<1500 {
            let now = 100 + Double(step) / 10
            for notice in watch.look(
                now < 240 ? flying(7, since: 100) : PoolSight(), of: 0, isDown: false, now: at(now))
            {
                told.append((now, notice))
            }
        }
        #expect(told.map(\.1.kind) == [.stalled, .stalled, .stalled, .answered])
        #expect(told.map { Int($0.0.rounded()) } == [105, 165, 225, 240])
        #expect(told[0].1.sight.inFlight == 7 && told[0].1.sight.clients == 7)
        #expect(told[3].1.duration / second == 140)
    }

    @Test("short stalls one after the other are one line in 10 s")
    func shortStalls() {
        var watch = PoolWatch(members: 1)
        var lines = 0
        // Each 5.5 s a command is answered that took as long.
        for step in 0..<1000 {
            let now = Double(step) / 10
            let since = (now / 5.5).rounded(.down) * 5.5
            lines += watch.look(flying(1, since: since), of: 0, isDown: false, now: at(now)).count
        }
        #expect((8...20).contains(lines))
    }

    @Test("the workers of a pool have one line, with the sums of all")
    func workers() {
        var watch = PoolWatch(members: 2)
        #expect(watch.look(flying(3, since: 10), of: 0, isDown: false, now: at(14)).isEmpty)
        let notices = watch.look(flying(4, since: 9.5), of: 1, isDown: false, now: at(15))
        #expect(notices.map(\.kind) == [.stalled])
        #expect(notices[0].sight.inFlight == 7)
        #expect(notices[0].sight.oldestCommand(now: at(15)) == second * 11 / 2)
        #expect(watch.look(flying(3, since: 10), of: 0, isDown: false, now: at(15.1)).isEmpty)
        #expect(watch.look(PoolSight(), of: 1, isDown: false, now: at(15.2)).isEmpty)
        #expect(
            watch.look(PoolSight(), of: 0, isDown: false, now: at(15.3)).map(\.kind) == [.answered])
    }

    @Test("waiters are told of at 1 s, and when nobody has waited for 1 s")
    func waiters() {
        var watch = PoolWatch(members: 1)
        #expect(watch.look(queue(2, since: 10), of: 0, isDown: false, now: at(10.9)).isEmpty)
        let begin = watch.look(queue(3, since: 10), of: 0, isDown: false, now: at(11))
        #expect(begin.map(\.kind) == [.waiting])
        #expect(begin[0].sight.waiting == 3)
        #expect(begin[0].sight.oldestWait(now: at(11)) == second)
        #expect(watch.look(queue(3, since: 10), of: 0, isDown: false, now: at(11.9)).isEmpty)
        #expect(watch.look(queue(2, since: 12), of: 0, isDown: false, now: at(12)).isEmpty)
        let end = watch.look(queue(0, since: nil, left: 4), of: 0, isDown: false, now: at(12.5))
        #expect(end.isEmpty)
        #expect(
            watch.look(queue(0, since: nil, left: 4), of: 0, isDown: false, now: at(13.4)).isEmpty)
        let moving = watch.look(
            queue(0, since: nil, left: 4), of: 0, isDown: false, now: at(13.5))
        #expect(moving.map(\.kind) == [.served])
        guard moving.count == 1 else { return }
        #expect(moving[0].left == 4)
        #expect(moving[0].duration == second * 7 / 2)
    }

    @Test("clients that leave early are told of, each in one line")
    func left() {
        var watch = PoolWatch(members: 1)
        var told: UInt64 = 0
        var lines = 0
        for step in 0..<2000 {
            // A client leaves every 0.5 s, after 0.3 s.
            let now = Double(step) / 10
            let sight = queue(1, since: now - 0.3, left: UInt64(step / 5))
            for notice in watch.look(sight, of: 0, isDown: false, now: at(now)) {
                #expect(notice.kind == .left)
                told += notice.left
                lines += 1
            }
        }
        #expect((3...5).contains(lines))
        #expect(told >= 300)
    }

    @Test("while the pool is down nothing is told, and those who leave are counted elsewhere")
    func down() {
        var watch = PoolWatch(members: 1)
        #expect(!watch.look(queue(1, since: 0), of: 0, isDown: false, now: at(2)).isEmpty)
        #expect(
            watch.look(queue(1, since: 0, left: 5), of: 0, isDown: true, now: at(9)).isEmpty)
        #expect(watch.takeLeft() == 5)
        #expect(watch.takeLeft() == 0)
        #expect(
            watch.look(queue(0, since: nil, left: 5), of: 0, isDown: false, now: at(99)).isEmpty)
    }

    @Test("more than an hour is one number")
    func hours() {
        #expect(PoolSight.milliseconds(5_250_000_000) == "5250")
        #expect(PoolSight.milliseconds(3600 * second) == "3600000")
        #expect(PoolSight.milliseconds(3600 * second + 1) == ">3600000")
        #expect(PoolSight.milliseconds(.max) == ">3600000")
    }
}
