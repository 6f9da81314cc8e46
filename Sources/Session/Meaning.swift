// What a complete reply means beyond its bytes: for its client, for the connection that it came on,
// and for what the pool knows of the server.

package import Pool

/// What the server has said about credentials.
package enum LoginVerdict: Equatable, Sendable {
    /// The client is another user now; in HELLO with this protocol version.
    case accepted(protocolVersion: UInt8?)
    /// The reason is nil if the reply is no error.
    case refused(ErrorKind?)
    /// Queued in a transaction after all, or not to be believed. In the latter case the connection
    /// may speak another protocol version now.
    case unknown(protocolVersion: UInt8?)
}

/// What a complete reply means.
package enum Meaning: Equatable, Sendable {
    /// Its bytes are all there is to it.
    case nothing
    /// CLIENT SETNAME or SETINFO was answered.
    case identity(isAccepted: Bool)
    /// The connection is in this database now.
    case database(UInt32)
    /// The connection speaks this protocol version now.
    case protocolVersion(UInt8)
    case login(LoginVerdict)
    /// CLIENT TRACKING ON was accepted, refused; tracking has ended.
    case trackingBegun, trackingRefused, trackingEnded
    /// MONITOR was refused.
    case monitorRefused
    /// MULTI has queued an unknown name, which may do anything when EXEC runs it; or an unknown
    /// subcommand, whose effects end with the hold.
    case strangerQueued, subcommandQueued
    /// A name that the server did not know has been carried out: a module may have been loaded.
    case strangerRan
    /// The server does not know a module's command any more.
    case moduleGone
    /// The server does not know this subcommand.
    case subcommandUnknown
    /// A command of a client without a login was answered.
    case beforeLogin(isServed: Bool)
    /// A question about scripts was answered.
    case scriptAnswer
    /// A command was carried out that a pause with this number delays; 0 for no pause. `isWrite`:
    /// it has written on this connection.
    case ran(pause: UInt32, isWrite: Bool)
    /// A pause has begun, of this many milliseconds; it has ended.
    case pauseBegun(UInt32), pauseEnded
    /// EXEC of a block has not ended the transaction, or this is not known.
    case blockOpen

    /// - Parameters:
    ///   - value: the number of the expectation.
    ///   - isBelieved: false on a connection where replies cannot be matched with commands for
    ///     certain. A reply there changes only the state of its own client.
    package init(
        _ expectation: Expectation, value: UInt32, _ reply: ReplyFacts, isBelieved: Bool
    ) {
        self = .nothing
        switch expectation {
        case .mirrorName, .mirrorInfo: self = .identity(isAccepted: reply.isOK)
        case .select: if reply.isOK { self = .database(value) }
        case .hello:
            if reply.isAggregate, value != 0 { self = .protocolVersion(UInt8(clamping: value)) }
        case .authenticate, .helloChange:
            self = .login(Meaning.verdict(expectation, value, reply, isBelieved: isBelieved))
        case .trackingOn:
            if reply.isOK {
                self = .trackingBegun
            } else if reply.isError {
                self = .trackingRefused
            }
        case .trackingOff: if reply.isOK { self = .trackingEnded }
        case .monitor: if reply.isError { self = .monitorRefused }
        case .stranger:
            if reply.isQueued { self = value == 0 ? .strangerQueued : .subcommandQueued }
        case .unknown: if !reply.isError, !reply.isQueued { self = .strangerRan }
        case .ofModule: if reply.error == .unknownCommand { self = .moduleGone }
        case .unclear:
            if reply.error == .unknownSubcommand, isBelieved { self = .subcommandUnknown }
        case .beforeLogin: self = .beforeLogin(isServed: !reply.isError)
        case .scriptQuestion: self = .scriptAnswer
        case .write:
            if !reply.isError, isBelieved { self = .ran(pause: value, isWrite: !reply.isQueued) }
        case .heldUp: if !reply.isError, isBelieved { self = .ran(pause: value, isWrite: false) }
        case .pause: if reply.isOK, isBelieved { self = .pauseBegun(value) }
        case .unpause: if reply.isOK, isBelieved { self = .pauseEnded }
        case .blockEnd: if !reply.endsTransaction { self = .blockOpen }
        default: break
        }
    }

    private static func verdict(
        _ expectation: Expectation, _ value: UInt32, _ reply: ReplyFacts, isBelieved: Bool
    ) -> LoginVerdict {
        let isHello = expectation == .helloChange
        let version = isHello ? UInt8(clamping: value) : nil
        switch (isHello ? reply.isAggregate : reply.isOK, isBelieved) {
        case (true, true): return .accepted(protocolVersion: version)
        case (true, false): return .unknown(protocolVersion: version)
        case (false, _):
            let isJudged = isHello || reply.isError
            return isJudged ? .refused(reply.error) : .unknown(protocolVersion: nil)
        }
    }
}

extension Session {
    /// The reply to a command of this client has come over `upstream`, on which all its commands
    /// are. Returns the client that is no longer needed as the target of a redirection; 0 for none.
    package mutating func take(_ meaning: Meaning, over upstream: UpstreamID) -> UInt64 {
        switch meaning {
        case .identity(let isAccepted):
            if let change = takeChange(), isAccepted { take(change) }
        case .database(let database): select(database)
        case .protocolVersion(let version), .login(.unknown(let version?)):
            key.protocolVersion = version
        case .strangerQueued: queuedStranger()
        case .ran(_, isWrite: true): writes.collapse(to: upstream)
        case .trackingBegun: return acceptRedirection()
        case .trackingRefused: return forgetAskedRedirection()
        case .trackingEnded: return redirect(to: 0)
        default: break
        }
        return 0
    }

    /// EXEC has run this member. Its element in the array is no error, and means `meaning`.
    package mutating func take(
        _ member: QueuedMember, _ meaning: Meaning, over upstream: UpstreamID
    ) -> UInt64 {
        if member.expectation == .judged, member.words.count > 1 {
            logIn(asClient: member.words[1], keepsUpstream: true)
        }
        if let user = member.login.first {
            logIn(asClient: user, keepsUpstream: true)
            if member.login.count > 1 { rename(member.login[1]) }
        }
        guard case .identity = meaning else { return take(meaning, over: upstream) }
        if let change = IdentityChange(member.words) { take(change) }
        return 0
    }

    /// The server has accepted a login. A login without a user keeps the user; one without a
    /// protocol version keeps that.
    package mutating func logIn(as user: UInt32?, protocolVersion: UInt8?, name: [UInt8]?) {
        if let user { key.user = user }
        if let protocolVersion { key.protocolVersion = protocolVersion }
        if let name { rename(name) }
    }
}

extension PendingLogin {
    /// What HELLO has changed although it was refused.
    package enum Part: Equatable, Sendable {
        case nothing
        case name([UInt8])
        case login(PendingLogin)
    }

    /// Up to Redis 7.0, HELLO applies the options that stand before the refused one.
    package func part(before error: ErrorKind?) -> Part {
        switch error {
        case .wrongPassword:
            if isNameFirst, let name { return .name(name) }
        case .badName:
            if isNameFirst { return .nothing }
            var login = self
            login.name = nil
            return .login(login)
        // The error is "in HELLO option 'X'".
        case .badOption: return .login(self)
        default: break
        }
        return .nothing
    }
}
