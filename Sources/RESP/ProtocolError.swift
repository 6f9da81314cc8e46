/// Why Redis refuses a client's bytes and closes the connection. The texts are those of Redis 7.0
/// (networking.c, `processMultibulkBuffer` and `processInlineBuffer`).
package enum ProtocolError: Error, Equatable, Sendable {
    /// `*N` where N is not an integer or larger than 2147483647.
    case invalidMultibulkLength
    /// `$N` where N is not an integer, negative, or larger than `proto-max-bulk-len`.
    case invalidBulkLength
    /// An argument does not begin with `$` but with this byte (never NUL).
    case expectedDollar(got: UInt8)
    /// `*` without a CR in more than 64 KB.
    case tooBigMultibulkCountString
    /// `$` without a CR in more than 64 KB.
    case tooBigBulkCountString
    /// An inline line without an LF in more than 64 KB.
    case tooBigInlineRequest
    /// An inline line whose quotes do not match. Found by `InlineParser`, not by the scanner.
    case unbalancedQuotes
    /// More arguments than an unauthenticated client may send (10).
    case unauthenticatedMultibulkLength
    /// A longer argument than an unauthenticated client may send (16384 bytes).
    case unauthenticatedBulkLength

    /// The text after `-ERR `, for logs. Bytes above 0x7F in `expectedDollar` appear as the Unicode
    /// scalars of the same number; `messageBytes` has them as Redis sends them.
    package var message: String {
        switch self {
        case .invalidMultibulkLength: "Protocol error: invalid multibulk length"
        case .invalidBulkLength: "Protocol error: invalid bulk length"
        case .expectedDollar(let byte):
            "Protocol error: expected '$', got '\(Unicode.Scalar(Self.printable(byte)))'"
        case .tooBigMultibulkCountString: "Protocol error: too big mbulk count string"
        case .tooBigBulkCountString: "Protocol error: too big bulk count string"
        case .tooBigInlineRequest: "Protocol error: too big inline request"
        case .unbalancedQuotes: "Protocol error: unbalanced quotes in request"
        case .unauthenticatedMultibulkLength: "Protocol error: unauthenticated multibulk length"
        case .unauthenticatedBulkLength: "Protocol error: unauthenticated bulk length"
        }
    }

    /// The same text byte for byte as Redis sends it after `-ERR `.
    package var messageBytes: [UInt8] {
        guard case .expectedDollar(let byte) = self else { return Array(message.utf8) }
        return Array("Protocol error: expected '$', got '".utf8)
            + [Self.printable(byte), UInt8(ascii: "'")]
    }

    /// Redis prints the byte unchanged and then turns line breaks of any error into spaces.
    private static func printable(_ byte: UInt8) -> UInt8 {
        byte == Byte.carriageReturn || byte == Byte.lineFeed ? UInt8(ascii: " ") : byte
    }
}

extension ProtocolError {
    /// Bytes that every server refuses with this error, and then closes. They stay below the
    /// limits, except for errors about a limit. `isInside`: they follow the first line of an array.
    package func example(isInside: Bool) -> [UInt8] {
        let begin = isInside ? "" : "*1\r\n"
        let long = String(repeating: "1", count: ProtocolError.longLine)
        switch self {
        case .invalidMultibulkLength, .unauthenticatedMultibulkLength: return Array("*x\r\n".utf8)
        case .tooBigMultibulkCountString: return Array("*\(long)".utf8)
        case .invalidBulkLength, .unauthenticatedBulkLength: return Array("\(begin)$x\r\n".utf8)
        case .tooBigBulkCountString: return Array("\(begin)$\(long)".utf8)
        case .expectedDollar(let byte): return Array(begin.utf8) + [byte, 13, 10]
        case .tooBigInlineRequest: return Array(long.utf8)
        case .unbalancedQuotes: return Array("\"x\r\n".utf8)
        }
    }

    /// Longer than any line may be (Redis 7.0 server.h, PROTO_INLINE_MAX_SIZE is 65536).
    private static let longLine = 66_000
}
