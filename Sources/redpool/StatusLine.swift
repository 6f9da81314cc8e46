// The line that `systemctl status` shows: how many pools there are, which of them are down and why,
// which are paused, and how many clients. It lives on the main thread and reads what the workers
// count anyway.

import Config
import EventLoop
import Logging
import Proxy

/// Tells the service manager the status when it has changed, at most once a second.
final class StatusLine {
    private static let interval: Int64 = 1_000_000_000
    /// Of what a server says, in characters.
    private static let longestError = 100

    private let group: WorkerGroup
    /// The names of all pools.
    var pools: [String]
    private var reload: ReloadState?
    private let log: Logger
    private var timer: Timer?
    /// What the service manager has been told last.
    private var told = ""
    private var isFailing = false
    private var isDraining = false

    /// Does nothing by itself before `start`.
    init(loop: EventLoop, group: WorkerGroup, pools: [String], log: Logger) {
        self.group = group
        self.pools = pools
        self.log = log
        guard System.hasServiceManager else { return }
        timer = Timer(
            loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(), callback: statusTimer)
    }

    /// Tells that Redpool is ready, with the status, and follows that from now on.
    func start() { tell("READY=1\n", waits: true) }

    /// Tells that Redpool drains, which may take this long, in microseconds.
    func drain(longest: Int64) {
        isDraining = true
        tell("STOPPING=1\nEXTEND_TIMEOUT_USEC=\(longest)\n")
    }

    /// Tells that Redpool is ready again.
    func ready() { tell("READY=1\n") }

    /// Tells that the configuration is being read again, or another program takes over.
    func reloading() {
        let now = EventLoop.now() / 1000
        tell("RELOADING=1\nMONOTONIC_USEC=\(now)\n")
    }

    /// Tells that this is over.
    func reloaded(_ state: ReloadState) {
        reload = state
        tell("READY=1\n")
    }

    fileprivate func look() {
        if text == told { timer?.start(after: StatusLine.interval) } else { tell("") }
    }

    private func tell(_ more: String, waits: Bool = false) {
        let text = text
        let error = System.notify(more + "STATUS=\(text)", waits: waits)
        if error == 0 {
            told = text
        } else if !isFailing {
            log.warning(
                "cannot notify systemd: \(System.errorText(-error))",
                metadata: ["event": "notify.failed"])
        }
        isFailing = error != 0
        timer?.start(after: StatusLine.interval)
    }

    private var text: String {
        let clients = StatusLine.count(group.clientCount, "client")
        if isDraining { return "Draining, \(clients)" }
        var down: [String] = []
        var paused: [String] = []
        for pool in pools {
            if group.isPaused(pool) {
                paused.append(pool)
            } else if let error = group.outage(of: pool) {
                down.append("\(pool): \(StatusLine.plain(error))")
            }
        }
        var parts = [StatusLine.count(pools.count, "pool")]
        if !down.isEmpty { parts.append("\(down.count) down (\(down.joined(separator: "; ")))") }
        if !paused.isEmpty {
            parts.append("\(paused.count) paused (\(paused.joined(separator: ", ")))")
        }
        return (parts + [clients]).joined(separator: ", ") + reloadText
    }

    /// What an operator has to know of the last reload.
    private var reloadText: String {
        guard let reload else { return "" }
        var text = ""
        if reload.outcome == .refused { text += ", last reload refused" }
        if !reload.pending.isEmpty {
            let keys = reload.pending.map(\.path).joined(separator: ", ")
            text += ", restart needed for \(keys)"
        }
        return text
    }

    private static func count(_ number: Int, _ thing: String) -> String {
        "\(number) \(thing)\(number == 1 ? "" : "s")"
    }

    /// A server's words cannot add a line to the message.
    private static func plain(_ text: String) -> String {
        var plain = String.UnicodeScalarView()
        for scalar in text.unicodeScalars.prefix(longestError) {
            plain.append(scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar)
        }
        return String(plain)
    }
}

private func statusTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<StatusLine>.fromOpaque(owner).takeUnretainedValue().look()
}
