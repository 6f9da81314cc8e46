// The parts of a reply that decide about state.

package import RESP

/// What an error says, as far as it decides about state. Texts are those of Redis 6.2 to 8.0 and of
/// Valkey; a scanner keeps the first 16 bytes of a line.
package enum ErrorKind: CaseIterable, Equatable, Sendable {
    /// A command that is not there, or renamed.
    case unknownCommand
    case unknownSubcommand
    /// -NOAUTH
    case noLogin
    /// -WRONGPASS
    case wrongPassword
    /// HELLO SETNAME with a name that the server refuses.
    case badName
    /// HELLO with an option that the server does not know.
    case badOption
    case other

    private init(_ head: ReplyHead) {
        if head.starts(with: "ERR unknown comm") {
            self = .unknownCommand
        } else if head.starts(with: "ERR Unknown subc") {
            self = .unknownSubcommand
        } else if head.starts(with: "NOAUTH") {
            self = .noLogin
        } else if head.starts(with: "WRONGPASS") {
            self = .wrongPassword
        } else if head.starts(with: "ERR Client names") {
            self = .badName
        } else if head.starts(with: "ERR Syntax error") {
            self = .badOption
        } else {
            self = .other
        }
    }

    /// The kind of the error that `scanner` has just read.
    init?(_ scanner: ReplyScanner) {
        guard scanner.isError else { return nil }
        self.init(scanner.head)
    }
}

/// The parts of a reply that decide about state.
package struct ReplyFacts: Sendable {
    /// Type byte.
    package var type: UInt8
    /// Nil for a reply that is no error.
    package var error: ErrorKind?
    /// It is exactly `+OK`.
    package var isOK: Bool
    /// It is exactly `+QUEUED`.
    package var isQueued: Bool

    package init(type: UInt8, error: ErrorKind?, isOK: Bool, isQueued: Bool) {
        self.type = type
        self.error = error
        self.isOK = isOK
        self.isQueued = isQueued
    }

    /// The facts of the reply that `scanner` has just read to its end.
    package init(_ scanner: ReplyScanner) {
        type = scanner.type
        error = ErrorKind(scanner)
        isOK = error == nil && scanner.head.matches("OK")
        isQueued = error == nil && scanner.head.matches("QUEUED")
    }

    package var isError: Bool { error != nil }

    /// The reply to EXEC shows that the transaction is over: it is an array, a null, or an error
    /// that says so.
    package var endsTransaction: Bool {
        isArrayOrNull || (isError && error != .unknownCommand)
    }

    /// HELLO is answered with an array or a map.
    package var isAggregate: Bool { type == UInt8(ascii: "*") || type == UInt8(ascii: "%") }

    private var isArrayOrNull: Bool {
        type == UInt8(ascii: "*") || type == UInt8(ascii: "_") || type == UInt8(ascii: "~")
    }
}
