// Opens the console's socket at the start, if there is to be one.

import Admin
import Config
import EventLoop
import Glibc
import HandOver
import Logging
import Proxy
import Telemetry

/// Decides where the console listens, and what becomes of a socket that cannot be opened.
final class ConsoleStart {
    private let config: Config
    private let maxClients: Int
    private let lostLines: @Sendable () -> UInt64
    private let source: ConfigSource
    private let loop: EventLoop
    private let group: WorkerGroup
    private let log: Logger
    private let logControl: LogControl
    private let successor: Successor?
    private static let backlog: Int32 = 64
    /// The line for the log, which waits: a start that fails has one line only.
    private var line: (level: Logger.Level, event: String, text: String)?

    init(
        _ config: Config, _ source: ConfigSource, maxClients: Int, loop: EventLoop,
        group: WorkerGroup, log: Logger, logControl: LogControl,
        lostLines: @escaping @Sendable () -> UInt64, successor: Successor? = nil
    ) {
        self.successor = successor
        self.config = config
        self.maxClients = maxClients
        self.lostLines = lostLines
        self.source = source
        self.loop = loop
        self.group = group
        self.log = log
        self.logControl = logControl
    }

    /// The console; nil if there is none. Throws if the configuration has a socket that cannot be
    /// opened.
    func open() throws -> Console? {
        guard let path = config.admin.socket else { return openStandard() }
        if path.isEmpty { return nil }
        let wait = StartWait(loop: loop, log: log)
        while true {
            let console: Console
            do throws(ListenFailure) {
                console = try listen(path)
            } catch {
                let text = describe(error, path)
                guard case .system(EADDRINUSE) = error else {
                    throw StartFailure(code: Sysexit.cannotCreate, message: "redpool: \(text)")
                }
                try wait.pause(text)
                continue
            }
            do {
                try wait.end()
            } catch {
                console.close()
                throw error
            }
            return console
        }
    }

    /// Says in the log what has become of the console.
    func tell() {
        guard let line else { return }
        log.log(level: line.level, "\(line.text)", metadata: ["event": "\(line.event)"])
    }

    /// Where no socket is configured, Redpool also runs without a console.
    private func openStandard() -> Console? {
        let path = AdminConfig.standardSocket
        var facts = stat()
        guard stat("/run/redpool", &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR else {
            line = (
                .info, "console.none",
                "no console: admin.socket is not set, and there is no /run/redpool"
            )
            return nil
        }
        do throws(ListenFailure) {
            return try listen(path)
        } catch {
            line = (.warning, "console.none", "no console: \(describe(error, path))")
            return nil
        }
    }

    private func listen(_ path: String) throws(ListenFailure) -> Console {
        let adopted = successor?.takeListeners {
            $0.purpose == .console && $0.address == path
        }
        guard let collector = ReportCollector(loop: loop, group: group),
            let desk = OperatorDesk(loop: loop, group: group)
        else {
            throw .system(EMFILE)
        }
        let descriptor: Int32
        let file: SocketFile
        if let carried = adopted?.first, let made = carried.file {
            (descriptor, file) = (carried.descriptor, SocketFile(made))
        } else {
            (descriptor, file) = try SocketFile.listen(
                path: path, mode: config.admin.mode, group: config.admin.group,
                backlog: ConsoleStart.backlog)
        }
        let host = ConsoleHost(
            loop: loop, group: group, collector: collector, desk: desk, log: log,
            logControl: logControl,
            version: redpoolVersion, maxClients: maxClients, config: config, source: source,
            lostLines: lostLines)
        line = (.info, "console.ready", "the console listens on unix:\(path)")
        return Console(host, descriptor: descriptor, file: file)
    }

    private func describe(_ failure: ListenFailure, _ path: String) -> String {
        let group = config.admin.group
        let cause =
            switch failure {
            case .system(let error): System.errorText(error)
            case .occupied(let kind): "there is \(kind) in its place"
            case .unknownGroup: "there is no group \(group)"
            case .groupRefused(let error, _): "group \(group): \(System.errorText(error))"
            }
        return "admin: cannot listen on unix:\(path): \(cause)"
    }
}
