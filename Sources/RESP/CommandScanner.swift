// Finds where a client's commands end, by exactly the rules of Redis 7.0. The state is small: a
// client keeps a scanner only while a frame is incomplete, and a complete command is scanned with a
// fresh one. The scanner neither copies bytes nor interprets commands.

/// A resumable scanner for what clients send: RESP arrays of bulk strings and inline lines.
///
/// No byte is scanned twice, except those of an incomplete header line. For lines of more than 64
/// KB, Redis's own answer depends on how the bytes are split into reads; the scanner answers like a
/// Redis that gets them one by one.
///
/// State: *between frames* (all fields as initialised, or `searched` > 0 in an incomplete first
/// line) -> *in a header* (`remaining` > 0, `payload` == 0) <-> *in a payload* (`payload` > 0) ->
/// *between frames* when `remaining` reaches 0.
package struct CommandScanner: Sendable {
    /// Bytes of the incomplete frame, from its start, that need not be scanned again.
    private var verified = 0
    /// Bytes still missing from the current payload, its two terminator bytes included.
    private var payload = 0
    /// Bytes of the incomplete line that have been searched for its end.
    private var searched = 0
    private var nameLength = 0
    /// Offsets of arguments are relative to the start of the frame.
    private var firstStart = 0
    private var firstLength = -1
    private var argumentCount: Int32 = 0
    /// Arguments that are not complete; 0 while the first line is incomplete.
    private var remaining: Int32 = 0
    /// At most 35: an argument count has up to 10 digits, a length up to 19.
    private var nameStart: UInt8 = 0
    private var isCanonical = true
    private var isTaken = false

    /// A scanner between two frames.
    package init() {}

    /// True when no byte of a frame has been seen: the scanner is in its initial state.
    package var isBetweenFrames: Bool { remaining == 0 && searched == 0 && verified == 0 }

    /// Verified bytes of the incomplete frame, from `frameStart`: complete header lines and payload
    /// bytes. 0 between frames and in an incomplete inline line.
    package var scanned: Int { verified }

    /// Bytes still missing from the current payload, CR LF included; 0 between payloads.
    package var payloadRemaining: Int { payload }

    /// The argument count of the incomplete frame; 0 when its first line is incomplete.
    package var announcedArguments: Int { Int(argumentCount) }

    /// True when every verified byte of the incomplete frame, taken ones included, is what a strict
    /// encoder writes.
    package var isCanonicalSoFar: Bool { isCanonical }

    /// While incomplete: the argument count, and argv[0] relative to `frameStart`. Nil until
    /// argv[0] is complete with its terminator, and after `takeScanned`.
    package var partialFrame: (argumentCount: Int, nameStart: Int, nameLength: Int)? {
        guard remaining < argumentCount, !isTaken else { return nil }
        return (Int(argumentCount), Int(nameStart), nameLength)
    }

    /// While incomplete: argv[1] relative to `frameStart`. Nil until it is complete with its
    /// terminator, and after `takeScanned`.
    package var partialFirst: (start: Int, length: Int)? {
        guard remaining < argumentCount - 1, !isTaken else { return nil }
        return (firstStart, firstLength)
    }

    /// For streaming a large command: the caller has taken the first `scanned` bytes, and the next
    /// scan's `frameStart` is the first byte after them. Such a frame is forwarded as it came. It
    /// cannot be made canonical any more (`isCanonicalSoFar`).
    package mutating func takeScanned() {
        guard verified > 0 else { return }
        verified = 0
        isTaken = true
    }

    /// Looks for the end of the current frame. `frameStart` is the index of its first byte that is
    /// still in the buffer (0...count). Between two scans of one frame, bytes may only be added at
    /// the end, or taken as `takeScanned` describes.
    ///
    /// After `.command`, `.inline` and `.skip` the scanner is ready for the next frame.
    package mutating func scan(
        _ bytes: Span<UInt8>, frameStart: Int, limits: borrowing CommandLimits
    ) -> CommandScan {
        if remaining != 0 { return resume(bytes, frameStart, limits) }
        let line = canonicalHeader(bytes, at: frameStart, marker: Byte.asterisk)
        guard let line, line.value > 0, limits.refusal(ofCount: line.value) == nil else {
            return scanFirstLine(bytes, frameStart, limits)
        }
        searched = 0
        var progress = Progress(line)
        progress.takeWholeArguments(bytes, longest: limits.maxBulkLength)
        guard progress.remaining == 0 else {
            return scanArguments(bytes, frameStart, limits, progress)
        }
        return .command(
            CommandFrame(
                start: frameStart, end: progress.position, argumentCount: line.value,
                nameStart: progress.nameStart, nameLength: progress.nameLength,
                firstStart: progress.firstStart, firstLength: progress.firstLength,
                isCanonical: true))
    }
}

