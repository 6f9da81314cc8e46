// A client's AUTH, and HELLO with options, on this connection: what changes if the server accepts
// it, refuses it, or does not answer.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Moves this connection to another key.
    func move(to newKey: PoolKey) {
        key = newKey
        server.machine.rekey(id, to: newKey)
        if teachesPool { pool.knownKeys.accept(newKey) }
    }

    /// The server has run a command on a connection without a login.
    func needsNoLogin() {
        if origin.lacksLogin, key.user == 0, origin.departure == nil {
            pool.noteDefault(needsLogin: false)
        }
    }

    /// The server has refused HELLO because of a missing login. If the default user needs no login
    /// now, it needed one when this connection was made, so no other client may use it.
    func noteHelloRefused() {
        guard isBelieved, key.user == 0, !pool.defaultNeedsLogin else { return }
        retireWhenFree(.configChanged)
    }

    /// The server has judged a client's credentials here.
    func judge(
        _ login: PendingLogin?, _ verdict: LoginVerdict, _ client: ClientConnection?, isHello: Bool
    ) {
        // On a shared connection HELLO can have changed no more than the name.
        if isHello, isShared { identity.taint(.mirrorName) }
        switch verdict {
        case .accepted(let version): acceptLogin(login, protocolVersion: version, client)
        case .unknown(let version):
            guard let version else { return }
            var newKey = key
            newKey.protocolVersion = version
            move(to: newKey)
        case .refused(let error):
            if error == .wrongPassword { refuseLogin(login) }
            guard isHello else { return }
            // The server may have set the name before the error.
            identity.taint(.mirrorName)
            if isBelieved, server.facts.isBefore72 { acceptPart(of: login, before: error, client) }
        }
    }

    /// The server has accepted a client's credentials here.
    private func acceptLogin(
        _ login: PendingLogin?, protocolVersion: UInt8?, _ client: ClientConnection?
    ) {
        var newKey = key
        newKey.protocolVersion = protocolVersion ?? key.protocolVersion
        var user: UInt32?
        if let login, let name = login.user {
            guard let found = pool.accept(name, login.password, from: client?.serial ?? 0) else {
                refuseUser(client)
                return
            }
            user = found
            newKey.user = found
        } else if login == nil, !isShared {
            // The client has left, so the user of this connection is not known.
            spoil(.dirty)
        }
        if !isShared { move(to: newKey) }
        guard let client else { return }
        let wasDefault = client.key.user == 0
        // A login does not change the database, and this connection may be in another one.
        client.session.logIn(as: user, protocolVersion: protocolVersion, name: login?.name)
        if user != nil { client.session.forgetClientUser() }
        client.countKept()
        if !isShared {
            pool.noteLogin(of: client)
            if let login, login.setsPassword, wasDefault { pool.tellPassword(login.password) }
            if let name = login?.name { identity.name = name }
        }
    }

    /// The server has accepted a user for which there is no number left. The client must not go on
    /// as its former user, and no other client may have this connection.
    private func refuseUser(_ client: ClientConnection?) {
        if !isShared {
            spoil(.dirty)
        } else {
            retireWhenFree(.dirty)
        }
        client?.closeAfterFlush(.user_limit)
        pool.warnLimit(
            "client.user_limit", reason: ClientCloseReason.user_limit.word,
            "too many users, or too many passwords of one user, at once: a client was closed")
    }

    /// The server has refused a client's credentials here. If they were good before, other clients
    /// may have logged in with them.
    private func refuseLogin(_ login: PendingLogin?) {
        guard isBelieved, let login, let name = login.user,
            let user = pool.users.find(name: name, password: login.password)
        else { return }
        server.doubt(user)
    }

    /// HELLO was refused, and has changed something before that. The version stands before the
    /// options, but takes effect behind them: after an error it has none.
    private func acceptPart(
        of login: PendingLogin?, before error: ErrorKind?, _ client: ClientConnection?
    ) {
        guard let login, let client else { return }
        switch login.part(before: error) {
        case .nothing: break
        case .name(let name):
            client.session.rename(name)
            client.countKept()
        case .login(let part): acceptLogin(part, protocolVersion: nil, client)
        }
    }
}

// MARK: - Without an answer

// From Redis 7.2 on, and in Valkey, the server does not answer a refused login while other replies
// wait to be written (`addAuthErrReply`, acl.c); messages and lines of MONITOR count as such. So a
// fence follows the login. If the fence is answered first, the login stays unanswered.
extension UpstreamConnection {
    /// The server may leave a refused login unanswered here and run the commands behind it.
    var mayIgnoreLogin: Bool {
        guard let hold, hold.isListening || hold.isTarget, !hold.isInTransaction else {
            return false
        }
        // In RESP2 a subscribed connection refuses AUTH and HELLO with an error.
        let isRestricted = key.protocolVersion == 2 && hold.subscriptions > 0
        let isAnswering = server.facts.isBefore72 && isOfThisServer
        return !isAnswering && !isRestricted
    }

    /// Takes a reply in place of a login's that has a fence behind it. It is kept until it is known
    /// whether it is the login's or the fence's.
    func takeFencedLogin(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool
    ) {
        guard incoming.collected.count + count <= UpstreamConnection.mostCollected else {
            incoming.collected = []
            poison("a reply that is longer than any to its command")
            return
        }
        incoming.collected.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        guard isComplete else { return }
        let reply = takeCollected()
        if scanner.type == UInt8(ascii: "$") || isErrorOfFence {
            loginIgnored(entry)
            guard !inFlight.isEmpty, inFlight.first.expectation == .fence else { return }
            reply.withUnsafeBytes {
                takeFence(inFlight.first, $0.baseAddress!, $0.count, isComplete: true)
            }
        } else if entry.expectation == .helloChange {
            finishCollected(entry, reply)
        } else {
            takeNote(entry)
            deliver(entry, reply)
        }
    }

    /// An error that AUTH and HELLO never get. Rights, scripts, loading and replication do not
    /// concern them.
    private var isErrorOfFence: Bool {
        guard scanner.isError else { return false }
        return scanner.head.starts(with: "NOPERM") || scanner.head.starts(with: "BUSY ")
            || scanner.head.starts(with: "LOADING ") || scanner.head.starts(with: "MASTERDOWN ")
            || scanner.head.starts(with: "MISCONF ")
    }

    /// The server has refused a login without an answer.
    private func loginIgnored(_ entry: InFlight) {
        let client = worker.clients[entry.client]
        client?.takeLogin()
        if entry.expectation == .helloChange { spoil(.dirty) }
        finishHead()
        if let client, client.upstream === self { client.answered(1, from: self) }
    }
}

/// HELLO's reply has the connection's id. The client gets its own id instead.
enum HelloReply {
    static func replacingID(_ reply: [UInt8], _ client: ClientConnection?) -> [UInt8] {
        guard let client else { return reply }
        var cursor = ReplyCursor(from: 0)
        var isID = false
        while let item = cursor.next(reply.span) {
            if isID, item.type == UInt8(ascii: ":") {
                return Array(reply[..<item.start]) + Array(String(client.serial).utf8)
                    + Array(reply[(item.start + item.length)...])
            }
            isID = item.depth == 1 && item.matches("id", in: reply.span)
        }
        return reply
    }
}
