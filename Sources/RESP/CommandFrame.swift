/// The limits for reading a client's bytes. The defaults are those of Redis 7.0.
package struct CommandLimits: Sendable {
    /// The largest argument count of a command; 10 for clients that are not authenticated. Redis
    /// refuses counts that do not fit into an `int`, whatever is set here.
    package var maxArguments: Int = Int(Int32.max)
    /// The longest argument in bytes (`proto-max-bulk-len`); 16384 for clients that are not
    /// authenticated. Longer arguments are refused.
    package var maxBulkLength: Int = 512 * 1024 * 1024
    /// The longest line, inline or header, in bytes without its terminator.
    package var maxInlineLength: Int = 64 * 1024
    /// Whether the "unauthenticated ..." texts are used when the two limits above are exceeded.
    package var unauthenticated = false

    /// Redis 7.0's limits for an authenticated client.
    package init() {}

    /// Redis 7.0's limits for a client that has to authenticate first (since 6.2.6).
    package static var beforeAuthentication: CommandLimits {
        var limits = CommandLimits()
        limits.maxArguments = 10
        limits.maxBulkLength = 16384
        limits.unauthenticated = true
        return limits
    }

    /// Why an argument count is refused, or nil.
    @inline(__always)
    func refusal(ofCount count: Int) -> ProtocolError? {
        if count <= maxArguments, count <= Int(Int32.max) { return nil }
        if unauthenticated, count <= Int(Int32.max) { return .unauthenticatedMultibulkLength }
        return .invalidMultibulkLength
    }

    /// Why an argument's length is refused, or nil. Lengths near the end of the number range are
    /// always refused, so that adding the two terminator bytes cannot overflow.
    @inline(__always)
    func refusal(ofLength length: Int) -> ProtocolError? {
        if length >= 0, length <= maxBulkLength, length <= Int.max / 4 { return nil }
        if unauthenticated, length >= 0, length <= 512 * 1024 * 1024 {
            return .unauthenticatedBulkLength
        }
        return .invalidBulkLength
    }
}

/// One command in a buffer. All offsets are absolute in the span that was scanned.
package struct CommandFrame: Equatable, Sendable {
    /// The first byte of the frame, `*`. If parts of the frame were taken
    /// (`CommandScanner.takeScanned`), the first byte that is left.
    package let start: Int
    /// The first byte after the frame.
    package let end: Int
    /// The number of arguments, the command's name included: 1 or more.
    package let argumentCount: Int
    /// Where argv[0]'s payload begins. Meaningless when parts of the frame were taken.
    package let nameStart: Int
    /// The length of argv[0] in bytes, 0 or more; 0 when parts of the frame were taken.
    package let nameLength: Int
    /// Where argv[1]'s payload begins. Meaningless when there is none or parts were taken.
    package let firstStart: Int
    /// The length of argv[1] in bytes; -1 when there is none or parts of the frame were taken.
    package let firstLength: Int
    /// False when Redis accepts the frame although a byte that it does not check is wrong: the one
    /// after the CR of a header, or the two after a payload. See `canonicalize`.
    package let isCanonical: Bool
}

/// The result of `CommandScanner.scan`.
package enum CommandScan: Equatable, Sendable {
    /// A complete command.
    case command(CommandFrame)
    /// A complete inline line: `[start, end)` without its LF or CR LF; `next` is the byte after
    /// them. It may have no words; Redis ignores such lines.
    case inline(start: Int, end: Int, next: Int)
    /// `*0`, `*-1` and the like, which Redis ignores silently; `next` is the byte after it.
    case skip(next: Int)
    /// All bytes belong to a frame that is not complete yet.
    case incomplete
    /// Redis would answer `-ERR` with this text and close. The scanner cannot be used afterwards.
    case invalid(ProtocolError)
}
