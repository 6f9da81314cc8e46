// Signals as events. Only the control loop on the main thread has watches; workers block all
// signals before their thread starts, so that the kernel delivers every one to the main thread.

internal import CLibevent
internal import Glibc

/// Calls a file-scope function for every delivery of one signal.
package struct SignalWatch: ~Copyable {
    private let event: UnsafeMutablePointer<CLibevent.event>
    private let loop: EventLoop

    /// `owner` is handed to `callback` unretained and must outlive the watch.
    package init(
        signal: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        callback: @escaping EventCallback
    ) {
        self.loop = loop
        event = .allocate(capacity: 1)
        // EV_SIGNAL | EV_PERSIST, as evsignal_new does.
        event_assign(event, loop.base, signal, 0x08 | redpool_ev_persist, callback, owner)
        event_add(event, nil)
    }

    deinit {
        event_del(event)
        event.deallocate()
    }
}

/// Process-wide signal settings.
package enum Signals {
    /// Ignores what would end the process though nobody means that: a peer that has gone and a log
    /// file that may not grow are error codes of the write, and SIGUSR1 and SIGUSR2 are what others
    /// send to have a log file opened again.
    package static func ignoreMeaningless() {
        for signal in [SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2] {
            _ = Glibc.signal(signal, SIG_IGN)
        }
    }

    /// For threads other than the main one: call first in the thread.
    package static func blockAll() {
        redpool_block_signals()
    }
}
