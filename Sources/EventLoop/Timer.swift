// One-shot timers. There are only a handful of them in a worker: deadlines live in queues whose
// head is the earliest, and one timer waits for the head.

internal import CLibevent

/// A timer that calls a file-scope function once per `start`.
package struct Timer: ~Copyable {
    private let event: UnsafeMutablePointer<CLibevent.event>
    private let loop: EventLoop

    /// `owner` is handed to `callback` unretained and must outlive the timer.
    package init(loop: EventLoop, owner: UnsafeMutableRawPointer, callback: @escaping EventCallback)
    {
        self.loop = loop
        event = .allocate(capacity: 1)
        event_assign(event, loop.base, -1, 0, callback, owner)
    }

    deinit {
        event_del(event)
        event.deallocate()
    }

    /// (Re)arms the timer, `nanoseconds` from now; less than zero counts as zero.
    package func start(after nanoseconds: Int64) {
        _ = redpool_event_add_timeout(event, nanoseconds)
    }

    /// Disarms the timer.
    package func stop() {
        event_del(event)
    }
}
