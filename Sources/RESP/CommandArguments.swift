/// Walks the arguments of a complete RESP frame, argv[0] first. For the few commands whose later
/// arguments matter (SELECT n, HELLO, XREAD ... BLOCK).
///
/// Every call gets the bytes in which the frame was found complete. With other bytes the walk ends
/// early instead of trapping.
package struct CommandArguments: Sendable {
    private var position: Int
    private let end: Int
    private var remaining: Int

    /// A walk over a frame whose bytes are all in `bytes`.
    package init(_ bytes: Span<UInt8>, frame: CommandFrame) {
        end = min(frame.end, bytes.count)
        remaining = frame.argumentCount
        position = indexAfterHeader(bytes, at: frame.start, limit: end)
    }

    /// The place of the next argument's payload in `bytes`; nil after the last.
    package mutating func next(_ bytes: Span<UInt8>) -> (start: Int, length: Int)? {
        guard remaining > 0, position < end, end <= bytes.count else { return nil }
        guard let header = shortHeader(bytes, at: position) else { return nil }
        guard header.value <= end &- header.next &- 2 else { return nil }
        position = header.next &+ header.value &+ 2
        remaining &-= 1
        return (header.next, header.value)
    }
}

extension CommandArguments {
    /// The arguments of an incomplete frame, as far as they have arrived; the last one may be cut.
    /// The frame begins at `start`, and the scanner has verified what lies before `end`.
    package static func begun(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> [[UInt8]] {
        var words: [[UInt8]] = []
        let limit = min(end, bytes.count)
        var position = indexAfterHeader(bytes, at: start, limit: limit)
        while position < limit, let header = shortHeader(bytes, at: position) {
            guard header.next <= limit else { break }
            let length = min(header.value, limit &- header.next)
            words.append((0..<length).map { bytes[header.next &+ $0] })
            guard header.value <= limit &- header.next &- 2 else { break }
            position = header.next &+ header.value &+ 2
        }
        return words
    }
}

/// Makes a frame canonical: replaces the terminator bytes that Redis does not check by CR LF. All
/// bytes of the frame must be there. Its length and offsets do not change.
package func canonicalize(_ bytes: inout MutableSpan<UInt8>, frame: CommandFrame) {
    let end = min(frame.end, bytes.count)
    var next = indexAfterHeader(bytes.span, at: frame.start, limit: end)
    if next <= end { bytes[next &- 1] = Byte.lineFeed }
    var remaining = frame.argumentCount
    while remaining > 0, next < end {
        guard let header = shortHeader(bytes.span, at: next) else { return }
        guard header.value <= end &- header.next &- 2 else { return }
        bytes[header.next &- 1] = Byte.lineFeed
        next = header.next &+ header.value &+ 2
        bytes[next &- 2] = Byte.carriageReturn
        bytes[next &- 1] = Byte.lineFeed
        remaining &-= 1
    }
}

/// The index after the header line at `position`, or `limit + 1` when there is none.
private func indexAfterHeader(_ bytes: Span<UInt8>, at position: Int, limit: Int) -> Int {
    guard position < limit, let header = shortHeader(bytes, at: position) else {
        return limit &+ 1
    }
    return header.next
}
