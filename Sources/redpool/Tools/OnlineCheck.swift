// `redpool check --online`: asks the server of each pool.

import Config
import EventLoop
import RESP
import Telemetry
import Topology

/// What the server of one pool says, as lines for the operator.
struct OnlineReport {
    /// Each begins with the pool's name.
    private(set) var lines: [String] = []
    /// False if clients of the pool would get errors.
    private(set) var isWell = true
    /// Those that Sentinels name, if clients read from them.
    private var replicas: [NodeAddress] = []
    let pool: PoolConfig

    /// The parts of CONFIG GET's answers that the configuration depends on.
    struct ServerLimits {
        var maxClients: Int64?
        /// Seconds; 0: idle clients are never closed.
        var timeout: Int64?
    }

    /// Asks the server. `opened` is the sum of `maxOpen` of all pools of this server.
    init(_ pool: PoolConfig, opened: Int) {
        self.pool = pool
        if let source = pool.cluster {
            checkCluster(source, opened: opened)
            return
        }
        guard let target = target() else { return }
        let addresses = addresses(target)
        let began = BlockingSocket.now
        guard let (exchange, place) = connect(addresses) else { return }
        do throws(ExchangeFailure) {
            if let tls = pool.upstreamTLS {
                describe(
                    try exchange.beginTLS(tls, host: target.host, place: "\(target)"), place)
            }
            guard try logIn(exchange, place) else { return }
            if pool.sentinels != nil { try checkRole(exchange, place) }
            let time = (BlockingSocket.now - began) / 1000
            let version = try OnlineReport.version(exchange)
            note("\(place) is \(version), connected and logged in in \(time) us")
            compare(try OnlineReport.limits(exchange), opened: opened)
            try checkPubSub(exchange)
            if pool.sentinels != nil, pool.reads != .primary {
                try checkReplicas(replicas, exchange)
            }
        } catch {
            complain("\(place): \(error.text)")
        }
    }

    mutating func note(_ text: String) {
        lines.append("pool \(pool.name): \(text)")
    }

    mutating func complain(_ text: String) {
        note(text)
        isWell = false
    }

    mutating func describe(_ tls: TLSFacts, _ place: String) {
        var text = "\(place) speaks \(tls.version) (\(tls.cipher))"
        if tls.expiresAt >= 0 {
            let days = (tls.expiresAt - wallClock() / 1_000_000_000) / 86_400
            text += ", and its certificate is valid for \(days) more days"
        }
        note(text)
    }

    /// A connection to the first address that takes it.
    private mutating func connect(_ addresses: [SocketAddress]) -> (Exchange, place: String)? {
        var problems: [String] = []
        for address in addresses {
            do throws(ExchangeFailure) {
                return (
                    try Exchange(address, within: pool.connectTimeout), address.description
                )
            } catch {
                problems.append("cannot connect to \(address.description): \(error.text)")
            }
        }
        if !problems.isEmpty { complain(problems.joined(separator: "; ")) }
        return nil
    }

    /// The pool's server, or the primary that its Sentinels name.
    private mutating func target() -> UpstreamAddress? {
        guard case .sentinels(let source) = pool.source else { return pool.upstream }
        let check = SentinelCheck(
            source, within: pool.connectTimeout, wantsReplicas: pool.reads != .primary)
        replicas = check.replicas
        for line in check.lines { note(line) }
        if check.primary == nil {
            complain("no Sentinel names the address of \(source.primaryName)")
        }
        return check.primary
    }

    /// What a Sentinel names may be a replica by now, or always have been one.
    private mutating func checkRole(
        _ exchange: Exchange, _ place: String
    ) throws(ExchangeFailure) {
        let reply = try exchange.replies(to: [[Array("ROLE".utf8)]])[0]
        switch ServerRole(reply) {
        case .primary: note("\(place) is a primary")
        case .other: complain("\(place) is no primary (ROLE)")
        case nil:
            guard case .error(let text) = Exchange.read(reply) else {
                return complain("\(place) does not say its role")
            }
            complain("\(place) does not say its role: \(text)")
        }
    }

    private mutating func addresses(_ target: UpstreamAddress) -> [SocketAddress] {
        switch target {
        case .unix(let path):
            return [SocketAddress(unixPath: path)].compactMap { $0 }
        case .tcp(let host, let port):
            let answer = SocketAddress.resolve(host, port: port)
            if answer.addresses.isEmpty { complain("cannot look up \(host): \(answer.problem)") }
            return answer.addresses
        }
    }

