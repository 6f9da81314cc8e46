// `redpool status`: one screen about a running daemon. What is wrong comes first.

import RESP

/// The rows of the tables that the screen is made of. Those of Sentinels, clusters, latencies,
/// errors and keys are nil if the daemon does not have the table.
struct StatusTables {
    /// The facts by their names.
    var version: [String: String] = [:]
    var pools: [[String: String]] = []
    var sentinels: [[String: String]]?
    var clusters: [[String: String]]?
    var latency: [[String: String]]?
    var errors: [[String: String]]?
    var config: [[String: String]]?
}

/// Shows the state of the daemon. Returns the exit code.
func status(_ request: ConsoleRequest) throws -> Int32 {
    try watched(request) {
        let console = try ConsoleClient(request)
        var tables = StatusTables()
        for row in try console.rows("VERSION") ?? [] {
            if let name = row["name"], let value = row["value"] { tables.version[name] = value }
        }
        guard let pools = try console.rows("POOLS") else {
            throw StartFailure(
                code: Sysexit.unwell, message: "redpool: the daemon has no table of its pools")
        }
        tables.pools = pools
        tables.sentinels = try console.rows("SENTINELS")
        tables.clusters = try console.rows("CLUSTERS")
        tables.latency = try console.rows("LATENCY")
        tables.errors = try console.rows("ERRORS")
        tables.config = try console.rows("CONFIG")
        let screen = StatusScreen(tables)
        return (screen.isWell ? 0 : Sysexit.unwell, screen.lines)
    }
}

extension ConsoleClient {
    /// The rows of SHOW for one word; nil if the answer is an error.
    fileprivate func rows(_ word: String) throws -> [[String: String]]? {
        let answer = try ask(["SHOW", word, "JSON"])
        if case .error = answer { return nil }
        do throws(TableJSON.Malformed) {
            guard case .text(let text) = answer else { throw TableJSON.Malformed() }
            return try TableJSON(text).rows
        } catch {
            throw StartFailure(
                code: Sysexit.unwell, message: "redpool: the answer to SHOW \(word) is no table")
        }
    }
}

/// The screen, made of the tables. It fits 80 columns.
struct StatusScreen {
    /// False if a pool is down, stalled or silent, its Sentinels name no primary, or slots of its
    /// cluster have no owner.
    private(set) var isWell = true
    private(set) var lines: [String] = []
    private static let width = 80

    init(_ tables: StatusTables) {
        let watched = StatusScreen.byPool(tables.sentinels ?? [])
        let wrong =
            (tables.version["draining"] == "yes" ? ["the daemon is draining"] : [])
            + tables.pools.flatMap(StatusScreen.problems)
            + watched.flatMap { StatusScreen.problems($0.pool, ofSentinels: $0.rows) }
            + (tables.clusters ?? []).flatMap(StatusScreen.problemsOfCluster)
            + (tables.version["last_reload"] == "refused"
                ? ["the configuration was refused when it was last read: redpool check"] : [])
            + StatusScreen.pending(tables)
        isWell =
            !tables.pools.contains { !["up", "paused"].contains($0["state"]) }
            && !watched.contains { $0.rows.first?["primary"] ?? "-" == "-" }
            && (tables.clusters ?? []).allSatisfy { $0["state"] == "whole" }
        lines = [StatusScreen.title(tables)]
        if wrong.isEmpty {
            lines.append("Nothing is wrong.")
        } else {
            lines += wrong.map { TextTable.cut("! \($0)", StatusScreen.width) }
        }
        lines += [""] + StatusScreen.pools(tables.pools)
        if !watched.isEmpty { lines += [""] + StatusScreen.primaries(watched) }
        if let clusters = tables.clusters, !clusters.isEmpty {
            lines += [""] + StatusScreen.maps(clusters)
        }
        if let latency = tables.latency { lines += [""] + StatusScreen.latencies(latency) }
        if let errors = tables.errors { lines += [""] + StatusScreen.errors(errors) }
    }

    private static func title(_ tables: StatusTables) -> String {
        let facts = tables.version
        let clients = tables.pools.reduce(0) { $0 + (number($1["clients"]) ?? 0) }
        let down = tables.pools.filter { $0["state"] != "up" }.count
        let pools = "\(tables.pools.count) " + (tables.pools.count == 1 ? "pool" : "pools")
        let parts = [
            "redpool \(facts["version"] ?? "-")", facts["uptime_s"].map { "up \(span($0))" },
            pools + (down == 0 ? "" : ", \(down) not up"),
            "\(clients) " + (clients == 1 ? "client" : "clients"),
        ]
        return parts.compactMap { $0 }.joined(separator: ", ")
    }