extension CommandScanner {
    /// The state of one scan, in registers while the frame is complete.
    private struct Progress {
        var position: Int
        var argumentCount: Int32
        var remaining: Int32
        var nameStart = 0
        var nameLength = 0
        var firstStart = 0
        var firstLength = -1
        var isCanonical = true

        /// The state after the first line of a frame.
        @inline(__always)
        init(_ line: Header) {
            position = line.next
            argumentCount = Int32(truncatingIfNeeded: line.value)
            remaining = argumentCount
        }

        /// Skips arguments that are complete and in the form that encoders write: nearly always all
        /// of them. `scanArguments` handles the rest.
        @inline(__always)
        mutating func takeWholeArguments(_ bytes: Span<UInt8>, longest: Int) {
            guard let name = wholeBulk(bytes, at: position, longest: longest) else { return }
            nameStart = name.next
            nameLength = name.value
            position = name.next &+ name.value &+ 2
            remaining &-= 1
            guard remaining > 0 else { return }
            guard let first = wholeBulk(bytes, at: position, longest: longest) else { return }
            firstStart = first.next
            firstLength = first.value
            position = first.next &+ first.value &+ 2
            remaining &-= 1
            while remaining > 0 {
                guard let next = wholeBulk(bytes, at: position, longest: longest) else { return }
                position = next.next &+ next.value &+ 2
                remaining &-= 1
            }
        }
    }

    /// The result of parsing a header line the slow way.
    private enum SlowHeader {
        case header(Header)
        case incomplete, tooLong, notNumber, wrongMarker
    }

    /// A first line that is incomplete, missing, or not in the form that encoders write.
    @inline(never)
    private mutating func scanFirstLine(
        _ bytes: Span<UInt8>, _ frameStart: Int, _ limits: borrowing CommandLimits
    ) -> CommandScan {
        guard frameStart < bytes.count else { return .incomplete }
        guard bytes[frameStart] == Byte.asterisk else {
            return scanInline(bytes, frameStart, limits)
        }
        let line: Header
        switch slowHeader(bytes, frameStart, Byte.asterisk, limits) {
        case .header(let header): line = header
        case .incomplete: return .incomplete
        case .tooLong: return .invalid(.tooBigMultibulkCountString)
        case .notNumber, .wrongMarker: return .invalid(.invalidMultibulkLength)
        }
        if let refusal = limits.refusal(ofCount: line.value) { return .invalid(refusal) }
        guard line.value > 0 else { return .skip(next: line.next) }
        var progress = Progress(line)
        progress.isCanonical = bytes[line.next &- 1] == Byte.lineFeed
        return scanArguments(bytes, frameStart, limits, progress)
    }

    /// The remaining arguments, in any form.
    @inline(never)
    private mutating func scanArguments(
        _ bytes: Span<UInt8>, _ frameStart: Int, _ limits: borrowing CommandLimits,
        _ initial: Progress
    ) -> CommandScan {
        var progress = initial
        repeat {
            let header: Header
            let position = progress.position
            if let short = shortHeader(bytes, at: position), bytes[position] == Byte.dollar {
                header = short
                searched = 0
            } else {
                switch slowHeader(bytes, position, Byte.dollar, limits) {
                case .header(let slow): header = slow
                case .incomplete: return suspend(progress, frameStart)
                case .tooLong: return .invalid(.tooBigBulkCountString)
                case .notNumber: return .invalid(.invalidBulkLength)
                case .wrongMarker: return .invalid(.expectedDollar(got: bytes[position]))
                }
            }
            if let refusal = limits.refusal(ofLength: header.value) { return .invalid(refusal) }
            if bytes[header.next &- 1] != Byte.lineFeed { progress.isCanonical = false }
            if progress.remaining == progress.argumentCount {
                progress.nameStart = header.next
                progress.nameLength = header.value
            } else if progress.remaining == progress.argumentCount &- 1 {
                progress.firstStart = header.next
                progress.firstLength = header.value
            }
            let wanted = header.value &+ 2
            guard bytes.count &- header.next >= wanted else {
                return suspendInPayload(bytes, progress, frameStart, header, wanted)
            }
            let end = header.next &+ wanted
            if bytes[end &- 2] != Byte.carriageReturn || bytes[end &- 1] != Byte.lineFeed {
                progress.isCanonical = false
            }
            progress.position = end
            progress.remaining &-= 1
        } while progress.remaining > 0
        return finish(progress, frameStart)
    }

