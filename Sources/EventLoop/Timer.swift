// One-shot timers. A worker has only a few: deadlines are kept in queues with the earliest at the
// head, and one timer waits for the head.
//
// Timers run after everything else that is ready in an iteration. So a reply that has arrived is
// read before its deadline is checked, however late both are.
//
// They share one timerfd per loop and do not use libevent's timeouts: with those, libevent reads
// the clock twice per iteration, four times for every command of a single client.

internal import CLibevent
internal import Glibc

/// A timer that calls a file-scope function once per `start`.
package struct Timer: ~Copyable {
    private let entry: UnsafeMutablePointer<Alarm.Entry>
    private let loop: EventLoop

    /// `callback` gets `owner` unretained, so it must outlive the timer.
    package init(loop: EventLoop, owner: UnsafeMutableRawPointer, callback: @escaping EventCallback)
    {
        self.loop = loop
        entry = .allocate(capacity: 1)
        entry.initialize(to: Alarm.Entry(callback: callback, owner: owner))
        loop.alarm.add(entry)
    }

    deinit {
        loop.alarm.remove(entry)
        entry.deallocate()
    }

    /// (Re)arms the timer, `nanoseconds` from now; less than zero counts as zero.
    package func start(after nanoseconds: Int64) {
        let (deadline, isTooFar) = EventLoop.now().addingReportingOverflow(max(0, nanoseconds))
        start(at: isTooFar ? .max : deadline)
    }

    /// (Re)arms the timer for a time in nanoseconds of `CLOCK_MONOTONIC`, which may be past.
    package func start(at deadline: Int64) {
        entry.pointee.deadline = deadline
        entry.pointee.isDue = false
        loop.alarm.arm()
    }
}

/// The timers of one loop.
final class Alarm {
    struct Entry {
        /// Nanoseconds of `CLOCK_MONOTONIC`; `.max` when it is not armed.
        var deadline = Int64.max
        /// The deadline has passed, and the callback has not run yet.
        var isDue = false
        let callback: EventCallback
        let owner: UnsafeMutableRawPointer
    }

    private var entries: [UnsafeMutablePointer<Entry>] = []
    private let descriptor: Int32
    /// When the timerfd becomes readable.
    private var armed = Int64.max
    private let event: UnsafeMutablePointer<CLibevent.event>

    /// Nil when the system has no descriptors left. It must be dropped before the loop's base.
    init?(of loop: EventLoop) {
        descriptor = redpool_timerfd()
        if descriptor < 0 { return nil }
        event = .allocate(capacity: 1)
        event_assign(
            event, loop.base, descriptor, redpool_ev_read | redpool_ev_persist, alarmRings,
            Unmanaged.passUnretained(loop).toOpaque())
        EventLoop.add(event)
    }

    deinit {
        event_del(event)
        event.deallocate()
        _ = Glibc.close(descriptor)
    }

    func add(_ entry: UnsafeMutablePointer<Entry>) {
        entries.append(entry)
    }

    func remove(_ entry: UnsafeMutablePointer<Entry>) {
        entries.removeAll { $0 == entry }
    }

    /// Sets the timerfd to the earliest deadline.
    func arm() {
        let earliest = entries.lazy.map(\.pointee.deadline).min() ?? .max
        if earliest >= armed { return }
        armed = earliest
        redpool_timerfd_set(descriptor, earliest)
    }

    /// Runs the callback of each timer that is due, once.
    func runDue() {
        _ = redpool_eventfd_clear(descriptor)
        armed = .max
        let now = EventLoop.now()
        for entry in entries where entry.pointee.deadline <= now {
            entry.pointee.deadline = .max
            entry.pointee.isDue = true
        }
        // Searched anew each time, because a callback may drop timers.
        while let entry = entries.first(where: \.pointee.isDue) {
            entry.pointee.isDue = false
            entry.pointee.callback(-1, redpool_ev_timeout, entry.pointee.owner)
        }
        arm()
    }
}

private func alarmRings(_: Int32, _: Int16, _ loop: UnsafeMutableRawPointer?) {
    guard let loop else { return }
    Unmanaged<EventLoop>.fromOpaque(loop).takeUnretainedValue().alarmHasRung = true
}
