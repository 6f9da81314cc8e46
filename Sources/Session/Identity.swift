// The names that a client gives itself, and the user it logs in as. They are read from its commands
// and recorded when the server has accepted them.

import RESP

/// A change that takes effect with +OK.
package enum IdentityChange: Equatable, Sendable {
    case name([UInt8])
    case libraryName([UInt8])
    case libraryVersion([UInt8])

    /// Reads `CLIENT SETNAME name` and `CLIENT SETINFO LIB-NAME|LIB-VER value`; nil for any other
    /// form.
    package init?(_ words: [[UInt8]]) {
        switch (words.count, words.count > 1 ? Word(words[1]) : "") {
        case (3, "setname"): self = .name(words[2])
        case (4, "setinfo"):
            switch Word(words[2]) {
            case "lib-name": self = .libraryName(words[3])
            case "lib-ver": self = .libraryVersion(words[3])
            default: return nil
            }
        default: return nil
        }
    }

    /// The expectation of its reply.
    package var expectation: Expectation {
        if case .name = self { return .mirrorName }
        return .mirrorInfo
    }
}

/// Credentials that a client has sent and the server has not judged yet.
package struct PendingLogin: Equatable, Sendable {
    /// Nil when HELLO came without AUTH.
    package private(set) var user: [UInt8]?
    package private(set) var password: [UInt8]
    /// The name from HELLO SETNAME.
    package var name: [UInt8]?
    /// True when SETNAME is before AUTH.
    package private(set) var isNameFirst = false
    /// False when an option is not in the table, or AUTH is given twice. Redis up to 7.0 has then
    /// carried out the options before it.
    package private(set) var isUnderstood = true
    /// They come with a command that sets the password.
    package private(set) var setsPassword = false

    /// In bytes.
    package var size: Int { (user?.count ?? 0) + password.count + (name?.count ?? 0) }

    /// Reads `AUTH [user] password`.
    package init(authenticate words: [[UInt8]]) {
        user = words.count == 3 ? words[1] : PendingLogin.defaultUser
        password = words[words.count - 1]
    }

    /// Reads the options of `HELLO version [AUTH user password] [SETNAME name]`.
    package init(hello words: [[UInt8]]) {
        password = []
        var index = 2
        while index < words.count {
            switch Word(words[index]) {
            case "auth" where index + 2 < words.count && user == nil:
                user = words[index + 1]
                password = words[index + 2]
                index += 3
            case "setname" where index + 1 < words.count:
                name = words[index + 1]
                isNameFirst = user == nil
                index += 2
            default:
                isUnderstood = false
                return
            }
        }
    }

    /// The user of who names none. Names of users tell case.
    private static let defaultUser = Array("default".utf8)

    /// Reads `CONFIG SET ... requirepass password` and `ACL SETUSER user ... >password` of this
    /// user: whoever sets a password knows it. Nil if the user has no such password afterwards.
    package init?(settingPassword words: [[UInt8]], of user: [UInt8]) {
        guard words.count > 3 else { return nil }
        var found: [UInt8]?
        switch (Word(words[0]), Word(words[1])) {
        case ("config", "set"):
            guard user == PendingLogin.defaultUser else { return nil }
            for index in stride(from: 2, to: words.count - 1, by: 2)
            where Word(words[index]) == "requirepass" {
                found = words[index + 1].isEmpty ? nil : words[index + 1]
            }
        case ("acl", "setuser"):
            guard words[2] == user else { return nil }
            for rule in words.dropFirst(3) {
                switch (rule.first, Word(rule)) {
                case (UInt8(ascii: ">"), _): found = Array(rule.dropFirst())
                // It takes away whichever password has this hash.
                case (UInt8(ascii: "!"), _): found = nil
                case (UInt8(ascii: "<"), _): if found == Array(rule.dropFirst()) { found = nil }
                case (_, "nopass"), (_, "resetpass"), (_, "reset"), (_, "off"): found = nil
                default: break
                }
            }
        default: return nil
        }
        guard let found else { return nil }
        self.user = user
        password = found
        setsPassword = true
    }

    /// True when the server refuses the name. Redis up to 7.0 does so only after the login has
    /// taken effect.
    package var appliesInPart: Bool {
        user != nil && name?.contains(where: { $0 < 0x21 || $0 > 0x7E }) == true
    }
}
