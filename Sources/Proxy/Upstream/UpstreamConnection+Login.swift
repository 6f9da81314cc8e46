// A client's AUTH, and HELLO with options, on the connection that they change: what becomes of it
// when the server accepts them, refuses them, or says nothing.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// This connection and its client are in another state now.
    func move(to newKey: PoolKey, with client: ClientConnection?) {
        key = newKey
        server.machine.rekey(id, to: newKey)
        if teachesPool { pool.knownKeys.accept(newKey) }
        if let client, client.upstream === self { client.key = newKey }
    }

    /// Nobody has logged in here, and the server has carried out a command.
    func needsNoLogin() {
        if origin.lacksLogin, key.user == 0 { pool.noteDefault(needsLogin: false) }
    }

    /// HELLO has been refused for want of a login. While the default user needs none, this
    /// connection is of a time when it did: no other client is to meet that.
    func noteHelloRefused() {
        guard isBelieved, scanner.isError, scanner.head.starts(with: "NOAUTH"), key.user == 0,
            !pool.defaultNeedsLogin
        else { return }
        retireWhenFree(.configChanged)
    }

    /// The server has accepted a client's credentials here.
    func acceptLogin(
        _ login: PendingLogin?, protocolVersion: UInt8?, _ client: ClientConnection?
    ) {
        var newKey = key
        newKey.protocolVersion = protocolVersion ?? key.protocolVersion
        if let login, let name = login.user {
            guard let user = pool.accept(name, login.password, from: client?.serial ?? 0) else {
                refuseUser(client)
                return
            }
            newKey.user = user
        } else if login == nil, !isShared {
            // Its client has left, and with it the knowledge of who this connection belongs to.
            spoil(.dirty)
        }
        if !isShared {
            let place = client?.key
            move(to: newKey, with: client)
            if let client, let place, client.upstream === self {
                // Neither changes with a login, and this connection can be of another place.
                client.key.database = place.database
                client.key.protocolVersion = protocolVersion ?? place.protocolVersion
            }
            if let client { pool.noteLogin(of: client) }
        } else if let client, client.upstream === self {
            client.key = newKey
        }
        if let client, let name = login?.name {
            client.identity.name = name
            if !isShared { identity.name = name }
        }
    }

    /// This connection and its client belong to somebody now for whom there is no number: the client
    /// must not go on as whom it was before, and nobody else may have the connection.
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

    /// The server has refused a client's credentials here. If they were good before, others may have
    /// logged in with them.
    func refuseLogin(_ login: PendingLogin?) {
        guard isBelieved, let login, let name = login.user, scanner.head.starts(with: "WRONGPASS"),
            let user = pool.users.find(name: name, password: login.password)
        else { return }
        server.doubt(user)
    }

    /// Redis up to 7.0 has applied the options of a HELLO before the one that it complains about.
    func acceptPart(of login: PendingLogin?, _ client: ClientConnection?) {
        guard var login, let client else { return }
        // The version stands before the options and takes effect behind them: not at all.
        let protocolVersion = client.key.protocolVersion
        defer { client.key.protocolVersion = protocolVersion }
        if scanner.head.starts(with: "WRONGPASS") {
            if login.isNameFirst, let name = login.name { client.identity.name = name }
        } else if scanner.head.starts(with: "ERR Client names"), !login.isNameFirst {
            login.name = nil
            acceptLogin(login, protocolVersion: nil, client)
        } else if scanner.head.starts(with: "ERR Syntax error") {
            // "in HELLO option 'X'", of which a head keeps no more.
            acceptLogin(login, protocolVersion: nil, client)
        }
    }
}

// MARK: - Without an answer

// From Redis 7.2 on, and in Valkey, a refused login is not answered while other replies wait to be
// written (`addAuthErrReply`, acl.c): messages and lines of MONITOR are such. A fence goes behind
// it; when that is answered first, the login never will be.
extension UpstreamConnection {
    /// A refused login may not be answered here, and the server carries out what comes behind it.
    var mayIgnoreLogin: Bool {
        guard let hold, hold.isListening || hold.isTarget, !hold.isInTransaction else {
            return false
        }
        // A subscribed RESP2 connection takes neither AUTH nor HELLO, and says so.
        let isRestricted = key.protocolVersion == 2 && hold.subscriptions > 0
        let isAnswering = server.facts.isBefore72 && isOfThisServer
        return !isAnswering && !isRestricted
    }

    /// A reply in the place of a login's that has a fence behind it: nothing of it goes to the
    /// client before it is known whose it is.
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

    /// An error that AUTH and HELLO never get: rights, scripts, loading and replication do not
    /// concern them.
    private var isErrorOfFence: Bool {
        guard scanner.isError else { return false }
        return scanner.head.starts(with: "NOPERM") || scanner.head.starts(with: "BUSY ")
            || scanner.head.starts(with: "LOADING ") || scanner.head.starts(with: "MASTERDOWN ")
            || scanner.head.starts(with: "MISCONF ")
    }

    /// The server has refused a login without a word: its client waits for it no more.
    private func loginIgnored(_ entry: InFlight) {
        let client = worker.clients[entry.client]
        _ = client?.takeLogin()
        if entry.expectation == .helloChange { spoil(.dirty) }
        finishHead()
        if let client, client.upstream === self { client.answered(1) }
    }
}

/// The reply to HELLO carries the id of a connection; a client's own id is another.
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
