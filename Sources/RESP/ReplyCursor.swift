/// One item of a reply: a complete value, or the header of an aggregate whose elements follow.
package struct ReplyItem: Equatable, Sendable {
    /// The type byte.
    package let type: UInt8
    /// The start of the payload: the content of a line, or of a bulk without its length. For a
    /// verbatim string, `=`, the text after the four bytes of its format. For an aggregate, its
    /// first element.
    package let start: Int
    /// The payload's length in bytes; 0 for nulls and aggregates.
    package let length: Int
    /// The value of `:`; the count in an aggregate's header (pairs for maps and attributes, else
    /// elements); a bulk's length as on the wire; -1 for nulls written `$-1` and `*-1`; else 0.
    package let value: Int64
    /// The number of aggregates and attributes around the item; 0 for the reply itself.
    package let depth: Int
    /// Whether this is a line of MONITOR among an aggregate's elements: see
    /// `ReplyScanner.passesLines`.
    package var isPassedLine = false

    /// Whether the item is a null of RESP2 or RESP3.
    package var isNull: Bool { type == Byte.underscore || (value == -1 && type != Byte.colon) }

    /// The place of the payload in the bytes in which the cursor has found the item.
    package var range: Range<Int> { start..<(start &+ length) }

    /// Whether the payload is this text.
    package func matches(_ text: StaticString, in bytes: Span<UInt8>) -> Bool {
        guard length == text.utf8CodeUnitCount, start + length <= bytes.count else { return false }
        return text.withUTF8Buffer { buffer in
            for index in 0..<length where unsafe buffer[index] != bytes[start + index] {
                return false
            }
            return true
        }
    }
}

/// Walks the items of one complete reply in contiguous memory, in the order of the wire. For the
/// few replies that Redpool reads itself (HELLO, confirmations, INFO, CONFIG GET, CLIENT LIST).
/// Every call gets the same bytes.
package struct ReplyCursor: Sendable {
    /// The index of the next item's first byte; after the last item, the end of the reply.
    package private(set) var position: Int
    /// Elements still to come, one entry per open aggregate; the first entry is for the reply
    /// itself. Empty at the end.
    private var open = [1]
    private let passesLines: Bool

    /// A walk over the reply that begins at `start`. `passesLines` is as in `ReplyScanner`: such
    /// lines are items, but not elements.
    package init(from start: Int, passesLines: Bool = false) {
        position = start
        self.passesLines = passesLines
    }

    /// The next item. Nil after the last one, and when the bytes are not a complete reply.
    package mutating func next(_ bytes: Span<UInt8>) -> ReplyItem? {
        guard !open.isEmpty, position >= 0, position < bytes.count else { return nil }
        let type = bytes[position]
        let depth = open.count - 1
        guard let end = endOfLine(bytes) else { return fail() }
        let content = position + 1
        let next = end + 2
        switch type {
        case Byte.plus, Byte.minus, Byte.comma, Byte.parenthesis:
            let isPassed =
                passesLines && depth > 0 && type == Byte.plus && isDigit(bytes[content])
            advance(to: next, elements: 0, isElement: !isPassed)
            return ReplyItem(
                type: type, start: content, length: end - content, value: 0, depth: depth,
                isPassedLine: isPassed)
        default: break
        }
        guard let value = number(bytes, type, content, end) else { return fail() }
        switch type {
        case Byte.colon, Byte.underscore, Byte.hash:
            advance(to: next, elements: 0, isElement: true)
            return ReplyItem(
                type: type, start: content, length: end - content, value: value, depth: depth)
        case Byte.dollar, Byte.equals, Byte.exclamation:
            return bulk(bytes, type, next, value)
        default:
            let count = max(0, Int(value))
            let isPairs = type == Byte.percent || type == Byte.pipe
            let isElement = type != Byte.pipe && (type != Byte.greater || depth == 0)
            advance(to: next, elements: isPairs ? 2 * count : count, isElement: isElement)
            return ReplyItem(type: type, start: next, length: 0, value: value, depth: depth)
        }
    }

    private mutating func bulk(
        _ bytes: Span<UInt8>, _ type: UInt8, _ start: Int, _ value: Int64
    ) -> ReplyItem? {
        let depth = open.count - 1
        let length = max(0, Int(value))
        if value >= 0 {
            guard bytes.count - start >= length + 2 else { return fail() }
        }
        advance(to: value < 0 ? start : start + length + 2, elements: 0, isElement: true)
        let prefix = type == Byte.equals ? min(4, length) : 0
        return ReplyItem(
            type: type, start: start + prefix, length: length - prefix, value: value, depth: depth)
    }

    /// Moves to the next item and closes the aggregates that end here.
    private mutating func advance(to next: Int, elements: Int, isElement: Bool) {
        position = next
        if isElement { open[open.count - 1] -= 1 }
        if elements > 0 { open.append(elements) }
        while open.last == 0 { open.removeLast() }
    }

    private mutating func fail() -> ReplyItem? {
        open = []
        return nil
    }

    /// The index of the CR of the first CR LF at or after `position`, or nil.
    private func endOfLine(_ bytes: Span<UInt8>) -> Int? {
        var index = position
        while index + 1 < bytes.count {
            index = indexOfCarriageReturn(bytes, from: index, to: bytes.count - 1)
            guard index < bytes.count - 1 else { return nil }
            if bytes[index + 1] == Byte.lineFeed { return index }
            index += 1
        }
        return nil
    }

    private func number(
        _ bytes: Span<UInt8>, _ type: UInt8, _ start: Int, _ end: Int
    ) -> Int64? {
        switch type {
        case Byte.colon, Byte.underscore, Byte.hash, Byte.dollar, Byte.equals, Byte.exclamation,
            Byte.asterisk, Byte.tilde, Byte.percent, Byte.greater, Byte.pipe:
            var number = HeaderNumber()
            for index in start..<max(start, end) {
                guard number.append(bytes[index], type: type) else { return nil }
            }
            return number.value(type: type)
        default:
            return nil
        }
    }
}
