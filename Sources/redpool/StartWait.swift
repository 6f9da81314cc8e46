// Waits during the start for addresses that another process still has. An exit for each try would
// fill the journal: the service manager starts Redpool again after half a second.

import EventLoop
import Glibc
import Logging

/// Pauses between tries to listen, which signals can end.
final class StartWait {
    /// How long Redpool tries, in nanoseconds. The unit's TimeoutStartSec must be longer.
    private static let patience: Int64 = 10_000_000_000
    private static let pause: Int64 = 100_000_000

    private let loop: EventLoop
    private let log: Logger
    /// When the first address was found in use; nil while none was.
    private var began: Int64?
    /// From the first pause on: between two tries as well a signal would end the process by itself,
    /// and leave sockets behind.
    private var watches: [SignalBox] = []
    private var isPauseOver = false
    private var isToEnd = false

    /// The workers have not started: the loop runs nothing else.
    init(loop: EventLoop, log: Logger) {
        self.loop = loop
        self.log = log
    }

    /// Returns when it is time for another try. The first call logs `text`. Throws when Redpool has
    /// tried for long enough, and when a signal ends it.
    func pause(_ text: String) throws {
        let now = EventLoop.now()
        if let began {
            guard now - began < StartWait.patience else { throw failure(text) }
        } else {
            began = now
            let me = Unmanaged.passUnretained(self).toOpaque()
            watches = [SIGTERM, SIGINT, SIGQUIT, SIGHUP].map {
                SignalBox(signal: $0, loop: loop, owner: me, callback: waitSignal)
            }
            log.warning(
                "\(text); trying for \(StartWait.patience / 1_000_000_000) s",
                metadata: ["event": "listen.busy"])
        }
        try run(for: StartWait.pause)
    }

    /// No address is in use any more. A signal that has come since the last pause counts as well.
    func end() throws {
        guard began != nil else { return }
        try run(for: 0)
        watches = []
    }

    private func run(for length: Int64) throws {
        let me = Unmanaged.passUnretained(self).toOpaque()
        let timer = Timer(loop: loop, owner: me, callback: waitTimer)
        isPauseOver = false
        timer.start(after: length)
        while !isPauseOver, !isToEnd {
            if !loop.runOnce() {
                throw StartFailure(
                    code: Sysexit.osError, message: "redpool: the event loop has failed")
            }
        }
        if isToEnd { throw StartFailure(code: 0, message: nil) }
    }

    /// One line in all: the log has said it, unless its level hides warnings.
    private func failure(_ text: String) -> StartFailure {
        StartFailure(
            code: Sysexit.cannotCreate,
            message: log.logLevel <= .warning ? nil : "redpool: \(text)")
    }

    fileprivate func pauseIsOver() { isPauseOver = true }

    fileprivate func received(_ signal: Int32) {
        if signal == SIGHUP {
            log.warning(
                "SIGHUP: the start is not over", metadata: ["event": "reload.refused"])
        } else {
            log.notice("ended before it was ready", metadata: ["event": "start.ended"])
            isToEnd = true
        }
    }
}

private func waitTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<StartWait>.fromOpaque(owner).takeUnretainedValue().pauseIsOver()
}

private func waitSignal(_ signal: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<StartWait>.fromOpaque(owner).takeUnretainedValue().received(signal)
}
