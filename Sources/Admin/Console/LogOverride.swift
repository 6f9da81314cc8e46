// What is logged can be changed for a time. Then the configuration holds again, by itself.

package import Config
import EventLoop
package import Logging
import Proxy
import Telemetry

/// The changes of LOG LEVEL and LOG CLIENTS that are in force.
final class LogOverride {
    private unowned let host: ConsoleHost
    private var level: LogConfig.Level?
    private var clients: Bool?
    private var levelTimer: Timer?
    private var clientsTimer: Timer?

    /// How long a change lasts for which no time is given, in nanoseconds.
    static let standardTime: Int64 = 600_000_000_000

    init(_ host: ConsoleHost) {
        self.host = host
        let me = Unmanaged.passUnretained(self).toOpaque()
        levelTimer = Timer(loop: host.loop, owner: me, callback: levelFallsBack)
        clientsTimer = Timer(loop: host.loop, owner: me, callback: clientsFallBack)
    }

    func setLevel(_ level: LogConfig.Level, for time: Int64) {
        self.level = level
        levelTimer?.start(after: time)
        apply()
    }

    func setClients(_ isOn: Bool, for time: Int64) {
        clients = isOn
        clientsTimer?.start(after: time)
        apply()
    }

    fileprivate func endLevel() {
        level = nil
        apply()
        told("the level of the log is \(host.config.log.level.rawValue) again")
    }

    fileprivate func endClients() {
        clients = nil
        apply()
        told("clients are logged as configured again")
    }

    private func told(_ text: String) {
        host.log.notice("\(text)", metadata: ["event": "log.restored"])
    }

    /// Also called when the configuration has changed.
    func apply() {
        let level = level ?? host.config.log.level
        let clients = clients ?? host.config.log.clients
        host.logControl.set(
            LogConfiguration(level: level.loggerLevel, format: host.logControl.format))
        for mailbox in host.group.mailboxes {
            mailbox.post(.logging(clients: clients, traces: level == .debug))
        }
    }
}

extension LogConfig.Level {
    /// The same level of swift-log.
    package var loggerLevel: Logger.Level {
        switch self {
        case .error: .error
        case .warning: .warning
        case .notice: .notice
        case .info: .info
        case .debug: .debug
        }
    }
}

private func levelFallsBack(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<LogOverride>.fromOpaque(owner).takeUnretainedValue().endLevel()
}

private func clientsFallBack(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<LogOverride>.fromOpaque(owner).takeUnretainedValue().endClients()
}
