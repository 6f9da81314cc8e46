// One libevent base and the few operations that a worker needs. The base has no locks: only the
// thread that runs it may call it. Other threads use a `Wakeup`.

internal import CLibevent
internal import Synchronization

/// The function that libevent calls for an event: descriptor, event, and the pointer given at
/// registration. It must be a file-scope function: a closure in `main` is isolated to the main
/// actor and would trap on a worker's thread.
package typealias EventCallback = @convention(c) (Int32, Int16, UnsafeMutableRawPointer?) -> Void

/// A libevent base. It lives as long as its thread runs the loop.
package final class EventLoop {
    let base: OpaquePointer
    /// Has an event of the base. Nil only while the loop is being initialized or deinitialized.
    private(set) var alarm: Alarm!
    /// A timer is due. Timers run after all other events of the iteration.
    var alarmHasRung = false
    /// Memory of all TLS connections of this loop; nil before the first one.
    private var scratch: TLSScratch?
    /// Streams that have input which no socket tells of.
    private var revisited: ContiguousArray<TLSStream> = []
    private var hasRevisited = false

    /// Creates a base on epoll; nil when the system has no descriptors or memory left.
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

    private static let refused = Atomic(false)

    /// The kernel has refused a registration since the process began: its callback never comes.
    package static var hasRefused: Bool { refused.load(ordering: .acquiring) }

    /// Adds an event. A refusal is noted, and nothing else.
    static func add(_ event: UnsafeMutablePointer<event>) {
        if event_add(event, nil) != 0 { refused.store(true, ordering: .releasing) }
    }

    /// How often `runOnce` was called.
    package private(set) var turns: UInt64 = 0

    /// Runs the callbacks of one batch of events. If there is none and `waiting` is true, waits
    /// for one. Returns false when libevent has failed.
    package func runOnce(waiting: Bool = true) -> Bool {
        turns &+= 1
        if hasRevisited { activateRevisited() }
        let flags = waiting ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK
        if event_base_loop(base, flags) < 0 { return false }
        if alarmHasRung {
            alarmHasRung = false
            alarm.runDue()
        }
        return true
    }

    /// The memory that TLS connections share; made for the first one.
    func tlsScratch() -> TLSScratch {
        if let scratch { return scratch }
        let new = TLSScratch()
        scratch = new
        return new
    }

    /// Calls the stream's owner from the next turn on, as if its socket were readable.
    func revisit(_ stream: TLSStream) {
        stream.wantsRevisit = true
        if stream.isListed { return }
        stream.isListed = true
        revisited.append(stream)
        hasRevisited = true
    }

    /// As a socket with unread bytes, a stream is reported until its input is read.
    private func activateRevisited() {
        revisited.removeAll { stream in
            guard stream.wantsRevisit, stream.keepsInput, let event = stream.readEvent else {
                stream.wantsRevisit = false
                stream.isListed = false
                return true
            }
            event_active(event, Int32(redpool_ev_read), 0)
            return false
        }
        hasRevisited = !revisited.isEmpty
    }

    /// Nanoseconds of `CLOCK_MONOTONIC`.
    package static func now() -> Int64 {
        redpool_monotonic()
    }

    /// Processor time of the calling thread in nanoseconds.
    package static func threadTime() -> Int64 {
        redpool_thread_time()
    }
}