    /// AUTH, SELECT and PING, as an upstream does it. False after a complaint.
    mutating func logIn(
        _ exchange: Exchange, _ place: String
    ) throws(ExchangeFailure) -> Bool {
        if let password = pool.password {
            let user = pool.username.isEmpty ? [] : [pool.username]
            if case .error(let text) = try exchange.ask(["AUTH"] + user + [password.text]) {
                complain("\(place) refuses the login: \(text)")
                return false
            }
        }
        let database = pool.upstreamDatabase
        if database != 0, case .error(let text) = try exchange.ask(["SELECT", "\(database)"]) {
            complain("\(place) refuses database \(database): \(text)")
            return false
        }
        guard case .error(let text) = try exchange.ask(["PING"]) else { return true }
        if text.hasPrefix("NOAUTH"), pool.password == nil {
            if pool.clientUsers == nil {
                note("\(place) wants a login: clients have to send AUTH, or set passwordFile")
            } else {
                complain("\(place) wants a login: set passwordFile; clients log in to Redpool only")
            }
            return false
        }
        // A user without the right to PING can be of use.
        if text.hasPrefix("NOPERM") { return true }
        complain("\(place): \(text)")
        return false
    }

    static func limits(_ exchange: Exchange) throws(ExchangeFailure) -> ServerLimits {
        var limits = ServerLimits(
            maxClients: try value(of: "maxclients", exchange),
            timeout: try value(of: "timeout", exchange))
        if limits.maxClients == nil {
            let info = try exchange.ask(["INFO", "clients"])
            limits.maxClients = field("maxclients", info).flatMap(number)
        }
        return limits
    }

    private static func value(
        of key: String, _ exchange: Exchange
    ) throws(ExchangeFailure) -> Int64? {
        guard case .list(let pair) = try exchange.ask(["CONFIG", "GET", key]), pair.count == 2
        else { return nil }
        return number(pair[1])
    }

    private static func number(_ text: String) -> Int64? {
        Word.integer(Array(text.utf8), in: 0...Int64(Int32.max))
    }

    /// `Redis 7.0.15`, `Valkey 8.1.0`.
    static func version(_ exchange: Exchange) throws(ExchangeFailure) -> String {
        let info = try exchange.ask(["INFO", "server"])
        if let version = field("valkey_version", info) { return "Valkey \(version)" }
        return field("redis_version", info).map { "Redis \($0)" } ?? "of unknown version"
    }

    static func field(_ name: String, _ info: Answer) -> String? {
        guard case .text(let text) = info else { return nil }
        return text.split(separator: "\n").first { $0.hasPrefix("\(name):") }
            .map { String($0.dropFirst(name.count + 1)) }
    }

    mutating func compare(_ limits: ServerLimits, opened: Int) {
        if let most = limits.maxClients {
            let sum =
                opened == pool.maxOpen
                ? "maxOpen (\(opened))" : "maxOpen of all pools of this server (\(opened))"
            if Int64(opened) > most {
                complain("\(sum) is more than the server's maxclients (\(most))")
            } else {
                note("\(sum) fits the server's maxclients (\(most))")
            }
        } else {
            note("the server does not say its maxclients: the user may use neither CONFIG nor INFO")
        }
        compare(timeout: limits.timeout)
    }

    /// Redpool keeps below a third of `timeout` if it can read it.
    private mutating func compare(timeout: Int64?) {
        let ping = pool.pingInterval
        guard let timeout else {
            note(
                "the server does not say its timeout: the user may not CONFIG GET; keep "
                    + "pingInterval below a third of it")
            return
        }
        guard timeout > 0 else { return }
        let third = timeout * 1_000_000_000 / 3
        guard ping == 0 || ping > third else { return }
        note(
            "the server closes connections that are idle for \(timeout) s (timeout): Redpool "
                + "sends PING after a third of that, not after pingInterval")
    }
}

extension Config {
    /// Asks the servers of all pools. Returns the lines, and the names of pools that are unwell.
    func askServers() -> (lines: [String], unwell: [String]) {
        var lines: [String] = []
        var unwell: [String] = []
        for pool in pools {
            let opened = pools.filter { $0.source == pool.source }.reduce(0) {
                $0 + $1.maxOpen
            }
            let report = OnlineReport(pool, opened: opened)
            lines += report.lines
            if !report.isWell { unwell.append(pool.name) }
        }
        return (lines, unwell)
    }
}
