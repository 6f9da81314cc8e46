// A `SentinelWatch` with Sentinels and servers in the test's hand, on one loop.

import Config
import EventLoop
import Logging
import Synchronization
import TestSupport
import Testing
import Topology

@testable import Proxy

/// Lines of a log, as their fields.
final class LogLines: Sendable {
    private let lines = Mutex<[[String: String]]>([])

    func add(_ fields: [String: String]) { lines.withLock { $0.append(fields) } }

    var all: [[String: String]] { lines.withLock { $0 } }

    func count(of event: String) -> Int { all.count { $0["event"] == event } }

    func last(_ event: String) -> [String: String]? { all.last { $0["event"] == event } }
}

/// Keeps what is logged.
struct KeepingLogHandler: LogHandler {
    let lines: LogLines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields = (event.metadata ?? [:]).mapValues { "\($0)" }
        fields["msg"] = "\(event.message)"
        lines.add(fields)
    }
}

final class WatchWorld: SentinelWatchHandler {
    let loop: EventLoop
    let lines = LogLines()
    private(set) var watch: SentinelWatch!
    /// What the handler was told, in order: `left PORT`, `adopted PORT EPOCH`.
    private(set) var events: [String] = []
    /// What the handler was told while no primary was known.
    private(set) var problems: [String] = []
    /// The ports of the replicas that the handler was told of last.
    private(set) var replicas: [UInt16] = []
    var onAdopted: (SentinelPrimary) -> Void = { _ in }

    init() throws { loop = try #require(EventLoop()) }

    /// A Sentinel, or a server.
    func speaker(tls: TLSContext? = nil, host: String = "127.0.0.1") throws -> SentinelSpeaker {
        try SentinelSpeaker(loop, tls: tls, host: host)
    }

    /// `count` Sentinels that all name the server.
    func sentinels(
        _ count: Int, naming server: SentinelSpeaker, epoch: Int64 = 1
    ) throws -> [SentinelSpeaker] {
        try (0..<count).map { _ in
            let made = try speaker()
            made.claim = PrimaryClaim(address: server.node, epoch: epoch)
            return made
        }
    }

    func pool(
        _ sentinels: [SentinelSpeaker], _ lines: [String] = [], files: [String: [UInt8]] = [:]
    ) throws -> PoolConfig {
        try pool(places: sentinels.map { "\"\($0.node)\"" }, lines, files: files)
    }

    func pool(
        places: [String], _ lines: [String] = [], files: [String: [UInt8]] = [:]
    ) throws -> PoolConfig {
        var all = ["sentinels: [\(places.joined(separator: ", "))]"]
        if !lines.contains(where: { $0.hasPrefix("primaryName:") }) {
            all.append("primaryName: mymaster")
        }
        return try configuration(lines: all + lines, files: files).pools[0]
    }

    func start(_ pool: PoolConfig, names: NameLookup? = nil) throws {
        let lines = lines
        let log = Logger(label: "test") { _ in KeepingLogHandler(lines: lines) }
        let made = SentinelWatch(
            loop: loop, config: pool, log: log, names: names, handler: self)
        guard let made else { throw TestFailure("no descriptors") }
        watch = made
        made.start()
    }

    func adopted(_ primary: SentinelPrimary) {
        events.append("adopted \(primary.node.port) \(primary.epoch)")
        onAdopted(primary)
    }

    func named(replicas named: [NodeAddress]) { replicas = named.map(\.port) }

    func left(_ node: NodeAddress) { events.append("left \(node.port)") }

    func unknown(_ problem: String) { problems.append(problem) }

    /// Turns until `condition` holds.
    func run(until what: String, _ condition: () -> Bool) throws {
        do {
            try loop.run(until: what, condition)
        } catch {
            throw TestFailure("\(error): \(events), \(watch.report), \(lines.all)")
        }
    }

    /// Turns until this server is adopted and verified.
    func run(untilPrimary server: SentinelSpeaker) throws {
        try run(until: "\(server.node) is the primary") {
            watch.primary?.node == server.node && watch.report.isVerified
        }
    }

    /// Turns until each of the Sentinels has been asked once more.
    func runOneRound(_ sentinels: [SentinelSpeaker]) throws {
        let before = sentinels.map { $0.count(of: "SENTINEL") }
        try run(until: "a round of questions") {
            zip(sentinels, before).allSatisfy { $0.count(of: "SENTINEL") >= $1 + 5 }
        }
    }

    func row(of sentinel: SentinelSpeaker) -> SentinelRow? {
        watch.report.sentinels.first { $0.address == "\(sentinel.node)" }
    }
}
