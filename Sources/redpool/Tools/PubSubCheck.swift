// What a server says of subscriptions, for `redpool check --online` of a pool that shares them.

import Config
import RESP

/// The limit of the server's output to a connection that is subscribed.
struct PubSubLimit: Equatable {
    /// As CONFIG GET shows it, without the word `pubsub`.
    let text: String
    /// The smaller of the hard and the soft limit in bytes; 0: there is none.
    let least: Int64

    /// Nil if `value`, of CONFIG GET client-output-buffer-limit, does not have the class `pubsub`.
    init?(_ value: String) {
        let words = value.split(separator: " ")
        guard let index = words.firstIndex(of: "pubsub"), words.count > index + 3 else {
            return nil
        }
        let given = words[(index + 1)...(index + 3)]
        let limits = given.compactMap { Word.integer(Array($0.utf8), in: 0...Int64.max) }
        guard limits.count == 3 else { return nil }
        text = given.joined(separator: " ")
        least = limits[0...1].filter { $0 > 0 }.min() ?? 0
    }

    /// Below this, in bytes, a burst of messages soon closes all subscribers of a user.
    static let enough: Int64 = 64 << 20

    var isEnough: Bool { least == 0 || least >= PubSubLimit.enough }
}

extension OnlineReport {
    /// What hubs depend on.
    mutating func checkPubSub(_ exchange: Exchange) throws(ExchangeFailure) {
        guard pool.pubsub.isShared else { return }
        if case .error(let text) = try exchange.ask(["HELLO", "2"]), isUnknown(text) {
            note(
                "the server has no HELLO, so no RESP3: pubsub: shared has no effect, and each "
                    + "client that subscribes gets an upstream of its own")
            return
        }
        let answer = try exchange.ask(["CONFIG", "GET", "client-output-buffer-limit"])
        guard case .list(let pair) = answer, pair.count == 2, let limit = PubSubLimit(pair[1])
        else {
            note(
                "the server does not say its client-output-buffer-limit: the user may not CONFIG "
                    + "GET; pubsub: shared needs 64mb or more for the class pubsub")
            return
        }
        if limit.isEnough { return }
        note(
            "warning: the server's client-output-buffer-limit for pubsub (\(limit.text)) is below "
                + "64mb: all subscribers of a user share a connection, and are closed together "
                + "when a burst of messages passes it")
    }

    private func isUnknown(_ text: String) -> Bool {
        text.hasPrefix("ERR unknown comm") || text.hasPrefix("NOPROTO")
    }
}
