// SHOW SUBSCRIPTIONS: what clients are subscribed to where they share hubs.

import Config
import Proxy
import RESP

enum ShowSubscriptions {
    static let command = ConsoleCommand(
        "SHOW SUBSCRIPTIONS", "[pool] [LIMIT n]", "names on hubs, most listeners first",
        arguments: 0...3
    ) { answer($0) }

    static let columns = ["pool", "worker", "user", "kind", "name", "listeners", "messages"]

    private static func answer(_ call: Call) {
        guard let selection = selection(call) else { return }
        call.host.collector.collect(.subscriptions(selection)) { found in
            let names = found.subscriptions(selection)
            let silent = found.silent
            call.reply(
                .table(
                    Table(columns, count: names.count + silent.count) { index in
                        index < names.count
                            ? row(names[index])
                            : ShowClients.silentRow(
                                silent[index - names.count], columns, state: 3, worker: 1)
                    }))
        }
    }

    /// Nil if the words are not understood; then they are answered.
    private static func selection(_ call: Call) -> SubscriptionSelection? {
        var pool: String?
        var next = 0
        if next < call.arguments.count, call.word(next) != "limit" {
            guard let name = call.pool(at: next) else { return nil }
            pool = name
            next += 1
        }
        if next == call.arguments.count { return SubscriptionSelection(pool: pool) }
        guard next + 2 == call.arguments.count, call.word(next) == "limit" else {
            call.fail("not understood: SHOW SUBSCRIPTIONS [pool] [LIMIT n]")
            return nil
        }
        guard let limit = call.limit(at: next + 1) else { return nil }
        return SubscriptionSelection(pool: pool, limit: limit)
    }

    private static func row(_ name: SubscriptionReport) -> [Cell] {
        [
            .text(name.pool), .count(name.worker), .plain(name.user), .text(name.kind),
            .plain(name.name), .count(name.listeners), .count(name.messages),
        ]
    }
}
