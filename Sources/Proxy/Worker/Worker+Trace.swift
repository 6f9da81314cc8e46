// Log lines about single connections: what `level: debug` and `log.clients` ask for. They have no
// key, no value and no password.

import Config
import Logging
import Pool
import Session

extension ClientConnection {
    /// Logs a decision about this client's command, if the level is debug. Otherwise it costs one
    /// comparison: `more` is not evaluated. It is not called for a command that is shared.
    @inline(__always)
    func trace(_ event: StaticString, _ more: @autoclosure () -> [String: String] = [:]) {
        if worker.options.traces { worker.write(event, .debug, aboutCommand, more()) }
    }

    /// Logs that this client has come or gone: with `log.clients` at level info, else at debug.
    func traceItself(_ event: StaticString, _ more: @autoclosure () -> [String: String]) {
        let options = worker.options
        guard options.logsClients || options.traces else { return }
        worker.write(event, options.logsClients ? .info : .debug, about, more())
    }

    private var about: [String: String] { ["pool": pool.config.name, "client": "\(serial)"] }

    private var aboutCommand: [String: String] {
        var all = about
        all["command"] = worker.table.info(lastCommand)?.name ?? "unknown"
        if let upstream { all["upstream"] = "\(upstream.origin.serial)" }
        return all
    }
}

extension UpstreamConnection {
    /// Logs a step in the life of this connection, if the level is debug.
    @inline(__always)
    func trace(_ event: StaticString, _ more: @autoclosure () -> [String: String] = [:]) {
        if worker.options.traces { worker.write(event, .debug, about, more()) }
    }

    private var about: [String: String] {
        [
            "pool": pool.config.name, "upstream": "\(origin.serial)", "database": "\(key.database)",
            "protocol": "\(key.protocolVersion)",
        ]
    }
}

extension Worker {
    /// Writes a line whose message is the event's name in words.
    fileprivate func write(
        _ event: StaticString, _ level: Logger.Level, _ about: [String: String],
        _ more: [String: String]
    ) {
        var metadata: Logger.Metadata = ["event": "\(event)"]
        for (name, value) in about { metadata[name] = "\(value)" }
        for (name, value) in more { metadata[name] = "\(value)" }
        let words = "\(event)".split(separator: ".").joined(separator: " ")
        log.log(level: level, "\(words)", metadata: metadata)
    }
}

extension LeaseKind {
    /// The word of the manual.
    var word: String {
        switch self {
        case .shared: "shared"
        case .slow: "slow"
        case .pin: "pin"
        case .control: "control"
        }
    }
}
