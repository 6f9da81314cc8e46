// Tells systemd's watchdog that all workers turn. It lives on the main thread: a worker that hangs
// must not be able to say that it is well.

import EventLoop
import Logging
import Proxy

final class Watchdog {
    /// systemd ends the service when it hears nothing for this long, in nanoseconds.
    private let patience: Int64
    private let group: WorkerGroup
    private let log: Logger
    private var timer: Timer?
    private var isSilent = false

    /// Nil when systemd does not watch this process. The workers have started.
    init?(loop: EventLoop, group: WorkerGroup, log: Logger) {
        guard let patience = System.takeWatchdog() else { return nil }
        self.patience = patience
        self.group = group
        self.log = log
        timer = Timer(
            loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(), callback: watchdogTimer)
        look()
    }

    /// A worker comes round at least with every tick, so an idle one is seen too.
    fileprivate func look() {
        let stuck = group.stuck(for: patience / 2)
        if stuck.isEmpty {
            let error = System.notify("WATCHDOG=1")
            if error != 0, !isSilent {
                log.warning(
                    "cannot notify systemd: \(System.errorText(-error))",
                    metadata: ["event": "notify.failed"])
            }
            isSilent = error != 0
        } else if !isSilent {
            let names = WorkerGroup.names(of: stuck)
            log.critical(
                "no turn of \(names) for \(patience / 2_000_000) ms: systemd will restart Redpool",
                metadata: ["event": "worker.hangs"])
            isSilent = true
        }
        timer?.start(after: patience / 4)
    }
}

private func watchdogTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Watchdog>.fromOpaque(owner).takeUnretainedValue().look()
}
