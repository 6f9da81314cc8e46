// What `level: debug` logs: connections and the decisions about them, never keys, values or passwords.

import Config
import Logging
import Pool
import Session

extension Worker {
    /// Logs one decision, if the level is debug. Otherwise it costs one comparison: `about` is not
    /// evaluated. It is not called for a command that is shared.
    @inline(__always)
    func trace(_ event: StaticString, _ about: @autoclosure () -> [String: String]) {
        if options.traces { writeTrace(event, about()) }
    }

    private func writeTrace(_ event: StaticString, _ about: [String: String]) {
        var metadata: Logger.Metadata = about.mapValues { "\($0)" }
        metadata["event"] = "\(event)"
        let words = "\(event)".split(separator: ".").joined(separator: " ")
        log.debug("\(words)", metadata: metadata)
    }
}

extension ClientConnection {
    /// Traces what becomes of this client's command at hand.
    @inline(__always)
    func trace(
        _ event: StaticString, _ more: @autoclosure () -> [String: String] = [:]
    ) {
        if worker.options.traces { traceAboutMe(event, more()) }
    }

    private func traceAboutMe(_ event: StaticString, _ more: [String: String]) {
        var about = more
        about["pool"] = pool.config.name
        about["client"] = "\(serial)"
        about["command"] = worker.table.info(lastCommand)?.name ?? "unknown"
        if let upstream { about["upstream"] = upstream.id.text }
        worker.trace(event, about)
    }
}

extension UpstreamConnection {
    /// Traces a step in the life of this connection.
    @inline(__always)
    func trace(
        _ event: StaticString, _ more: @autoclosure () -> [String: String] = [:]
    ) {
        if worker.options.traces { traceAboutMe(event, more()) }
    }

    private func traceAboutMe(_ event: StaticString, _ more: [String: String]) {
        var about = more
        about["pool"] = pool.config.name
        about["upstream"] = id.text
        about["database"] = "\(key.database)"
        about["protocol"] = "\(key.protocolVersion)"
        worker.trace(event, about)
    }
}

extension UpstreamID {
    /// Slot and generation: no two connections of a worker's pool have the same.
    fileprivate var text: String { "\(slot).\(generation)" }
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
