// How a worker stops for an upgrade: what the main thread orders, and what the worker answers.

package import HandOver
package import Pool

/// What the main thread wants of a worker that is to hand over its clients.
package struct FreezeOrder: Sendable {
    /// The worker tries until then; nil: it says at once what it would hand over, and goes on.
    let until: MonotonicTime?
    /// What cannot be handed over by then is closed.
    let cuts: Bool
    /// There is no other try.
    let isLast: Bool
    /// Called on the worker's thread, with its number.
    let answer: @Sendable (Int, FreezeAnswer) -> Void

    package init(
        until: MonotonicTime?, isLast: Bool = false, cuts: Bool = false,
        answer: @escaping @Sendable (Int, FreezeAnswer) -> Void
    ) {
        self.until = until
        self.isLast = isLast
        self.cuts = cuts
        self.answer = answer
    }
}

package enum FreezeAnswer: Sendable {
    /// What the worker would hand over now.
    case snapshot(CarriedCell)
    /// Its thread stands still until `thaw`, and takes nothing but `writeDown` meanwhile.
    case stands
    /// It goes on: so many clients could not be handed over in time, by what stands in the way.
    case obstacles([Obstacle: Int])
}

/// What a worker hands over, and what is lost with it.
package struct FrozenCell: Sendable {
    package var cell: CarriedCell
    /// The totals of the worker's pools, without those of clients that are carried.
    package var totals: [PoolMetrics] = []
    /// Clients with TLS, which are closed.
    package var departed = 0
    /// Clients that were closed because nothing else was possible, by what stood in the way.
    package var cut: [Obstacle: Int] = [:]
}

/// Why a client cannot be handed over at present.
package enum Obstacle: String, Hashable, Sendable, CaseIterable {
    /// A command that others' commands stand around is not answered yet.
    case command
    case largeCommand = "large command"
    case login
    /// A part of a reply, or of a message, has gone to the client.
    case halfReply = "half reply"
    /// Its command is on several nodes of a cluster, or one of it is sent again.
    case cluster = "command in a cluster"
    /// Its subscriptions are on a hub.
    case hub = "subscriber on a hub"
    case monitor = "monitor"
    /// Its invalidations are about to go to another client.
    case redirection = "redirection of tracking"
    /// What it holds or waits for is on a connection with TLS.
    case tls = "upstream with TLS"
    /// No client: a thread has not stopped in time.
    case worker = "busy thread"
    /// Its last bytes are being written.
    case closing = "closing client"

    /// `2 large commands`, `1 login`.
    package static func text(of counts: [Obstacle: Int]) -> String {
        allCases.compactMap { one in counts[one].map { one.counted($0) } }.joined(separator: ", ")
    }

    private func counted(_ count: Int) -> String {
        if count == 1 { return "1 \(rawValue)" }
        return switch self {
        case .halfReply: "\(count) half replies"
        case .hub: "\(count) subscribers on a hub"
        case .cluster: "\(count) commands in a cluster"
        case .redirection: "\(count) redirections of tracking"
        case .tls: "\(count) upstreams with TLS"
        default: "\(count) \(rawValue)s"
        }
    }
}

/// How a client leaves this program.
enum Carriage: Equatable {
    case carried
    /// With TLS: it is closed at the end of a reply.
    case departs
    case waits(Obstacle)
}

/// A worker that is about to stand still.
struct Freezing {
    let order: FreezeOrder
    /// Clients that could not be handed over when they were last looked at.
    var missing: [SlotID]
    /// From then on replies on shared upstreams are not waited for any more: such an upstream is
    /// handed over with what it owes.
    let patientUntil: MonotonicTime
    var cut: [Obstacle: Int] = [:]
    /// How often blocked commands have been recalled.
    var recalls = 0

    /// A command may have reached the server only after the first time, and another user may have
    /// the right.
    static let mostRecalls = 3
}
