// A client's name and library. They are recorded when the server has accepted them, so they hold
// wherever the client's commands go.

import Session

/// The name and library of a client, as the server shows them in CLIENT LIST.
struct ClientIdentity: Equatable {
    var name: [UInt8] = []
    var libraryName: [UInt8] = []
    var libraryVersion: [UInt8] = []

    /// No client can have this name: a name contains no space.
    private static let foreign = Array(" ".utf8)

    /// In bytes.
    var size: Int { name.count + libraryName.count + libraryVersion.count }

    /// Marks the identity of a shared connection that a passing client has changed. It then equals
    /// no client's identity.
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
    /// In bytes, with the overhead of an array.
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
