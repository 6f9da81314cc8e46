// SHOW CONFIG, SHOW MEMORY and SHOW VERSION: what there is of the process.

import Config
import EventLoop
import Glibc
import Proxy
import RESP

enum ShowProcess {
    // MARK: SHOW CONFIG

    static func config(_ call: Call) {
        let prefix = call.arguments.first.map { PlainText.of($0, longest: 200) } ?? ""
        let rows = call.host.source.rows.filter { $0.key.hasPrefix(prefix) }
        let pending = call.host.pending()
        call.reply(
            .table(
                Table(
                    ["key", "value", "default", "source", "change", "pending"], count: rows.count
                ) { index in
                    let row = rows[index]
                    // The file has the value that a restart would apply.
                    let change = pending[row.key]
                    return [
                        .text(row.key), value(change?.old ?? row.value), value(row.standard),
                        .text(row.source), .text(row.change), value(change?.new),
                    ]
                }))
    }

    /// An empty value is a value.
    private static func value(_ text: String?) -> Cell {
        guard let text else { return .absent }
        return .text(text.isEmpty ? "\"\"" : PlainText.of(text, longest: 200))
    }

    // MARK: SHOW MEMORY

    /// The formula of docs/operations.md.
    private static let base = 14 << 20
    private static let baseOfTLS = 8 << 20
    private static let perClient = 1 << 10
    private static let perSecureClient = 40 << 10
    private static let perWaiter = 256 << 10
    private static let perUpstream = 6 << 20
    private static let perStream = 192 << 10

    static func memory(_ call: Call) {
        call.host.collector.collect(.memory) { found in
            var sum = MemoryReport()
            for case .memory(let part) in found.reports { sum.add(part) }
            let config = call.host.config
            let terms = terms(sum, config, maxClients: call.host.maxClients)
            var rows = terms.map { [.text($0.0), Cell.count($0.now), .count($0.most)] }
            rows += found.silent.map { [.text("worker \($0) is silent"), .absent, .absent] }
            call.reply(.table(Table(["term", "bytes", "most_bytes"], rows)))
        }
    }

    private static func terms(
        _ sum: MemoryReport, _ config: Config, maxClients: Int
    ) -> [(String, now: Int?, most: Int?)] {
        let most = config.pools.reduce(0) { $0 + $1.maxOpen }
        let secure = config.pools.filter { $0.upstreamTLS != nil }
        let mostSecure = secure.reduce(0) { $0 + $1.maxOpen }
        let servesTLS = config.pools.contains { $0.listenTLS != nil }
        var terms: [(String, now: Int?, most: Int?)] = [
            ("program", nil, base + (secure.isEmpty && !servesTLS ? 0 : baseOfTLS)),
            ("clients", sum.clients * perClient, maxClients * perClient),
        ]
        if servesTLS {
            let now = sum.secureClients * perSecureClient
            terms.append(("tls_clients", now, maxClients * perSecureClient))
        }
        return terms + [
            ("waiting", sum.waiting * perWaiter, nil),
            ("output", sum.output, config.totalOutputLimit),
            (
                "upstreams", sum.open * perUpstream + sum.secure * perStream,
                most * perUpstream + mostSecure * perStream
            ),
            ("buffers", sum.buffers, nil),
            ("resident", System.residentBytes, nil),
        ]
    }

    // MARK: SHOW VERSION

    private static func lastReload(_ host: ConsoleHost) -> Cell {
        switch host.lastReload() {
        case .none: .absent
        case .succeeded: .text("accepted")
        case .refused: .text("refused")
        }
    }

    static func version(_ call: Call) {
        let host = call.host
        let rows: [[Cell]] = [
            [.text("version"), .text(host.version)],
            [.text("pid"), .text("\(getpid())")],
            [.text("uptime_s"), .text("\(host.uptime / 1_000_000_000)")],
            [.text("threads"), .text("\(host.group.workers)")],
            [.text("config"), .text(PlainText.of(host.source.file, longest: 200))],
            [.text("draining"), .text(host.isDraining() ? "yes" : "no")],
            [.text("last_reload"), lastReload(host)],
            [.text("upgrades"), .text("\(host.upgrades)")],
        ]
        call.reply(.table(Table(["name", "value"], rows)))
    }
}