    /// What is wrong with a pool.
    private static func problems(_ pool: [String: String]) -> [String] {
        func cell(_ name: String) -> String { pool[name] ?? "-" }
        let name = cell("pool")
        var found: [String] = []
        switch cell("state") {
        case "down":
            found.append("\(name) is down: \(cell("last_error"))")
        case "stalled":
            found.append(
                "\(name) is stalled: \(cell("in_flight")) commands unanswered, the oldest for "
                    + milliseconds(cell("oldest_in_flight_ms")))
        case "paused":
            found.append("\(name) is paused: \(clients(cell("waiting")))")
        case "silent": found.append("\(name): none of its workers answers")
        case "up": break
        default: found.append("\(name) is \(cell("state"))")
        }
        if cell("silent") != "-", cell("state") != "silent" {
            found.append("\(name): worker \(cell("silent")) does not answer")
        }
        let wait = cell("oldest_wait_ms")
        if number(cell("waiting")) ?? 0 > 0, cell("state") != "paused",
            number(wait) ?? .max >= 1000
        {
            found.append(
                "\(name): \(clients(cell("waiting"))), the oldest for \(milliseconds(wait)); "
                    + "\(cell("open"))/\(cell("max_open")) open, "
                    + "\(cell("pinned"))/\(cell("max_pinned")) pinned")
        }
        return found
    }

    /// The rows of SHOW SENTINELS for each pool, in their order.
    private static func byPool(
        _ rows: [[String: String]]
    ) -> [(pool: String, rows: [[String: String]])] {
        var found: [(pool: String, rows: [[String: String]])] = []
        for row in rows {
            let pool = row["pool"] ?? "-"
            if found.last?.pool != pool { found.append((pool, [])) }
            found[found.count - 1].rows.append(row)
        }
        return found
    }

    /// What is wrong with those who name a pool's primary, in the words of the page for people.
    private static func problems(
        _ pool: String, ofSentinels rows: [[String: String]]
    ) -> [String] {
        let primary = rows.first?["primary"] ?? "-"
        let unknown = primary == "-" ? ["\(pool): no primary is known"] : []
        if rows.allSatisfy({ $0["state"] == "down" }) {
            return unknown + ["\(pool): no Sentinel can be asked: \(rows[0]["error"] ?? "-")"]
        }
        return unknown
            + rows.compactMap { row in
                let (error, names) = (row["error"] ?? "-", row["names"] ?? "-")
                let sentinel = "\(pool): Sentinel \(row["sentinel"] ?? "-")"
                if row["state"] == "down" { return "\(sentinel) is down: \(error)" }
                if error != "-" { return "\(sentinel) names no primary: \(error)" }
                return names == "-" || names == primary ? nil : "\(sentinel) names \(names)"
            }
    }

    /// Who is the primary, by how many Sentinels, and the last failover.
    private static func primaries(
        _ pools: [(pool: String, rows: [[String: String]])]
    ) -> [String] {
        var table = TextTable([
            "POOL", "PRIMARY", "SENTINELS", "FAILOVERS", "LAST, AGO", "IT TOOK", "FROM",
        ])
        for (pool, rows) in pools {
            func cell(_ name: String) -> String { rows[0][name] ?? "-" }
            let way = cell("last_failover").split(separator: " ")
            table.add([
                pool, cell("primary"),
                "\(rows.count { $0["state"] == "connected" })/\(rows.count)", cell("failovers"),
                span(cell("last_failover_s")), milliseconds(cell("last_failover_ms")),
                way.first.map(String.init) ?? "-",
            ])
        }
        return table.lines(width: 400).map { TextTable.cut($0, width) }
    }

    /// What is wrong with the cluster of a pool.
    private static func problemsOfCluster(_ row: [String: String]) -> [String] {
        func cell(_ name: String) -> String { row[name] ?? "-" }
        let pool = cell("pool")
        switch cell("state") {
        case "unknown": return ["\(pool): the cluster's map is not known: \(cell("error"))"]
        case "partial":
            return [
                "\(pool): slots have no owner: \(cell("slots_ok")) of 16384 have one"
                    + (cell("error") == "-" ? "" : "; \(cell("error"))")
            ]
        default:
            let down = number(cell("down")) ?? 0
            if down == 0 { return [] }
            return [
                "\(pool): \(down) " + (down == 1 ? "node is" : "nodes are")
                    + " down: \(cell("error"))"
            ]
        }
    }

    /// The map of each cluster.
    private static func maps(_ rows: [[String: String]]) -> [String] {
        var table = TextTable([
            "POOL", "SLOTS", "NODES", "DOWN", "MAP", "CHANGED, AGO", "FAILOVERS",
        ])
        for row in rows {
            func cell(_ name: String) -> String { row[name] ?? "-" }
            table.add([
                cell("pool"), cell("slots_ok"), cell("nodes"), cell("down"), cell("version"),
                span(cell("changed_s")), cell("failovers"),
            ])
        }
        return table.lines(width: 400).map { TextTable.cut($0, width) }
    }

    private static func clients(_ waiting: String) -> String {
        waiting == "1" ? "1 client waits" : "\(waiting) clients wait"
    }

