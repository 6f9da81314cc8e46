// What is known of a pool's Sentinels and its primary, as values.

package import Config
package import Topology

/// The primary that a pool uses.
package struct SentinelPrimary: Equatable, Sendable {
    /// As the Sentinels write it.
    package let node: NodeAddress
    /// The same for a dial.
    package let address: UpstreamAddress
    /// `config-epoch`.
    package let epoch: Int64
    /// When it was adopted, in nanoseconds since 1970.
    package let since: Int64

    /// For people: `10.0.0.1:6379`.
    package var name: String { node.description }
}

/// A change of the primary.
package struct SentinelFailover: Equatable, Sendable {
    /// What was noticed first.
    package enum Sign: String, Sendable {
        /// A message of a Sentinel.
        case message
        /// What a Sentinel has answered.
        case answer
        /// A server has answered READONLY.
        case readonly
        /// The last connection to the primary was lost.
        case lost
        /// The primary has said that it is a replica.
        case role
        /// The primary could not be connected.
        case dial
    }

    package let old: NodeAddress
    package let new: NodeAddress
    package let epoch: Int64
    /// When the new one was adopted, in nanoseconds since 1970.
    package let at: Int64
    /// From the first sign to that, in nanoseconds.
    package let duration: Int64
    package let sign: Sign

    /// For people: from where to where.
    package var way: String { "\(old) -> \(new)" }
}

/// One Sentinel.
package struct SentinelRow: Equatable, Sendable {
    /// The connections to it.
    package enum State: String, CaseIterable, Sendable {
        case connecting, connected, down
    }

    /// The address, or a name of the configuration that stands for none.
    package let address: String
    /// Named in the configuration, and not by other Sentinels alone.
    package let isConfigured: Bool
    package let state: State
    /// Which primary it names; nil for none.
    package let claim: PrimaryClaim?
    /// Why it is down, or names no primary; empty if all is well.
    package let error: String
    /// Why it names no replicas, if they are wanted and it names a primary; empty if all is well.
    package let replicaError: String
    /// When it has answered last, in nanoseconds since 1970; 0 for never.
    package let heardAt: Int64

    /// `config-epoch` of the primary that it names; nil for none.
    package var epoch: Int64? { claim?.epoch }

    /// For people: the primary that it names; nil for none.
    package var named: String? { claim?.address.description }
}

/// What a `SentinelWatch` knows.
package struct SentinelReport: Equatable, Sendable {
    package let primaryName: String
    /// Nil until one is adopted.
    package let primary: SentinelPrimary?
    /// The primary has said in ROLE that it is one, and there is no sign of trouble.
    package let isVerified: Bool
    /// Failovers since the start.
    package let failovers: UInt64
    /// The latest one.
    package let lastFailover: SentinelFailover?
    /// The primary's replicas that are up, in the syntax of the configuration; nil while nobody
    /// reads from replicas.
    package let replicas: [String]?
    package let sentinels: [SentinelRow]

    /// For clients' errors: why no primary is known.
    package var problem: String {
        let causes = sentinels.map { sentinel in
            let named = sentinel.named.map { "names \($0)" }
            let text = sentinel.error.isEmpty ? named ?? sentinel.state.rawValue : sentinel.error
            return "\(sentinel.address): \(text)"
        }
        let isNamed = sentinels.contains { $0.claim != nil }
        return (isNamed ? "no server is the primary of" : "no Sentinel knows")
            + " \(primaryName) (\(causes.joined(separator: "; ")))"
    }
}
