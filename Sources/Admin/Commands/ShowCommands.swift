// SHOW: tables of what there is. Nothing of it changes anything.

import Config
import EventLoop
import Pool
import Proxy
import RESP

enum ShowCommands {
    /// What moves. ShowNumbers has what is counted.
    static let traffic: [ConsoleCommand] = [
        ConsoleCommand("SHOW POOLS", "states, numbers, last errors") { ShowPools.answer($0) },
        ConsoleCommand(
            "SHOW CLIENTS", "[pool] [BY rank] [LIMIT n]", "wait, idle, commands, bytes, pinned",
            arguments: 0...5
        ) { ShowClients.answer($0) },
        ConsoleCommand("SHOW UPSTREAMS", "[pool]", "connections to servers", arguments: 0...1) {
            ShowUpstreams.answer($0)
        },
        ShowSubscriptions.command,
        ConsoleCommand("SHOW NODES", "[pool]", "servers of a pool", arguments: 0...1) {
            ShowNodes.answer($0)
        },
        ConsoleCommand(
            "SHOW SENTINELS", "[pool]", "who names the primary; failovers", arguments: 0...1
        ) { ShowSentinels.answer($0) },
        ConsoleCommand("SHOW CLUSTERS", "[pool]", "maps of slots", arguments: 0...1) {
            ShowClusters.answer($0)
        },
    ]

    /// What stands.
    static let process: [ConsoleCommand] = [
        ConsoleCommand(
            "SHOW CONFIG", "[prefix]", "keys in effect, and their sources", arguments: 0...1
        ) { ShowProcess.config($0) },
        ConsoleCommand("SHOW MEMORY", "the terms of the memory formula") { ShowProcess.memory($0) },
        ConsoleCommand("SHOW VERSION", "version, process, last reload") { ShowProcess.version($0) },
        ConsoleCommand("SHOW HELP", "the commands") { ConnectionCommands.help($0) },
    ]
}

enum ShowPools {
    static let columns = [
        "pool", "state", "upstream", "address", "clients", "waiting", "oldest_wait_ms", "in_flight",
        "oldest_in_flight_ms", "open", "max_open", "idle", "shared", "pinned", "max_pinned",
        "connecting", "last_error", "last_error_s", "silent",
    ]

    static func answer(_ call: Call) {
        call.host.collector.collect(.pools) { found in
            let pools = found.pools
            call.reply(
                .table(
                    Table(
                        columns,
                        call.host.config.pools.map { config in
                            let silent = call.host.group.members(of: config.name)
                                .filter { found.silent.contains($0) }
                            guard let pool = pools.first(where: { $0.pool == config.name }) else {
                                return row(config, silent)
                            }
                            return row(pool, state(of: pool, call.host.group), silent)
                        })))
        }
    }

    /// One word for how a pool is.
    static func state(of pool: PoolReport, _ group: WorkerGroup) -> String {
        if group.isPaused(pool.pool) { return "paused" }
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        if group.outage(of: pool.pool) != nil { return "down" }
        if pool.sight.oldestCommand(now: now) >= PoolWatch.longestReply { return "stalled" }
        return "up"
    }

    private static func row(_ pool: PoolReport, _ state: String, _ silent: [Int]) -> [Cell] {
        let now = MonotonicTime(nanoseconds: EventLoop.now())
        let census = pool.census
        return [
            .text(pool.pool), .text(state), .text(pool.upstream), .plain(pool.address),
            .count(pool.clients), .count(census.waiting),
            .milliseconds(pool.sight.waiterSince.map { now.nanoseconds - $0 }),
            .count(pool.sight.inFlight),
            .milliseconds(pool.sight.commandSince.map { now.nanoseconds - $0 }),
            .count(census.open), .count(pool.maxOpen), .count(census.idle),
            .count(census.shared), .count(census.pinned), .count(pool.maxPinned),
            .count(census.connecting), .plain(pool.lastError?.text, longest: 100),
            .seconds(pool.lastError.map { now - $0.at }), names(silent),
        ]
    }

    /// A pool whose workers are all silent.
    private static func row(_ pool: PoolConfig, _ silent: [Int]) -> [Cell] {
        var cells = [Cell](repeating: .absent, count: columns.count)
        cells[0] = .text(pool.name)
        cells[1] = .text("silent")
        cells[2] = .text(pool.upstream.description)
        cells[10] = .count(pool.maxOpen)
        cells[14] = .count(pool.maxPinned)
        cells[18] = names(silent)
        return cells
    }

    private static func names(_ workers: [Int]) -> Cell {
        workers.isEmpty ? .absent : .text(workers.map(String.init).joined(separator: ","))
    }
}

