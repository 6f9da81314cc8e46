// Signals as events. Only the control loop on the main thread watches signals. Workers block all
// signals before their thread starts, so the kernel delivers every signal to the main thread.

internal import CExec
internal import CLibevent
internal import Glibc

/// Calls a file-scope function for every delivery of one signal.
package struct SignalWatch: ~Copyable {
    private let event: UnsafeMutablePointer<CLibevent.event>
    private let loop: EventLoop

    /// `callback` gets `owner` unretained, so it must outlive the watch.
    package init(
        signal: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        callback: @escaping EventCallback
    ) {
        self.loop = loop
        event = .allocate(capacity: 1)
        // EV_SIGNAL | EV_PERSIST, as evsignal_new does.
        event_assign(event, loop.base, signal, 0x08 | redpool_ev_persist, callback, owner)
        EventLoop.add(event)
    }

    deinit {
        event_del(event)
        event.deallocate()
    }
}

/// Process-wide signal settings.
package enum Signals {
    /// Ignores signals that would end the process although nothing is wrong. A closed peer
    /// (SIGPIPE) and a log file at its size limit (SIGXFSZ) show as errors of the write. SIGUSR1
    /// and SIGUSR2 are sent to daemons to reopen their log files.
    package static func ignoreMeaningless() {
        for signal in [SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2] {
            _ = Glibc.signal(signal, SIG_IGN)
        }
    }

    /// SIGTERM, SIGINT, SIGQUIT and SIGHUP wait until `letCome`, also while another program is
    /// executed. Those that have come before are handled in the next iteration of the loop.
    package static func hold() { redpool_hold_signals(true) }

    package static func letCome() { redpool_hold_signals(false) }

    /// For threads other than the main one. Must be the first call in the thread.
    package static func blockAll() {
        redpool_block_signals()
    }
}
