// A client's name and library. They are recorded when the server has accepted them, so they hold
// wherever the client's commands go.

/// The name and library of a client, as the server shows them in CLIENT LIST.
package struct ClientIdentity: Equatable, Sendable {
    package var name: [UInt8]
    package var libraryName: [UInt8]
    package var libraryVersion: [UInt8]

    package init(
        name: [UInt8] = [], libraryName: [UInt8] = [], libraryVersion: [UInt8] = []
    ) {
        self.name = name
        self.libraryName = libraryName
        self.libraryVersion = libraryVersion
    }

    /// No client can have this name: a name contains no space.
    private static let foreign = Array(" ".utf8)

    /// In bytes.
    var size: Int { name.count + libraryName.count + libraryVersion.count }

    /// Marks the identity of a shared connection that a passing client has changed. It then equals
    /// no client's identity.
    package mutating func taint(_ expectation: Expectation) {
        if expectation == .mirrorName {
            name = ClientIdentity.foreign
        } else {
            libraryName = ClientIdentity.foreign
            libraryVersion = ClientIdentity.foreign
        }
    }

    /// The server has accepted this change.
    mutating func take(_ change: IdentityChange) {
        switch change {
        case .name(let value): name = value
        case .libraryName(let value): libraryName = value
        case .libraryVersion(let value): libraryVersion = value
        }
    }
}

extension IdentityChange {
    /// In bytes, with the overhead of an array.
    package var size: Int {
        switch self {
        case .name(let value), .libraryName(let value), .libraryVersion(let value):
            value.count + 64
        }
    }
}
