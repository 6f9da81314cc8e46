// Finds where an upstream's replies end, so that they can be relayed as they arrive. The scanner
// keeps all state, even of a partial header line: the bytes may be gone before the next scan.

/// Why bytes from an upstream are not a reply. The connection cannot be used any more, because the
/// boundaries of all later replies are unknown.
package enum ReplyError: Error, Equatable, Sendable {
    /// A reply begins with this byte, which is no type of RESP2 or RESP3. The streamed types, `;`
    /// and `.`, are included: no server sends them.
    case unknownType(UInt8)
    /// The line after this type byte is not a number or is out of range; not t or f after `#`; not
    /// empty after `_`. Streamed lengths (`$?`, `*?`) are included.
    case malformedHeader(type: UInt8)
    /// A payload, or a header's CR, is not followed by CR LF.
    case missingTerminator(type: UInt8)

    /// A sentence for the log, without a full stop.
    package var message: String {
        switch self {
        case .unknownType(let byte): "unknown reply type byte \(byte)"
        case .malformedHeader(let byte): "malformed header of a reply of type byte \(byte)"
        case .missingTerminator(let byte): "missing CR LF in a reply of type byte \(byte)"
        }
    }
}

/// The result of `ReplyScanner.scan`.
package enum ReplyScan: Equatable, Sendable {
    /// A complete reply; `end` is the index of the first byte after it.
    case complete(end: Int)
    /// All bytes of the span belong to a reply that is still incomplete.
    case incomplete
    /// The scanner cannot be used any more.
    case invalid(ReplyError)
}

/// A resumable scanner for what an upstream sends, RESP2 and RESP3. It neither recurses nor keeps a
/// stack: it counts the items still to come, at any depth of nesting.
///
/// Phases: `item` (the next byte is a type byte) -> `line`, `number` or `payload` when the span
/// ends inside an item -> `item`. `number` -> `payload` for bulk types. Between replies the phase
/// is `item` and `remaining` is 0.
package struct ReplyScanner: Sendable {
    private enum Phase: UInt8 { case item, line, number, payload }

    /// The result of one item. `done` has the index after the bytes that were read.
    private enum Step {
        case done(Int)
        case incomplete
        case invalid(ReplyError)
    }

    /// Items to come until the reply is complete, the current one included; 0 between replies.
    private var remaining = 0
    /// Bytes still missing from the current payload, CR LF included.
    private var payload = 0
    private var header = HeaderNumber()
    private var phase = Phase.item
    private var itemType: UInt8 = 0
    /// Whether the current item is the reply itself, and not in an attribute or an element.
    private var isTop = false
    private var sawReturn = false
    /// Whether the line that begins may be one of MONITOR: its first byte has not been seen.
    private var mayBePassedLine = false

    /// Whether statuses that begin with a digit are skipped among the elements of an aggregate.
    /// They are lines of MONITOR: the server writes them between the elements of EXEC's array on a
    /// connection in MONITOR (Redis 6.2 to 7.4, Valkey 8.0). Set it between two replies.
    package var passesLines = false

    /// The reply's type byte; 0 before a reply has begun, also after an attribute. Like the
    /// properties below it keeps its value after `.complete` until the next scan.
    package private(set) var type: UInt8 = 0
    /// The value of a top-level `:`; the number in the header of a top-level bulk (its length in
    /// bytes), array, set or push (elements) or map (pairs), -1 for nulls; else 0.
    package private(set) var integer: Int64 = 0
    /// The beginning of a top-level `+`, `-` or `:` line; empty for all other types.
    package private(set) var head = ReplyHead()

    /// A scanner between two replies.
    package init() {}

    /// Whether the reply is a RESP3 push: out of band, not the reply to a command.
    package var isPush: Bool { type == Byte.greater }

    /// Whether the reply itself is an error, simple or bulk.
    package var isError: Bool { type == Byte.minus || type == Byte.exclamation }

    /// Whether a reply, or an attribute before one, has begun and is not complete.
    package var isInside: Bool { remaining != 0 }

    /// Bytes still missing from the current payload, CR LF included; 0 between payloads.
    package var payloadRemaining: Int { payload }

    /// Looks for the end of the current or next reply from `start` on (0...count). Each scan must
    /// continue at the byte after the last scanned one.
    package mutating func scan(_ bytes: Span<UInt8>, from start: Int) -> ReplyScan {
        guard start < bytes.count else { return .incomplete }
        guard remaining == 0 else { return resume(bytes, start) }
        type = bytes[start]
        integer = 0
        head = ReplyHead()
        if let end = takeWhole(bytes, start) { return .complete(end: end) }
        type = 0
        integer = 0
        head = ReplyHead()
        remaining = 1
        return scanItems(bytes, start)
    }
}

