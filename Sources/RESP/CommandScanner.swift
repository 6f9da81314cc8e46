// Finds where a client's commands end, by exactly the rules of Redis 7.0. Each client owns one
// scanner for its life, so the state is small and scanning a command that is whole touches none of
// it. The scanner neither copies bytes nor interprets commands.

/// A resumable scanner for what clients send: RESP arrays of bulk strings and inline lines.
///
/// No byte is looked at twice, apart from those of a header line that was unfinished. Where Redis's
/// own answer depends on how the bytes happen to be cut into reads (lines of more than 64 KB), the
/// scanner gives the answer of a Redis that gets them one by one.
///
/// State: *between frames* (all fields as initialised, or `searched` > 0 in an unfinished first
/// line) -> *in a header* (`remaining` > 0, `payload` == 0) <-> *in a payload* (`payload` > 0)
/// -> *between frames* when `remaining` reaches 0.
package struct CommandScanner: Sendable {
    /// Bytes of the unfinished frame that need not be looked at again, from the frame's start.
    private var verified = 0
    /// Bytes that the current payload still wants, its two terminator bytes included.
    private var payload = 0
    /// Bytes of the unfinished line in which its end was searched in vain.
    private var searched = 0
    private var nameLength = 0
    /// Offsets of arguments are kept relative to the start of the frame.
    private var firstStart = 0
    private var firstLength = -1
    private var argumentCount: Int32 = 0
    /// Arguments that are not complete; 0 while the first line is not.
    private var remaining: Int32 = 0
    /// At most 35: an argument count has up to 10 digits, a length up to 19.
    private var nameStart: UInt8 = 0
    private var isCanonical = true
    private var isTaken = false

    /// A scanner between two frames.
    package init() {}

    /// Nothing of a frame has been seen: the scanner is as it was made.
    package var isBetweenFrames: Bool { remaining == 0 && searched == 0 && verified == 0 }

    /// Bytes of the unfinished frame, from `frameStart`, that are verified: whole header lines and
    /// payload bytes. 0 between frames and in an unfinished inline line.
    package var scanned: Int { verified }

    /// Bytes that the current payload still wants, CR LF included; 0 when between payloads.
    package var payloadRemaining: Int { payload }

    /// The argument count of the unfinished frame; 0 when its first line is not complete.
    package var announcedArguments: Int { Int(argumentCount) }

    /// Whether every verified byte of the unfinished frame, also of those taken away, is what a
    /// strict encoder writes.
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

    /// For streaming a large command: the caller has taken the first `scanned` bytes away, and the
    /// next scan's `frameStart` is the first byte after them. Such a frame is forwarded as it came;
    /// what is not canonical in it can no longer be repaired (`isCanonicalSoFar`).
    package mutating func takeScanned() {
        guard verified > 0 else { return }
        verified = 0
        isTaken = true
    }

    /// Looks for the end of the frame that begins at `frameStart`, the index of the first byte of
    /// the current frame that is still in the buffer (0...count). Between two scans of one frame
    /// bytes may only be added at the end, or taken away as `takeScanned` says.
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
    /// The state of one scan, in registers while the frame is whole.
    private struct Progress {
        var position: Int
        var argumentCount: Int32
        var remaining: Int32
        var nameStart = 0
        var nameLength = 0
        var firstStart = 0
        var firstLength = -1
        var isCanonical = true

        /// The state behind the first line of a frame.
        @inline(__always)
        init(_ line: Header) {
            position = line.next
            argumentCount = Int32(truncatingIfNeeded: line.value)
            remaining = argumentCount
        }

        /// Passes over arguments that are whole and just as an encoder writes them: for nearly all
        /// commands, all of them. What is left needs a closer look.
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

    /// What a header line turned out to be when looked at the slow way.
    private enum SlowHeader {
        case header(Header)
        case incomplete, tooLong, notNumber, wrongMarker
    }

    /// A frame's first line that is unfinished, or not as an encoder writes it, or not there.
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

    /// The arguments that are left, whatever their state.
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

    /// Keeps the state of an unfinished frame whose next byte to look at is `progress.position`.
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

    /// A header line that is unfinished, negative or malformed. Redis looks for the CR with
    /// `strchr`, so a NUL hides it, and it wants one more byte of any value after the CR.
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

    /// The index of the terminator of the line that begins at `start`, or nil after noting how far
    /// was searched. A terminator past the longest line allowed is not found, nor one behind a NUL.
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