    /// Keys whose changed value needs a restart.
    private static func pending(_ tables: StatusTables) -> [String] {
        (tables.config ?? []).compactMap { row in
            guard let pending = row["pending"], pending != "-", !pending.isEmpty else { return nil }
            return
                "\(row["key"] ?? "-"): \(pending) is in the file, \(row["value"] ?? "-") in effect"
        }
    }

    private static func pools(_ pools: [[String: String]]) -> [String] {
        var table = TextTable([
            "POOL", "STATE", "CLIENTS", "WAITING", "OLDEST", "IN FLIGHT", "OPEN", "PINNED",
        ])
        for pool in pools {
            func cell(_ name: String) -> String { pool[name] ?? "-" }
            table.add([
                cell("pool"), cell("state"), cell("clients"), cell("waiting"),
                milliseconds(cell("oldest_wait_ms")), cell("in_flight"),
                "\(cell("open"))/\(cell("max_open"))", "\(cell("pinned"))/\(cell("max_pinned"))",
            ])
        }
        return table.lines(width: width)
    }

    /// Median and p99 of the last minute, one line for each pool.
    private static func latencies(_ rows: [[String: String]]) -> [String] {
        var table = TextTable([
            "LATENCY, 1 MIN", "WAIT p50", "p99", "UPSTREAM p50", "p99", "DIAL p50", "p99",
        ])
        var pools: [String] = []
        for row in rows {
            guard let pool = row["pool"], !pools.contains(pool) else { continue }
            pools.append(pool)
        }
        for pool in pools {
            let cells = ["wait", "upstream", "dial"].flatMap { what in
                let row = rows.first {
                    $0["pool"] == pool && $0["what"] == what && $0["since"] == "minute"
                }
                return ["p50_us", "p99_us"].map { microseconds(row?[$0] ?? "-") }
            }
            table.add([pool] + cells)
        }
        return table.lines(width: width)
    }

    /// Why connections are closed in ordinary operation. SHOW ERRORS counts these as well.
    private static let ordinary: Set<String> = [
        "client_closed", "client_reset", "idle_timeout", "max_idle", "max_lifetime", "client_gone",
        "dirty", "replaced", "rebalanced", "address_changed", "config_changed", "not_understood",
        "drain", "paused", "reconnect", "killed",
    ]

    private static func errors(_ all: [[String: String]]) -> [String] {
        let rows = all.filter { row in
            !["client", "upstream"].contains(row["kind"]) || !ordinary.contains(row["word"] ?? "")
        }
        guard !rows.isEmpty else { return ["No errors."] }
        var table = TextTable(["ERRORS, UTC", "POOL", "COUNT", "KIND", "WORD", "TEXT"])
        for row in rows.prefix(5) {
            func cell(_ name: String) -> String { row[name] ?? "-" }
            table.add([
                moment(cell("last")), cell("pool"), cell("count"), cell("kind"), cell("word"),
                essence(cell("text"), of: cell("pool")),
            ])
        }
        return table.lines(width: 400).map { TextTable.cut($0, width) }
    }

    private static func number(_ text: String?) -> Int64? {
        text.flatMap { Word.integer(Array($0.utf8), in: 0...Int64.max / 2) }
    }

    /// The text behind `UPSTREAMDOWN pool main: `, which repeats the row; other text as it is.
    private static func essence(_ text: String, of pool: String) -> String {
        let parts = text.split(separator: " ", maxSplits: 3)
        guard parts.count == 4, parts[1] == "pool", parts[2] == "\(pool):" else { return text }
        return String(parts[3])
    }

    /// `11-29 10:03:12` for a moment as the log has it; other text as it is.
    private static func moment(_ text: String) -> String {
        let parts = text.split(separator: "T")
        guard parts.count == 2, parts[0].count == 10, parts[1].count >= 8 else { return text }
        return parts[0].dropFirst(5) + " " + parts[1].prefix(8)
    }

    /// `1.2ms` for a number of microseconds; other text as it is.
    private static func microseconds(_ text: String) -> String {
        guard let time = number(text) else { return text }
        if time < 1000 { return "\(time)us" }
        if time < 1_000_000 { return "\(time / 1000).\(time % 1000 / 100)ms" }
        return "\(time / 1_000_000).\(time % 1_000_000 / 100_000)s"
    }

    /// `2.3 s` for a number of milliseconds; other text as it is.
    private static func milliseconds(_ text: String) -> String {
        guard let time = number(text) else { return text }
        if time < 1000 { return "\(time) ms" }
        return time < 60_000 ? "\(time / 1000).\(time % 1000 / 100) s" : span("\(time / 1000)")
    }

    /// `3h 12m` for a number of seconds; other text as it is.
    private static func span(_ text: String) -> String {
        guard let time = number(text) else { return text }
        switch time {
        case ..<60: return "\(time) s"
        case ..<3600: return "\(time / 60) min"
        case ..<86_400: return "\(time / 3600) h \(time % 3600 / 60) min"
        default: return "\(time / 86_400) d \(time % 86_400 / 3600) h"
        }
    }
}