extension ReplyScanner {
    /// The end of a reply that begins at `start`, has come whole, and is neither an error nor a
    /// push; else nil.
    package static func endOfUsual(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        guard start >= 0, start < bytes.count else { return nil }
        switch bytes[start] {
        case Byte.dollar:
            if let bulk = wholeBulk(bytes, at: start, longest: .max) {
                return bulk.next &+ bulk.value &+ 2
            }
            if isNull(bytes, at: start) { return start &+ 5 }
        case Byte.plus:
            let end = indexOfCarriageReturn(bytes, from: start, to: bytes.count)
            if isLineEnd(bytes, at: end) { return end &+ 2 }
        case Byte.colon:
            if let number = wholeInteger(bytes, at: start) { return number.next }
        case Byte.minus, Byte.exclamation, Byte.greater:
            return nil
        default:
            break
        }
        return scannedEnd(bytes, start)
    }

    /// The same for all replies.
    @inline(never)
    private static func scannedEnd(_ bytes: Span<UInt8>, _ start: Int) -> Int? {
        var scanner = ReplyScanner()
        guard case .complete(let end) = scanner.scan(bytes, from: start), !scanner.isError,
            !scanner.isPush
        else { return nil }
        return end
    }
}

extension ReplyScanner {
    /// The end of a reply that is one complete item of the most common kinds, else nil.
    @inline(__always)
    private mutating func takeWhole(_ bytes: Span<UInt8>, _ start: Int) -> Int? {
        switch type {
        case Byte.dollar:
            if let bulk = wholeBulk(bytes, at: start, longest: .max) {
                integer = Int64(bulk.value)
                return bulk.next &+ bulk.value &+ 2
            }
            guard isNull(bytes, at: start) else { return nil }
            integer = -1
            return start &+ 5
        case Byte.plus, Byte.minus:
            let end = head.take(bytes, from: start &+ 1)
            return isLineEnd(bytes, at: end) ? end &+ 2 : nil
        case Byte.colon:
            guard let number = wholeInteger(bytes, at: start) else { return nil }
            integer = Int64(number.value)
            _ = head.take(bytes, from: start &+ 1)
            return number.next
        case Byte.underscore:
            return isLineEnd(bytes, at: start &+ 1) ? start &+ 3 : nil
        default:
            return nil
        }
    }

    /// Scans items until the reply or the span ends.
    @inline(never)
    private mutating func scanItems(_ bytes: Span<UInt8>, _ start: Int) -> ReplyScan {
        var position = start
        while remaining != 0 {
            if type != 0 {
                position = skipWholeItems(bytes, position)
                if remaining == 0 { break }
            }
            guard position < bytes.count else { return .incomplete }
            switch scanItem(bytes, position) {
            case .done(let next): position = next
            case .incomplete: return .incomplete
            case .invalid(let error): return .invalid(error)
            }
        }
        return .complete(end: position)
    }

    /// Skips elements that are complete and of the kinds that large replies consist of. Returns the
    /// index of the first other one.
    @inline(__always)
    private mutating func skipWholeItems(_ bytes: Span<UInt8>, _ start: Int) -> Int {
        var position = start
        var left = remaining
        skipping: while left != 0, position < bytes.count {
            switch bytes[position] {
            case Byte.dollar:
                if let bulk = wholeBulk(bytes, at: position, longest: .max) {
                    position = bulk.next &+ bulk.value &+ 2
                } else if isNull(bytes, at: position) {
                    position &+= 5
                } else {
                    break skipping
                }
                left &-= 1
            case Byte.colon:
                guard let number = wholeInteger(bytes, at: position) else { break skipping }
                position = number.next
                left &-= 1
            case Byte.asterisk:
                // Counts this small cannot overflow; `addItems` checks the large ones.
                guard let array = canonicalHeader(bytes, at: position, marker: Byte.asterisk),
                    array.value < 100
                else { break skipping }
                position = array.next
                left &+= array.value &- 1
            default:
                break skipping
            }
        }
        remaining = left
        return position
    }

    /// One item, or as much of it as has arrived; for an aggregate its header.
    @inline(__always)
    private mutating func scanItem(_ bytes: Span<UInt8>, _ position: Int) -> Step {
        let marker = bytes[position]
        itemType = marker
        isTop = type == 0 && remaining == 1 && marker != Byte.pipe
        if isTop { type = marker }
        switch marker {
        case Byte.plus, Byte.minus, Byte.comma, Byte.parenthesis:
            mayBePassedLine = passesLines && marker == Byte.plus && !isTop
            return scanLine(bytes, position &+ 1)
        case Byte.dollar, Byte.colon, Byte.asterisk, Byte.percent, Byte.tilde, Byte.greater,
            Byte.pipe, Byte.equals, Byte.exclamation, Byte.underscore, Byte.hash:
            header = HeaderNumber()
            return scanNumber(bytes, position &+ 1)
        default:
            return .invalid(.unknownType(marker))
        }
    }

