// What a client has called itself: recorded when the server accepted it, so that the client finds
// it again wherever its commands go.

import RESP
import Session

/// The name and library of a client, as the server shows them in CLIENT LIST.
struct ClientIdentity: Equatable {
    var name: [UInt8] = []
    var libraryName: [UInt8] = []
    var libraryVersion: [UInt8] = []

    /// No client can have this: a name is not allowed to hold a space.
    private static let foreign = Array(" ".utf8)

    /// Marks what a shared connection carries of a passing client, so that it never counts as equal
    /// to what anybody wants.
    mutating func taint(_ expectation: Expectation) {
        if expectation == .mirrorName {
            name = ClientIdentity.foreign
        } else {
            libraryName = ClientIdentity.foreign
            libraryVersion = ClientIdentity.foreign
        }
    }
}

/// A change that takes effect with the server's +OK.
enum IdentityChange {
    case name([UInt8])
    case libraryName([UInt8])
    case libraryVersion([UInt8])

    /// Reads `CLIENT SETNAME name` and `CLIENT SETINFO LIB-NAME|LIB-VER value`; nil when the frame
    /// is something the server will refuse anyway.
    init?(_ bytes: Span<UInt8>, _ frame: CommandFrame) {
        var words: [[UInt8]] = []
        var arguments = CommandArguments(bytes, frame: frame)
        while let argument = arguments.next(bytes), words.count < 5 {
            words.append((0..<argument.length).map { bytes[argument.start + $0] })
        }
        self.init(words)
    }

    /// Reads the same from all words of the command.
    init?(_ words: [[UInt8]]) {
        switch (words.count, words.count > 1 ? Word.lowercased(words[1]) : "") {
        case (3, "setname"): self = .name(words[2])
        case (4, "setinfo"):
            switch Word.lowercased(words[2]) {
            case "lib-name": self = .libraryName(words[3])
            case "lib-ver": self = .libraryVersion(words[3])
            default: return nil
            }
        default: return nil
        }
    }

    var expectation: Expectation {
        if case .name = self { return .mirrorName }
        return .mirrorInfo
    }

    func apply(to identity: inout ClientIdentity) {
        switch self {
        case .name(let value): identity.name = value
        case .libraryName(let value): identity.libraryName = value
        case .libraryVersion(let value): identity.libraryVersion = value
        }
    }
}

/// Credentials that a client has sent and the server has not judged yet.
struct PendingLogin {
    /// Nil when HELLO came without AUTH.
    var user: [UInt8]?
    var password: [UInt8]
    /// The name that HELLO SETNAME gives.
    var name: [UInt8]?
    /// SETNAME stands before AUTH.
    var isNameFirst = false

    /// Reads `AUTH [user] password`.
    init(authenticate words: [[UInt8]]) {
        user = words.count == 3 ? words[1] : Array("default".utf8)
        password = words[words.count - 1]
    }

    /// Reads the options of `HELLO version [AUTH user password] [SETNAME name]`; what is malformed
    /// the server refuses.
    init(hello words: [[UInt8]]) {
        password = []
        var index = 2
        while index < words.count {
            switch Word.lowercased(words[index]) {
            case "auth" where index + 2 < words.count:
                user = words[index + 1]
                password = words[index + 2]
                index += 3
            case "setname" where index + 1 < words.count:
                name = words[index + 1]
                isNameFirst = user == nil
                index += 2
            default: return
            }
        }
    }
}
