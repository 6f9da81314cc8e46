// The keys of shared subscriptions, and their checks.

extension PoolConfig {
    /// What becomes of clients that subscribe.
    package enum PubSub: Equatable, Sendable {
        /// Each holds an upstream of its own.
        case pinned
        /// Those of one user share an upstream of each worker.
        case shared(loss: Loss)

        /// What becomes of them when that upstream is lost.
        package enum Loss: String, Sendable, CaseIterable {
            /// They are closed, as if the server had closed them.
            case close
            /// They stay, and Redpool subscribes anew for them. What was published meanwhile is
            /// lost, and they are not told.
            case resubscribe
        }

        init(_ word: String, loss: String) {
            self = word == "shared" ? .shared(loss: Loss(rawValue: loss) ?? .close) : .pinned
        }

        /// Subscriptions are shared.
        package var isShared: Bool { self != .pinned }
    }
}

extension Schema {
    /// Where subscriptions are.
    static let pubSubKeys: [KeySpec] = [
        KeySpec(
            key: .pubsub, scope: .pool, kind: .choice(["pinned", "shared"]),
            standard: .text("pinned"), reload: .live,
            doc: "subscribers: each pins an upstream, or they share one, and then count as one"),
        KeySpec(
            key: .pubsubLoss, scope: .pool,
            kind: .choice(PoolConfig.PubSub.Loss.allCases.map(\.rawValue)),
            standard: .text("close"), reload: .live,
            doc: "when it is lost: they are closed, or subscribed anew, and miss something"),
    ]
}

extension Resolution {
    /// A shared upstream is a pinned one, as the pool counts.
    func checkPubSub(_ pool: PoolDraft) -> [Diagnostic] {
        guard case .text(let word)? = pool.settings[.pubsub]?.value,
            let loss = pool.settings[.pubsubLoss]
        else { return [] }
        guard word == "shared" else {
            guard loss.origin == .own else { return [] }
            return [
                diagnostic(
                    .pubsubLoss, of: pool, severity: .warning,
                    message: "has no effect with pubsub: pinned")
            ]
        }
        guard case .integer(0)? = pool.settings[.maxPinned]?.value else { return [] }
        return [diagnostic(.pubsub, of: pool, message: "shared needs maxPinned of at least 1")]
    }
}
