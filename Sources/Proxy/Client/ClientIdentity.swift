// What a client has called itself: recorded when the server accepted it, so that the client finds
// it again wherever its commands go.

import Session

/// The name and library of a client, as the server shows them in CLIENT LIST.
struct ClientIdentity: Equatable {
    var name: [UInt8] = []
    var libraryName: [UInt8] = []
    var libraryVersion: [UInt8] = []

    /// No client can have this: a name is not allowed to hold a space.
    private static let foreign = Array(" ".utf8)

    /// In bytes.
    var size: Int { name.count + libraryName.count + libraryVersion.count }

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

extension IdentityChange {
    /// In bytes, with what a value costs that has none.
    var size: Int {
        switch self {
        case .name(let value), .libraryName(let value), .libraryVersion(let value):
            value.count + 64
        }
    }

    func apply(to identity: inout ClientIdentity) {
        switch self {
        case .name(let value): identity.name = value
        case .libraryName(let value): identity.libraryName = value
        case .libraryVersion(let value): identity.libraryVersion = value
        }
    }
}
