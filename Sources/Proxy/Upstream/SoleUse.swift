// The use of an upstream connection that nobody else can have at the same time.

import Session

/// Who has a connection alone, and everything that only such a use needs. A connection without one is
/// shared: any number of clients, each command with one reply.
final class SoleUse {
    enum Kind {
        /// One client, until the reply to one command, or until the connection is fit to be its pipe.
        case exclusive
        /// One client, as long as it has something tied to the connection. Replies are framed.
        case held(ClientConnection, HeldState)
        /// The client of a hold has left. What it has tied to the connection is ended for the next.
        case cleaning(HeldState)
        /// One client, its bytes passing through unframed until it leaves.
        case piped(ClientConnection)
        /// Redpool itself, which asks how the server answers scripts.
        case asking(ScriptQuestion)
        /// Nobody any more: the pool closes the connection, and what still comes answers nobody.
        case abandoned
    }

    private(set) var kind: Kind
    /// The last command may block: its reply may take as long as it likes, and a client that leaves
    /// does not wait for it.
    var isBlocking: Bool
    /// Messages that come between the replies to a holder.
    var messages = MessageRelay()
    /// The open transaction has a command in it that may bring more than one element.
    var isDoubtful = false

    init(_ kind: Kind, isBlocking: Bool = false) {
        self.kind = kind
        self.isBlocking = isBlocking
    }

    /// A client holds the connection, replies framed.
    var isHeld: Bool { if case .held = kind { true } else { false } }

    /// The client of a hold or a pipe.
    var client: ClientConnection? {
        switch kind {
        case .held(let client, _), .piped(let client): client
        case .exclusive, .cleaning, .asking, .abandoned: nil
        }
    }

    /// How many clients have the connection: one, or none.
    var clients: Int {
        switch kind {
        case .exclusive, .held, .piped: 1
        case .cleaning, .asking, .abandoned: 0
        }
    }

    /// What is tied to the connection; nil when nobody holds it or has held it. It can be changed, but
    /// neither begun nor ended in this way.
    var state: HeldState? {
        get {
            switch kind {
            case .held(_, let state), .cleaning(let state): state
            case .exclusive, .piped, .asking, .abandoned: nil
            }
        }
        _modify {
            var state = self.state
            yield &state
            guard let state else { return }
            switch kind {
            case .held(let client, _): kind = .held(client, state)
            case .cleaning: kind = .cleaning(state)
            case .exclusive, .piped, .asking, .abandoned: break
            }
        }
    }

    /// Where Redpool's question about scripts stands; nil when none is asked here.
    var question: ScriptQuestion? {
        get { if case .asking(let question) = kind { question } else { nil } }
        set { if let newValue, case .asking = kind { kind = .asking(newValue) } }
    }

    /// The holder has left.
    func beginCleaning() {
        if case .held(_, let state) = kind { kind = .cleaning(state) }
    }
}

/// Messages between replies: confirmations, messages of subscriptions, lines of MONITOR.
struct MessageRelay {
    /// One is passing by.
    var isInside = false
    /// What becomes of it.
    var fate = PushFate.undecided
    /// What becomes of the line of MONITOR that is passing by; nil when none is.
    var line: LineFate?
    /// A read has ended behind the first byte of what may be a line of MONITOR.
    var isPlusKept = false
}

/// What a client borrows a connection for.
enum Loan {
    /// The reply to one command, which may block.
    case reply(isBlocking: Bool)
    /// A state that commands tie to the connection.
    case hold
    /// The rest of the session, bytes passing through.
    case pipe
}
