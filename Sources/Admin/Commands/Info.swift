// INFO in the form of Redis's own, so that what reads that can read this.

import Config
import EventLoop
import Glibc
import Pool
import Proxy
import RESP

enum Info {
    private static let sections = ["server", "clients", "stats", "pools"]

    static func answer(_ call: Call) {
        let given = call.arguments.map { Word($0) }
        let wantsAll =
            given.isEmpty || given.contains { ["all", "everything", "default"].contains($0) }
        let wanted = sections.filter { wantsAll || given.contains(Word(Array($0.utf8))) }
        call.host.collector.collect(.pools) { found in
            let parts = wanted.map { section in
                let lines = lines(of: section, call.host, found)
                let title = section.prefix(1).uppercased() + section.dropFirst()
                return "# \(title)\r\n" + lines.map { "\($0)\r\n" }.joined()
            }
            call.reply(.text(parts.joined(separator: "\r\n")))
        }
    }

    private static func lines(
        of section: String, _ host: ConsoleHost, _ found: CollectedReports
    ) -> [String] {
        switch section {
        case "server":
            let uptime = host.uptime / 1_000_000_000
            return [
                "redpool_version:\(host.version)", "process_id:\(getpid())",
                "uptime_in_seconds:\(uptime)", "uptime_in_days:\(uptime / 86_400)",
                "config_file:\(PlainText.of(host.source.file, longest: 200))",
                "threads:\(host.group.workers)",
                "silent_workers:\(found.silent.map(String.init).joined(separator: ","))",
                "draining:\(host.isDraining() ? 1 : 0)",
            ]
        case "clients":
            let waiting = found.pools.reduce(0) { $0 + $1.census.waiting }
            return [
                "connected_clients:\(host.group.clientCount)", "maxclients:\(host.maxClients)",
                "waiting_clients:\(waiting)",
            ]
        case "stats":
            return [
                "total_connections_received:\(found.pools.reduce(0) { $0 + $1.accepted })",
                "total_commands_processed:\(found.pools.reduce(0) { $0 + $1.commands })",
                "rejected_connections:\(host.config.pools.reduce(0) { $0 + host.group.rejected(of: $1.name) })",
                "refused_commands:\(found.pools.reduce(0) { $0 + $1.refused })",
                "log_lines_lost:\(host.lostLines())",
            ]
        default: return found.pools.map { line(of: $0, host) }
        }
    }

    private static func line(of pool: PoolReport, _ host: ConsoleHost) -> String {
        let census = pool.census
        let fields = [
            "state=\(ShowPools.state(of: pool, host.group))", "clients=\(pool.clients)",
            "waiting=\(census.waiting)", "in_flight=\(pool.sight.inFlight)",
            "open=\(census.open)", "max_open=\(pool.maxOpen)", "idle=\(census.idle)",
            "shared=\(census.shared)", "pinned=\(census.pinned)", "max_pinned=\(pool.maxPinned)",
        ]
        return "pool_\(pool.pool):\(fields.joined(separator: ","))"
    }
}