enum ShowClients {
    static let columns = [
        "id", "pool", "worker", "from", "name", "lib", "user", "db", "resp", "age_s", "idle_s",
        "state", "since_ms", "reason", "cmd", "upstream", "commands", "in_bytes", "out_bytes",
        "waiting_bytes", "tls", "cipher", "resumed",
    ]

    static func answer(_ call: Call) {
        guard let selection = selection(call) else { return }
        call.host.collector.collect(.clients(selection)) { found in
            let clients = found.clients(selection)
            let silent = found.silent
            call.reply(
                .table(
                    Table(columns, count: clients.count + silent.count) { index in
                        index < clients.count
                            ? row(clients[index])
                            : silentRow(silent[index - clients.count], columns, state: 11)
                    }))
        }
    }

    /// Nil if the words are not understood; then they are answered.
    private static func selection(_ call: Call) -> ClientSelection? {
        var pool: String?
        var rank: ClientRank?
        var limit = Int.max
        var next = 0
        while next < call.arguments.count {
            let hasValue = next + 1 < call.arguments.count
            switch call.word(next) {
            case "by" where hasValue:
                let given = call.word(next + 1)
                rank = ClientRank.allCases.first { Word(Array($0.rawValue.utf8)) == given }
                guard rank != nil else {
                    let all = ClientRank.allCases.map(\.rawValue).joined(separator: ", ")
                    call.fail("clients are ranked BY \(all)")
                    return nil
                }
                next += 2
            case "limit" where hasValue:
                guard let number = call.limit(at: next + 1) else { return nil }
                limit = number
                next += 2
            default:
                let isKeyword = ["by", "limit"].contains(call.word(next))
                guard next == 0, !isKeyword else {
                    call.fail("not understood: SHOW CLIENTS [pool] [BY rank] [LIMIT n]")
                    return nil
                }
                guard let name = call.pool(at: next) else { return nil }
                pool = name
                next += 1
            }
        }
        return ClientSelection(pool: pool, rank: rank, limit: limit)
    }

    private static func row(_ client: ClientReport) -> [Cell] {
        [
            .count(client.id), .text(client.pool), .count(client.worker), .plain(client.peer),
            .plain(client.name), .plain(client.library), .plain(client.user),
            .count(client.database), .count(client.protocolVersion), .seconds(client.age),
            .seconds(client.idle), .text(client.state.rawValue), .milliseconds(client.since),
            .plain(client.reason), .plain(client.command), .count(client.upstream),
            .count(client.commands), .count(client.bytesIn), .count(client.bytesOut),
            .count(client.bytesWaiting), .plain(client.tls?.version), .plain(client.tls?.cipher),
            .plain(client.tls.map { $0.isResumed ? "yes" : "no" }),
        ]
    }

    /// The row of a worker that does not answer.
    static func silentRow(
        _ number: Int, _ columns: [String], state: Int, worker: Int = 2
    ) -> [Cell] {
        var cells = [Cell](repeating: .absent, count: columns.count)
        cells[worker] = .count(number)
        cells[state] = .text("silent")
        return cells
    }
}

enum ShowUpstreams {
    static let columns = [
        "id", "pool", "worker", "address", "server_id", "state", "user", "db", "resp", "age_s",
        "retires_in_s", "idle_s", "in_flight", "oldest_ms", "commands", "client", "cmd", "tls",
        "cipher", "resumed",
    ]

    static func answer(_ call: Call) {
        var name: String?
        if !call.arguments.isEmpty {
            guard let pool = call.pool(at: 0) else { return }
            name = pool
        }
        call.host.collector.collect(.upstreams(pool: name)) { found in
            let upstreams = found.upstreams
            let silent = found.silent
            call.reply(
                .table(
                    Table(columns, count: upstreams.count + silent.count) { index in
                        index < upstreams.count
                            ? row(upstreams[index])
                            : ShowClients.silentRow(
                                silent[index - upstreams.count], columns, state: 5)
                    }))
        }
    }

    private static func row(_ upstream: UpstreamReport) -> [Cell] {
        [
            .count(upstream.id), .text(upstream.pool), .count(upstream.worker),
            .plain(upstream.address), .count(upstream.serverID), .text(upstream.state),
            .plain(upstream.user), .count(upstream.database), .count(upstream.protocolVersion),
            .seconds(upstream.age), .seconds(upstream.retiresIn), .seconds(upstream.idle),
            .count(upstream.inFlight), .milliseconds(upstream.oldest), .count(upstream.commands),
            .count(upstream.client), .plain(upstream.command), .plain(upstream.tls?.version),
            .plain(upstream.tls?.cipher),
            .plain(upstream.tls.map { $0.isResumed ? "yes" : "no" }),
        ]
    }
}
