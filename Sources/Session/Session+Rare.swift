// What few sessions have, or have only for a moment. It stands apart, because each of 10,000 idle
// clients pays for every byte of `Session`.

import Pool

/// The rare part of a session.
struct RareState: Equatable, Sendable {
    var identity = ClientIdentity()
    var changes: [IdentityChange] = []
    var login: PendingLogin?
    var members: [QueuedMember] = []
    var hasQueuedStranger = false
    var redirection = Redirection()
    /// The user that the client has logged in as to Redpool; nil: none.
    var clientUser: [UInt8]?
    /// That login came under a hold, whose upstream is of the former user.
    var changesUserLater = false
}

/// The place of the rare part: a box with the semantics of a value.
indirect enum Rare: Sendable {
    case none
    case some(RareState)
}

/// Where the invalidations of a client's tracking go. Each number is the id of a client, 0 for
/// none.
package struct Redirection: Equatable, Sendable {
    /// What the server has accepted.
    package fileprivate(set) var current: UInt64 = 0
    /// What stands in a CLIENT TRACKING that is not answered yet.
    package fileprivate(set) var asked: UInt64 = 0
}

extension Redirection {
    /// One that the server has accepted.
    init(current: UInt64) { self.current = current }
}

extension Session {
    var state: RareState {
        _read {
            if case .some(let state) = rare { yield state } else { yield RareState() }
        }
        _modify {
            var state = RareState()
            if case .some(let kept) = rare { state = kept }
            // The arrays have one owner while they change.
            rare = .none
            defer { rare = .some(state) }
            yield &state
        }
    }

    var isPlain: Bool { if case .none = rare { true } else { false } }

    /// Bytes whose number the client decides. The members of a transaction are not among them: they
    /// have their own limit, `QueuedMember.most`.
    package var size: Int {
        if isPlain { return 0 }
        return state.identity.size + (state.login?.size ?? 0)
            + state.changes.reduce(0) { $0 + $1.size }
    }

    /// SELECT was accepted, or is known to be.
    package mutating func select(_ database: UInt32) {
        key.database = database
        hasSelected = true
    }

    // MARK: Identity

    /// The name and library that the server has accepted.
    package var identity: ClientIdentity { state.identity }

    /// Bytes of the identity changes that are not answered yet.
    package var pendingChanges: Int { state.changes.reduce(0) { $0 + $1.size } }

    /// CLIENT SETNAME or SETINFO was sent.
    package mutating func sent(_ change: IdentityChange) { state.changes.append(change) }

    /// The oldest identity change whose reply has come.
    mutating func takeChange() -> IdentityChange? {
        state.changes.isEmpty ? nil : state.changes.removeFirst()
    }

    /// The server has accepted this change.
    mutating func take(_ change: IdentityChange) { state.identity.take(change) }

    /// The server has accepted this name.
    package mutating func rename(_ name: [UInt8]) {
        if state.identity.name != name { state.identity.name = name }
    }

    // MARK: Login

    /// Credentials that the server has not judged yet.
    package var login: PendingLogin? { state.login }

    /// AUTH, or HELLO with options, is about to be sent.
    package mutating func sends(_ login: PendingLogin) { state.login = login }

    /// The server has judged the credentials, or they are not sent after all.
    @discardableResult
    package mutating func takeLogin() -> PendingLogin? {
        guard let login = state.login else { return nil }
        state.login = nil
        return login
    }

    /// The user that the client has logged in as, where Redpool itself judges logins; nil: none.
    /// The name's memory is shared by all clients with this user.
    package var clientUser: [UInt8]? { isPlain ? nil : state.clientUser }

    /// The client has logged in to Redpool. To the server it is the pool's user; if it keeps its
    /// upstream, as soon as that is free.
    package mutating func logIn(asClient name: [UInt8], keepsUpstream: Bool = false) {
        let changesLater = keepsUpstream && key.user != 0
        if !keepsUpstream { key.user = 0 }
        state.clientUser = name
        state.changesUserLater = changesLater
    }

    /// The client has logged in to the server, or nowhere.
    package mutating func forgetClientUser() {
        if clientUser == nil { return }
        state.clientUser = nil
        state.changesUserLater = false
    }

    /// The held upstream has returned to the pool, or is gone.
    package mutating func endHold() {
        released()
        guard clientUser != nil, state.changesUserLater else { return }
        key.user = 0
        state.changesUserLater = false
    }

    // MARK: Transaction

    /// Members of the open transaction whose elements in EXEC's array are read.
    package internal(set) var members: [QueuedMember] {
        get { state.members }
        set { if !(newValue.isEmpty && state.members.isEmpty) { state.members = newValue } }
    }

    /// The server has queued this member.
    package mutating func queued(_ member: QueuedMember) { state.members.append(member) }

    /// EXEC's array begins, or the members cannot be read.
    @discardableResult
    package mutating func takeMembers() -> [QueuedMember] {
        defer { members = [] }
        return members
    }

    /// The server has queued an unknown command, which may do anything when EXEC runs it. True
    /// once.
    package mutating func takeQueuedStranger() -> Bool {
        guard state.hasQueuedStranger else { return false }
        state.hasQueuedStranger = false
        return true
    }

    mutating func queuedStranger() { state.hasQueuedStranger = true }

    // MARK: Redirection

    package var redirection: Redirection { state.redirection }

    /// A CLIENT TRACKING that names this client is being prepared.
    package mutating func asksRedirection(to client: UInt64) {
        if state.redirection.asked != client { state.redirection.asked = client }
    }

    /// The invalidations now go to this client, or to none (0). Returns the client that they no
    /// longer need; 0 for none.
    package mutating func redirect(to client: UInt64) -> UInt64 {
        let (old, asked) = (state.redirection.current, state.redirection.asked)
        if old == client { return 0 }
        state.redirection.current = client
        return old == asked ? 0 : old
    }

    /// The requested redirection has been accepted. Returns the client that is no longer needed; 0
    /// for none.
    package mutating func acceptRedirection() -> UInt64 {
        let released = redirect(to: state.redirection.asked)
        asksRedirection(to: 0)
        return released
    }

    /// The requested redirection has failed. Returns the client that is no longer needed; 0 for
    /// none.
    package mutating func forgetAskedRedirection() -> UInt64 {
        let (current, asked) = (state.redirection.current, state.redirection.asked)
        asksRedirection(to: 0)
        return asked == current ? 0 : asked
    }

    /// The upstream with the unanswered commands is gone.
    package mutating func forgetQuestions() {
        if isPlain { return }
        state.changes = []
        state.login = nil
    }

    /// The upstream with the tracking is gone.
    package mutating func forgetRedirection() {
        if state.redirection.current != 0 { state.redirection.current = 0 }
    }
}
