import EventLoop
import Glibc
import TestSupport
import Testing

/// A timer with a note of its calls.
private final class Alarm {
    private(set) var timer: [Box] = []
    let counter = Counter()
    /// When it was due, and when it was called.
    var deadline = Int64.max
    var called: [Int64] = []

    final class Box {
        let timer: Timer
        init(_ loop: EventLoop, _ counter: Counter) {
            timer = Timer(loop: loop, owner: counter.pointer, callback: count)
        }
    }

    init(_ loop: EventLoop) {
        timer = [Box(loop, counter)]
        counter.onCall = { [unowned self] in called.append(EventLoop.now()) }
    }

    func start(at moment: Int64) {
        deadline = moment
        timer[0].timer.start(at: moment)
    }

    func start(after nanoseconds: Int64) { timer[0].timer.start(after: nanoseconds) }
    func end() { timer = [] }
}

@Suite("Timer")
struct TimerTests {
    private static let hour: Int64 = 3_600_000_000_000
    private let loop: EventLoop

    init() throws { loop = try #require(EventLoop()) }

    private func turn(_ count: Int = 1) {
        for _ in 0..<count { #expect(loop.runOnce(waiting: false)) }
    }

    @Test("is called once for each start, at once if its moment is past")
    func once() {
        let alarm = Alarm(loop)
        turn()
        #expect(alarm.counter.calls == 0)
        for (calls, delay) in [Int64.min, -1, 0].enumerated() {
            alarm.start(after: delay)
            turn(3)
            #expect(alarm.counter.calls == calls + 1)
        }
        for (calls, moment) in [Int64.min, 0, 1, EventLoop.now()].enumerated() {
            alarm.start(at: moment)
            turn(3)
            #expect(alarm.counter.calls == calls + 4)
        }
    }

    @Test("waits for its moment, and a loop without anything else waits with it")
    func waits() throws {
        let alarm = Alarm(loop)
        let began = EventLoop.now()
        alarm.start(after: 5_000_000)
        turn()
        while alarm.counter.calls == 0 { #expect(loop.runOnce()) }
        #expect(EventLoop.now() - began >= 5_000_000)
        #expect(loop.turns < 50)
    }

    @Test("a moment that is too far away is never")
    func never() {
        let alarm = Alarm(loop)
        for delay in [Int64.max, Int64.max - 1, Int64.max - EventLoop.now()] {
            alarm.start(after: delay)
            turn(2)
            #expect(alarm.counter.calls == 0)
        }
    }

    @Test("another start takes the place of the one before, whichever is earlier")
    func restarted() {
        let alarm = Alarm(loop)
        alarm.start(after: TimerTests.hour)
        alarm.start(after: 0)
        turn(2)
        #expect(alarm.counter.calls == 1)
        alarm.start(after: 0)
        alarm.start(after: TimerTests.hour)
        turn(2)
        #expect(alarm.counter.calls == 1)
        alarm.start(after: 0)
        turn(2)
        #expect(alarm.counter.calls == 2)
    }

    @Test("one that starts itself anew is called once in a turn")
    func restartsItself() {
        let alarm = Alarm(loop)
        alarm.counter.onCall = { alarm.start(after: 0) }
        alarm.start(after: 0)
        for calls in 1...5 {
            turn()
            #expect(alarm.counter.calls == calls)
        }
        alarm.counter.onCall = {}
    }

    @Test("all that are due are called in one turn, in the order in which they were made")
    func order() {
        var order: [Int] = []
        let alarms = (0..<5).map { _ in Alarm(loop) }
        for (index, alarm) in alarms.enumerated() {
            alarm.counter.onCall = { order.append(index) }
        }
        for (alarm, delay) in zip(alarms, [-1, 0, -5, 0, -2] as [Int64]) {
            alarm.start(after: delay)
        }
        turn()
        #expect(order == [0, 1, 2, 3, 4])
        for alarm in alarms { alarm.counter.onCall = {} }
    }

    @Test("what is ready in a turn comes before a timer that is due")
    func behindInput() throws {
        let (one, other) = try connectedPair(.unix)
        let (near, far) = (End(one, loop), End(other, loop))
        var order: [String] = []
        let alarm = Alarm(loop)
        alarm.counter.onCall = { order.append("timer") }
        near.onReadable = { end in
            order.append("input")
            _ = end.readAll()
        }
        near.channel.startReading()
        alarm.start(at: 1)
        far.send([1])
        turn()
        #expect(order == ["input", "timer"])
    }

    @Test("one that another has ended in the same turn is not called")
    func endedByAnother() {
        let first = Alarm(loop)
        let second = Alarm(loop)
        let third = Alarm(loop)
        first.counter.onCall = { second.end() }
        for alarm in [first, second, third] { alarm.start(after: 0) }
        turn(2)
        #expect(first.counter.calls == 1)
        #expect(second.counter.calls == 0)
        #expect(third.counter.calls == 1)
    }

    @Test("one that is stopped by a later moment in the same turn is not called")
    func postponedByAnother() {
        let first = Alarm(loop)
        let second = Alarm(loop)
        first.counter.onCall = { second.start(after: TimerTests.hour) }
        first.start(after: 0)
        second.start(after: 0)
        turn(2)
        #expect(second.counter.calls == 0)
    }

    @Test("random moments: each is called once, and never before its moment", arguments: 1...5)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let alarms = (0..<60).map { _ in Alarm(loop) }
        let now = EventLoop.now()
        for alarm in alarms {
            // Some are moved once or twice before they are due.
            for _ in 0...random.below(3) {
                alarm.start(at: now + 100_000_000 + Int64(random.below(10_000_000)))
            }
            alarm.start(at: now + Int64(random.below(10_000_000)))
        }
        try loop.run(until: "all are called") { alarms.allSatisfy { $0.counter.calls > 0 } }
        for alarm in alarms {
            #expect(alarm.called.count == 1)
            #expect(alarm.called[0] >= alarm.deadline)
        }
    }

    @Test("the loop counts its turns, and its clock does not go back")
    func turns() {
        let before = loop.turns
        var last = EventLoop.now()
        turn(3)
        #expect(loop.turns == before + 3)
        for _ in 0..<1000 {
            let now = EventLoop.now()
            #expect(now >= last)
            last = now
        }
    }
}