    @inline(never)
    private mutating func resume(_ bytes: Span<UInt8>, _ start: Int) -> ReplyScan {
        let step: Step =
            switch phase {
            case .item: .done(start)
            case .line: scanLine(bytes, start)
            case .number: scanNumber(bytes, start)
            case .payload: scanPayload(bytes, start)
            }
        switch step {
        case .done(let position): return scanItems(bytes, position)
        case .incomplete: return .incomplete
        case .invalid(let error): return .invalid(error)
        }
    }

    /// The rest of a line whose content does not matter. A single CR or LF is part of it.
    private mutating func scanLine(_ bytes: Span<UInt8>, _ start: Int) -> Step {
        let keepsHead = isTop && (itemType == Byte.plus || itemType == Byte.minus)
        var position = start
        phase = .line
        if mayBePassedLine, position < bytes.count {
            mayBePassedLine = false
            if isDigit(bytes[position]) { remaining &+= 1 }
        }
        if sawReturn, position < bytes.count {
            sawReturn = false
            if bytes[position] == Byte.lineFeed { return finishItem(position &+ 1) }
            if keepsHead { head.append(Byte.carriageReturn) }
        }
        while position < bytes.count {
            let end = indexOfCarriageReturn(bytes, from: position, to: bytes.count)
            if keepsHead { head.append(bytes, from: position, to: end) }
            guard end < bytes.count else { return .incomplete }
            guard end &+ 1 < bytes.count else {
                sawReturn = true
                return .incomplete
            }
            if bytes[end &+ 1] == Byte.lineFeed { return finishItem(end &+ 2) }
            if keepsHead { head.append(Byte.carriageReturn) }
            position = end &+ 1
        }
        return .incomplete
    }

    /// The rest of a line that is short and checked: a number, t or f after `#`, nothing after `_`.
    private mutating func scanNumber(_ bytes: Span<UInt8>, _ start: Int) -> Step {
        var position = start
        while position < bytes.count {
            let byte = bytes[position]
            position &+= 1
            if sawReturn {
                guard byte == Byte.lineFeed else {
                    return .invalid(.missingTerminator(type: itemType))
                }
                sawReturn = false
                return finishHeader(bytes, position)
            }
            if byte == Byte.carriageReturn {
                sawReturn = true
            } else {
                guard header.append(byte, type: itemType) else {
                    return .invalid(.malformedHeader(type: itemType))
                }
                if isTop, itemType == Byte.colon { head.append(byte) }
            }
        }
        phase = .number
        return .incomplete
    }

    private mutating func finishHeader(_ bytes: Span<UInt8>, _ position: Int) -> Step {
        guard let value = header.value(type: itemType) else {
            return .invalid(.malformedHeader(type: itemType))
        }
        if isTop { integer = value }
        switch itemType {
        case Byte.dollar, Byte.equals, Byte.exclamation:
            guard value >= 0 else { return finishItem(position) }
            payload = Int(value) &+ 2
            return scanPayload(bytes, position)
        case Byte.asterisk, Byte.tilde:
            return addItems(max(0, Int(value)) - 1, position)
        case Byte.percent:
            return addItems(2 * max(0, Int(value)) - 1, position)
        case Byte.greater:
            // A push inside an aggregate comes between its elements and is not one of them.
            return addItems(isTop ? Int(value) - 1 : Int(value), position)
        case Byte.pipe:
            return addItems(2 * Int(value), position)
        default:
            return finishItem(position)
        }
    }

    private mutating func addItems(_ count: Int, _ position: Int) -> Step {
        // Far from the end of the number range, so that later additions cannot overflow.
        guard remaining < Int.max / 4 else { return .invalid(.malformedHeader(type: itemType)) }
        remaining &+= count
        phase = .item
        return .done(position)
    }

    private mutating func scanPayload(_ bytes: Span<UInt8>, _ start: Int) -> Step {
        let taken = min(payload, bytes.count &- start)
        guard terminatorIsCanonical(bytes, position: start, wanted: payload, taken: taken) else {
            return .invalid(.missingTerminator(type: itemType))
        }
        payload &-= taken
        if payload == 0 { return finishItem(start &+ taken) }
        phase = .payload
        return .incomplete
    }

    @inline(__always)
    private mutating func finishItem(_ position: Int) -> Step {
        remaining &-= 1
        phase = .item
        return .done(position)
    }
}
