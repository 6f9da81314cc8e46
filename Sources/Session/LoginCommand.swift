// AUTH and HELLO where Redpool itself judges logins, in the server's words. Nothing of a password
// goes to a server.

import RESP

/// How the server words its errors: by its version.
package struct Dialect: Equatable, Sendable {
    /// The release of Redis that it is, or says to be, as 100 * major + minor; nil if that is not
    /// known. Valkey says 702.
    private let release: Int?
    /// The release of Valkey that it is; nil if it is none.
    private let valkey: Int?

    /// - Parameters:
    ///   - release: 100 * major + minor; nil: 7.0, with the commands of all releases.
    ///   - valkey: the same for Valkey.
    package init(release: Int?, valkey: Int? = nil) {
        self.release = release
        self.valkey = valkey
    }

    /// Redis before 7.0.
    package var isBefore70: Bool { release ?? 700 < 700 }
    /// Redis before 7.2.
    package var isBefore72: Bool { release ?? 700 < 702 }

    /// Whether the server has a command.
    func has(_ command: CommandInfo) -> Bool {
        if let valkey { return valkey >= Int(command.releases.valkey) }
        guard let release else { return true }
        return release >= Int(command.releases.redis)
    }
}

/// What an AUTH or HELLO does where Redpool judges it.
package struct LoginJudgement: Equatable, Sendable {
    /// The user that the client has logged in as; nil: as before.
    package var user: [UInt8]?
    /// The user that was refused.
    package var refused: [UInt8]?
    /// The name from SETNAME, if it takes effect although the server does not see the command.
    package var name: [UInt8]?
    /// The reply. Nil for a HELLO that the server carries out.
    package var reply: [UInt8]?
    /// That HELLO, without credentials.
    package var forwarded: [[UInt8]] = []
}

/// Says whether this is a password of a user.
package typealias LoginJudge = (_ user: [UInt8], _ password: [UInt8]) -> Bool

extension LoginJudgement {
    /// The server's error for wrong credentials.
    package static let wrongPassword = Array(
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n".utf8)
    private static let badName =
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"

    /// AUTH with these words.
    package static func authenticate(_ words: [[UInt8]], by judge: LoginJudge) -> LoginJudgement {
        var judgement = LoginJudgement()
        switch words.count {
        case 2, 3:
            let user = words.count == 3 ? words[1] : Array("default".utf8)
            judgement.take(user, words[words.count - 1], by: judge)
            if judgement.user != nil { judgement.reply = Array("+OK\r\n".utf8) }
        case ..<2:
            judgement.reply = Array("-ERR wrong number of arguments for 'auth' command\r\n".utf8)
        default:
            judgement.reply = Array("-ERR syntax error\r\n".utf8)
        }
        return judgement
    }

    /// HELLO with these words, of a client that is logged in or not. Before Redis 7.2 each option
    /// takes effect when it is read; later versions first read all of them (networking.c,
    /// helloCommand).
    package static func hello(
        _ words: [[UInt8]], isLoggedIn: Bool, _ dialect: Dialect, by judge: LoginJudge
    ) -> LoginJudgement {
        var judgement = LoginJudgement()
        if words.count > 1 {
            guard let version = Word.integer(words[1], in: Word.anyNumber) else {
                return judgement.answering(
                    "-ERR Protocol version is not an integer or out of range\r\n")
            }
            guard (2...3).contains(version) else {
                return judgement.answering("-NOPROTO unsupported protocol version\r\n")
            }
        }
        judgement.forwarded = Array(words.prefix(2))
        judgement.takeOptions(words, dialect, by: judge)
        if judgement.reply != nil { return judgement }
        if judgement.user == nil, !isLoggedIn {
            let version = dialect.isBefore72 ? "" : "<proto> "
            return judgement.answering(
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                    + "HELLO \(version)AUTH <user> <pass> option can be used to authenticate the "
                    + "client and select the RESP protocol version at the same time\r\n")
        }
        // The server sets it.
        judgement.name = nil
        return judgement
    }

    private mutating func takeOptions(
        _ words: [[UInt8]], _ dialect: Dialect, by judge: LoginJudge
    ) {
        var credentials: (user: [UInt8], password: [UInt8])?
        var index = 2
        while index < words.count {
            let more = words.count - index - 1
            switch Word(words[index]) {
            case "auth" where more >= 2:
                credentials = (words[index + 1], words[index + 2])
                if dialect.isBefore72 {
                    take(words[index + 1], words[index + 2], by: judge)
                    if reply != nil { return }
                }
                index += 3
            case "setname" where more >= 1:
                guard LoginJudgement.isName(words[index + 1], dialect) else {
                    reply = Array(LoginJudgement.badName.utf8)
                    return
                }
                if dialect.isBefore72 { name = words[index + 1] }
                forwarded += words[index...(index + 1)]
                index += 2
            default:
                reply = LoginJudgement.unknownOption(words[index])
                return
            }
        }
        if !dialect.isBefore72, let credentials {
            take(credentials.user, credentials.password, by: judge)
        }
    }

    /// Judges credentials. A refusal is the reply.
    private mutating func take(
        _ user: [UInt8], _ password: [UInt8], by judge: LoginJudge
    ) {
        if judge(user, password) {
            self.user = user
        } else {
            refused = user
            reply = LoginJudgement.wrongPassword
        }
    }

    private func answering(_ text: String) -> LoginJudgement {
        var judgement = self
        judgement.reply = Array(text.utf8)
        return judgement
    }

    /// From Redis 7.2 on a name ends at its first NUL.
    private static func isName(_ name: [UInt8], _ dialect: Dialect) -> Bool {
        let read = dialect.isBefore72 ? name[...] : name.prefix { $0 != 0 }
        return read.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static func unknownOption(_ option: [UInt8]) -> [UInt8] {
        let text = option.prefix { $0 != 0 }.map { $0 == 13 || $0 == 10 ? 0x20 : $0 }
        return Array("-ERR Syntax error in HELLO option '".utf8) + text + Array("'\r\n".utf8)
    }
}
