// The use of an upstream connection by one user alone.

import Pool
import Session

/// The sole user of a connection, and the state that only such a use needs. A connection without a
/// SoleUse is shared: any number of clients, each command with one reply.
final class SoleUse {
    enum Kind {
        /// One client, for the reply to one command, or until the connection is prepared as its
        /// pipe.
        case exclusive
        /// One client, as long as state is tied to the connection. Replies are framed.
        case held(ClientConnection, HeldState)
        /// The holder has left. Its state is being cleaned up.
        case cleaning(HeldState)
        /// One client, whose bytes pass through unframed until it leaves.
        case piped(ClientConnection)
        /// Redpool's own question how the server answers scripts.
        case asking(ScriptQuestion)
        /// Redpool's own commands that unblock clients during a drain.
        case unblocking
        /// Many clients, whose subscriptions are on it.
        case hub(PushHub)
        /// A command that the server is to refuse.
        case gate(Gate)
        /// No user any more. The pool closes the connection, and bytes that still come are dropped.
        case abandoned
    }

    private(set) var kind: Kind
    /// When it began.
    let since: MonotonicTime
    /// The last command may block. Its reply has no deadline, and a client that leaves does not
    /// wait for it.
    var isBlocking: Bool
    /// Messages between the replies to a holder.
    var messages = MessageRelay()
    /// The open transaction has a command that may bring more than one element.
    var isDoubtful = false
    /// How far the recall of its command is; nil while it is not recalled.
    var recall: Recall?

    init(_ kind: Kind, isBlocking: Bool = false, since: MonotonicTime) {
        self.kind = kind
        self.since = since
        self.isBlocking = isBlocking
    }

    /// A client holds the connection. Its replies are framed.
    var isHeld: Bool { if case .held = kind { true } else { false } }

    /// The client of a hold or a pipe.
    var client: ClientConnection? {
        switch kind {
        case .held(let client, _), .piped(let client): client
        case .gate(let gate): gate.client
        case .exclusive, .cleaning, .asking, .unblocking, .hub, .abandoned: nil
        }
    }

    /// The number of clients with this use: one or none.
    var clients: Int {
        switch kind {
        case .exclusive, .held, .piped, .gate: 1
        case .cleaning, .asking, .unblocking, .hub, .abandoned: 0
        }
    }

    /// The state that is tied to the connection; nil without a hold. It can be changed here, but
    /// neither begun nor ended.
    var state: HeldState? {
        get {
            switch kind {
            case .held(_, let state), .cleaning(let state): state
            case .exclusive, .piped, .asking, .unblocking, .hub, .gate, .abandoned: nil
            }
        }
        _modify {
            var state = self.state
            yield &state
            guard let state else { return }
            switch kind {
            case .held(let client, _): kind = .held(client, state)
            case .cleaning: kind = .cleaning(state)
            case .exclusive, .piped, .asking, .unblocking, .hub, .gate, .abandoned: break
            }
        }
    }

    /// The progress of Redpool's question about scripts; nil if there is none.
    var question: ScriptQuestion? {
        get { if case .asking(let question) = kind { question } else { nil } }
        set { if let newValue, case .asking = kind { kind = .asking(newValue) } }
    }

    /// The hub that is on the connection; nil if there is none.
    var hub: PushHub? { if case .hub(let hub) = kind { hub } else { nil } }

    /// The holder has left.
    func beginCleaning() {
        if case .held(_, let state) = kind { kind = .cleaning(state) }
    }
}

/// Messages between replies: confirmations, published messages, lines of MONITOR.
struct MessageRelay {
    /// A message is coming in.
    var isInside = false
    /// How that message is handled.
    var fate = PushFate.undecided
    /// How the line of MONITOR that is coming in is handled; nil if there is none.
    var line: LineFate?
    /// A read has ended behind a first byte that may begin a line of MONITOR.
    var isPlusKept = false
}

/// What a client borrows a connection for.
enum Loan {
    /// For the reply to one command, which may block.
    case reply(isBlocking: Bool)
    /// For a state that commands tie to the connection.
    case hold
    /// For the rest of the session, with bytes passing through.
    case pipe
}