    private mutating func finish(_ progress: Progress, _ frameStart: Int) -> CommandScan {
        let frame = CommandFrame(
            start: frameStart, end: progress.position,
            argumentCount: Int(progress.argumentCount),
            nameStart: isTaken ? frameStart : progress.nameStart,
            nameLength: isTaken ? 0 : progress.nameLength,
            firstStart: isTaken ? frameStart : progress.firstStart,
            firstLength: isTaken ? -1 : progress.firstLength,
            isCanonical: progress.isCanonical)
        self = CommandScanner()
        return .command(frame)
    }

    /// Saves the state of an incomplete frame. `progress.position` is the next byte to scan.
    private mutating func suspend(_ progress: Progress, _ frameStart: Int) -> CommandScan {
        verified = progress.position - frameStart
        nameLength = progress.nameLength
        nameStart = UInt8(truncatingIfNeeded: progress.nameStart &- frameStart)
        firstStart = progress.firstStart &- frameStart
        firstLength = progress.firstLength
        argumentCount = progress.argumentCount
        remaining = progress.remaining
        isCanonical = progress.isCanonical
        return .incomplete
    }

    private mutating func suspendInPayload(
        _ bytes: Span<UInt8>, _ progress: Progress, _ frameStart: Int, _ header: Header,
        _ wanted: Int
    ) -> CommandScan {
        var progress = progress
        let available = bytes.count &- header.next
        progress.position = bytes.count
        if !terminatorIsCanonical(bytes, position: header.next, wanted: wanted, taken: available) {
            progress.isCanonical = false
        }
        payload = wanted &- available
        return suspend(progress, frameStart)
    }

    private mutating func resume(
        _ bytes: Span<UInt8>, _ frameStart: Int, _ limits: borrowing CommandLimits
    ) -> CommandScan {
        let start = frameStart &+ verified
        let taken = min(payload, max(0, bytes.count &- start))
        if taken > 0 {
            let isSound = terminatorIsCanonical(
                bytes, position: start, wanted: payload, taken: taken)
            if !isSound { isCanonical = false }
            payload &-= taken
            verified &+= taken
            if payload == 0 { remaining &-= 1 }
        }
        guard payload == 0 else { return .incomplete }
        var progress = Progress(Header(value: Int(argumentCount), next: start &+ taken))
        progress.remaining = remaining
        progress.nameStart = frameStart &+ Int(nameStart)
        progress.nameLength = nameLength
        progress.firstStart = frameStart &+ firstStart
        progress.firstLength = firstLength
        progress.isCanonical = isCanonical
        guard remaining > 0 else { return finish(progress, frameStart) }
        return scanArguments(bytes, frameStart, limits, progress)
    }

    /// A header line that is incomplete, negative or malformed. Redis looks for the CR with
    /// `strchr`, so a NUL hides it, and requires one more byte of any value after the CR.
    private mutating func slowHeader(
        _ bytes: Span<UInt8>, _ lineStart: Int, _ marker: UInt8, _ limits: borrowing CommandLimits
    ) -> SlowHeader {
        guard let end = lineEnd(bytes, lineStart, Byte.carriageReturn, limits) else {
            return bytes.count &- lineStart > limits.maxInlineLength ? .tooLong : .incomplete
        }
        guard end &+ 1 < bytes.count else { return .incomplete }
        searched = 0
        guard bytes[lineStart] == marker else { return .wrongMarker }
        guard let value = strictInteger(bytes, from: lineStart &+ 1, to: end) else {
            return .notNumber
        }
        return .header(Header(value: value, next: end &+ 2))
    }

    private mutating func scanInline(
        _ bytes: Span<UInt8>, _ start: Int, _ limits: borrowing CommandLimits
    ) -> CommandScan {
        guard let newline = lineEnd(bytes, start, Byte.lineFeed, limits) else {
            return bytes.count &- start > limits.maxInlineLength
                ? .invalid(.tooBigInlineRequest) : .incomplete
        }
        searched = 0
        let hasReturn = newline > start && bytes[newline &- 1] == Byte.carriageReturn
        return .inline(start: start, end: hasReturn ? newline &- 1 : newline, next: newline &+ 1)
    }

    /// The index of the terminator of the line that begins at `start`. Nil if it is not found; then
    /// the searched length is saved. A terminator beyond the longest allowed line or after a NUL is
    /// not found.
    private mutating func lineEnd(
        _ bytes: Span<UInt8>, _ start: Int, _ terminator: UInt8, _ limits: borrowing CommandLimits
    ) -> Int? {
        let available = bytes.count &- start
        let isOver = available > limits.maxInlineLength
        let limit = isOver ? start &+ limits.maxInlineLength &+ 1 : bytes.count
        let end = indexOfStringEnd(
            bytes, byte: terminator, from: start &+ searched, to: limit)
        searched = end &- start
        guard end < limit, bytes[end] == terminator else { return nil }
        return end
    }
}
