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
        switch (words.count, words.count > 1 ? ASCII.lowercased(words[1]) : "") {
        case (3, "setname"): self = .name(words[2])
        case (4, "setinfo"):
            switch ASCII.lowercased(words[2]) {
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

/// Text comparisons on wire bytes, for rare paths.
enum ASCII {
    static func lowercased(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
