// One libevent base and the few operations a worker needs of it. The base has no locks: every call
// must come from the thread that runs it. Other threads use a `Wakeup`.

internal import CLibevent

/// What libevent calls when something happens: descriptor, what happened, and the pointer given at
/// registration. Always a file-scope function: a closure written in `main` would be isolated to the
/// main actor and trap on a worker's thread.
package typealias EventCallback = @convention(c) (Int32, Int16, UnsafeMutableRawPointer?) -> Void

/// A libevent base. Lives as long as the thread that created it runs its loop.
package final class EventLoop {
    let base: OpaquePointer
    /// Nil only while the loop is being made or ended: it has an event of the base.
    private(set) var alarm: Alarm!
    /// Some timer is due: they run when everything else of the turn has.
    var alarmHasRung = false

    /// Creates a base on epoll; nil when the system has no descriptor or memory left for one.
    package init?() {
        guard let base = redpool_base_new() else { return nil }
        self.base = base
        guard let alarm = Alarm(of: self) else { return nil }
        self.alarm = alarm
    }

    deinit {
        alarm = nil
        event_base_free(base)
    }

    /// How often `runOnce` was called.
    package private(set) var turns: UInt64 = 0

    /// Runs the callbacks of one batch, and waits for it if there is none and `waiting` is true.
    /// Returns false when libevent failed.
    package func runOnce(waiting: Bool = true) -> Bool {
        turns &+= 1
        let flags = waiting ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK
        if event_base_loop(base, flags) < 0 { return false }
        if alarmHasRung {
            alarmHasRung = false
            alarm.runDue()
        }
        return true
    }

    /// Nanoseconds of `CLOCK_MONOTONIC`.
    package static func now() -> Int64 {
        redpool_monotonic()
    }
}
