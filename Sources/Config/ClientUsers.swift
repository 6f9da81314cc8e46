// Who may come in: the users that Redpool itself judges, from `clientPasswordFile` and
// `clientUsersFile`. Of their passwords only the SHA-256 digests are kept.

/// The users that clients of a pool may log in as.
package struct ClientUsers: Sendable, Equatable {
    /// The digests of a user's passwords; at least one.
    private(set) var digests: [[UInt8]: [Digest]] = [:]
    /// The most passwords of one user.
    private var most = 1

    /// The name of the user in an AUTH without one.
    package static let standardName = Array("default".utf8)

    /// Nobody may come in.
    package static let nobody = ClientUsers()

    init() {}

    /// True if no user may come in.
    var isEmpty: Bool { digests.isEmpty }

    /// How many users there are.
    package var count: Int { digests.count }

    /// Whether there is a user with this name.
    package func has(_ name: [UInt8]) -> Bool { digests[name] != nil }

    /// The name, with the memory that all who need it share.
    package func shared(_ name: [UInt8]) -> [UInt8] {
        digests.index(forKey: name).map { digests[$0].key } ?? name
    }

    /// Whether this is a password of the user. The work is the same whether there is such a user or
    /// not, and whichever byte of the password is wrong: one digest, and as many comparisons as the
    /// user with most passwords needs.
    package func accepts(_ name: [UInt8], _ password: [UInt8]) -> Bool {
        let digest = Digest(of: password)
        let known = digests[name] ?? []
        var isAccepted = false
        for index in 0..<most {
            let candidate = index < known.count ? known[index] : Digest.none
            let isEqual = candidate.matches(digest)
            isAccepted = isAccepted || (isEqual && index < known.count)
        }
        return isAccepted
    }

    /// Adds a password. Returns false if the user has `mostPasswords` already.
    mutating func add(_ name: [UInt8], _ digest: Digest) -> Bool {
        let known = digests[name] ?? []
        if known.contains(digest) { return true }
        guard known.count < ClientUsers.mostPasswords else { return false }
        digests[name, default: []].append(digest)
        most = max(most, known.count + 1)
        return true
    }

    /// The most users of a file.
    static let mostUsers = 10_000
    /// The most passwords of a user: a new one is added before the old one is removed.
    static let mostPasswords = 8
    /// The longest name, in bytes.
    static let longestName = 256
    /// The longest password, in bytes: a client that is not logged in can send no longer one.
    package static let longestPassword = 16_384
}

/// A problem in a line of `clientUsersFile`.
struct UsersFileProblem: Equatable {
    /// From 1.
    let line: Int
    let message: String
}

extension ClientUsers {
    /// Reads the lines of `clientUsersFile`: `name password` or `name #sha256hex`, blanks between
    /// them. Empty lines and lines that begin with # have no meaning. A name may stand in several
    /// lines, each with one of its passwords. No message shows what is in a line, but for a name
    /// that is certainly one.
    mutating func read(lines bytes: [UInt8]) -> [UsersFileProblem] {
        var problems: [UsersFileProblem] = []
        var number = 0
        for line in bytes.split(separator: 10, omittingEmptySubsequences: false) {
            number += 1
            var line = line
            if line.last == 13 { line.removeLast() }
            if let message = read(line) {
                problems.append(UsersFileProblem(line: number, message: message))
                if problems.count == ClientUsers.mostProblems { break }
            }
        }
        return problems
    }

    /// The most problems that are reported of one file.
    private static let mostProblems = 10

    /// Reads one line. Returns what is wrong with it.
    private mutating func read(_ line: ArraySlice<UInt8>) -> String? {
        let words = line.split { $0 == 0x20 || $0 == 0x09 }
        guard let name = words.first, name.first != UInt8(ascii: "#") else { return nil }
        switch words.count {
        case 1: return "has a name and no password"
        case 2: break
        default:
            return "has more than a name and a password; one with a blank goes in as #sha256hex"
        }
        if name.count > ClientUsers.longestName {
            return "the name is longer than \(ClientUsers.longestName) bytes"
        }
        if name.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            return "the name has a control character"
        }
        let password = words[1]
        let digest: Digest
        if password.first == UInt8(ascii: "#") {
            guard let read = Digest(hexadecimal: password.dropFirst()) else {
                return "behind # belong the 64 hexadecimal digits of a SHA-256"
            }
            digest = read
        } else if password.count > ClientUsers.longestPassword {
            return "the password is longer than \(ClientUsers.longestPassword) bytes"
        } else {
            digest = Digest(of: password)
        }
        let isNew = !has(Array(name))
        if isNew, count == ClientUsers.mostUsers {
            return "there are more than \(ClientUsers.mostUsers) users"
        }
        guard add(Array(name), digest) else {
            return "the user has more than \(ClientUsers.mostPasswords) passwords"
        }
        return nil
    }
}
