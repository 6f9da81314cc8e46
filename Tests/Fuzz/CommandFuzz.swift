// Fuzzes the command scanner. However the bytes are cut, the frames must be the same; a canonical
// frame must be what its arguments encode to, and a frame made canonical must be one, too.

private struct Event: Equatable {
    var end: Int
    var frame: [Int] = []
    var isCanonical = true
    var inline: [Int] = []
    var error: ProtocolError?
}

/// The first byte of the input selects the limits, the second seeds the cuts.
private func limits(for selector: UInt8) -> CommandLimits {
    switch selector % 3 {
    case 0: return CommandLimits()
    case 1: return .beforeAuthentication
    default:
        // Small enough for the fuzzer to pass them.
        var limits = CommandLimits()
        limits.maxArguments = 20
        limits.maxBulkLength = 100
        limits.maxInlineLength = 40
        return limits
    }
}

private func event(_ scan: CommandScan, base: Int, isStreaming: Bool) -> Event? {
    switch scan {
    case .command(let frame):
        var numbers = [frame.argumentCount]
        if !isStreaming {
            numbers += [base + frame.start, base + frame.nameStart, frame.nameLength]
            numbers += [frame.firstLength < 0 ? 0 : base + frame.firstStart, frame.firstLength]
        }
        return Event(end: base + frame.end, frame: numbers, isCanonical: frame.isCanonical)
    case .inline(let start, let end, let next):
        return Event(end: base + next, inline: [base + start, base + end])
    case .skip(let next): return Event(end: base + next)
    case .invalid(let error): return Event(end: -1, error: error)
    case .incomplete: return nil
    }
}

/// Scans as bytes arrive: `step` gives the size of each piece. Bytes before the current frame are
/// dropped, and with `isStreaming` also what is scanned of it.
private func feed(
    _ bytes: Span<UInt8>, _ limits: CommandLimits, isStreaming: Bool, step: () -> Int
) -> [Event] {
    var scanner = CommandScanner()
    var events: [Event] = []
    var base = 0
    var visible = 0
    while visible < bytes.count {
        visible = min(bytes.count, visible + step())
        while base < visible {
            let span = bytes.extracting(base..<visible)
            let scan = scanner.scan(span, frameStart: 0, limits: limits)
            guard let event = event(scan, base: base, isStreaming: isStreaming) else {
                precondition(scanner.scanned <= span.count)
                precondition(scanner.payloadRemaining == 0 || scanner.scanned == span.count)
                if isStreaming {
                    base += scanner.scanned
                    scanner.takeScanned()
                }
                break
            }
            events.append(event)
            if event.end < 0 { return events }
            precondition(event.end > base && event.end <= visible)
            base = event.end
        }
    }
    return events
}

/// Redis 7.0's `processInputBuffer` in its own words, for bytes that arrive one by one: where each
/// request ends, and the error, -1 and its text, if there is one.
private func reference(_ bytes: [UInt8], _ limits: CommandLimits) -> [(Int, ProtocolError?)] {
    var found: [(Int, ProtocolError?)] = []
    var position = 0
    let tooBig = { (start: Int) in bytes.count - start > limits.maxInlineLength }
    /// The index of the terminator and whether there is one, as `strchr` sees it.
    func line(_ start: Int, _ terminator: UInt8) -> Int? {
        var index = start
        while index < bytes.count, index - start <= limits.maxInlineLength {
            if bytes[index] == terminator { return index }
            if bytes[index] == 0 { return nil }
            index += 1
        }
        return nil
    }
    func number(_ start: Int, _ end: Int) -> Int? {
        let text = String(decoding: (start..<max(start, end)).map { bytes[$0] }, as: UTF8.self)
        guard let value = Int(text), String(value) == text else { return nil }
        return value
    }
    while position < bytes.count {
        if bytes[position] != 0x2A {
            guard let end = line(position, 10) else {
                return tooBig(position) ? found + [(-1, .tooBigInlineRequest)] : found
            }
            position = end + 1
            found.append((position, nil))
            continue
        }
        guard let end = line(position, 13) else {
            return tooBig(position) ? found + [(-1, .tooBigMultibulkCountString)] : found
        }
        guard end + 1 < bytes.count else { return found }
        guard let count = number(position + 1, end), count <= 2_147_483_647,
            limits.unauthenticated || count <= limits.maxArguments
        else { return found + [(-1, .invalidMultibulkLength)] }
        guard count <= limits.maxArguments else {
            return found + [(-1, .unauthenticatedMultibulkLength)]
        }
        position = end + 2
        for _ in 0..<max(0, count) {
            guard let end = line(position, 13) else {
                return tooBig(position) ? found + [(-1, .tooBigBulkCountString)] : found
            }
            guard end + 1 < bytes.count else { return found }
            guard bytes[position] == 0x24 else {
                return found + [(-1, .expectedDollar(got: bytes[position]))]
            }
            let most = limits.unauthenticated ? 536_870_912 : limits.maxBulkLength
            guard let length = number(position + 1, end), length >= 0, length <= most else {
                return found + [(-1, .invalidBulkLength)]
            }
            guard length <= limits.maxBulkLength else {
                return found + [(-1, .unauthenticatedBulkLength)]
            }
            guard bytes.count - end - 2 >= length + 2 else { return found }
            position = end + 2 + length + 2
        }
        found.append((position, nil))
    }
    return found
}

private func checkEncoding(_ bytes: Span<UInt8>, _ limits: CommandLimits) {
    var scanner = CommandScanner()
    var start = 0
    while start < bytes.count {
        switch scanner.scan(bytes, frameStart: start, limits: limits) {
        case .command(let frame):
            var walk = CommandArguments(bytes, frame: frame)
            var arguments: [[UInt8]] = []
            while let (start, length) = walk.next(bytes) {
                arguments.append((0..<length).map { bytes[start + $0] })
            }
            precondition(arguments.count == frame.argumentCount)
            var encoded: [UInt8] = []
            Encode.command(arguments, into: &encoded)
            var raw = (frame.start..<frame.end).map { bytes[$0] }
            precondition((raw == encoded) == frame.isCanonical)
            var inner = CommandScanner()
            guard case .command(let alone) = inner.scan(raw.span, frameStart: 0, limits: limits)
            else { preconditionFailure("the frame alone is no command") }
            var span = raw.mutableSpan
            canonicalize(&span, frame: alone)
            precondition(raw == encoded)
            start = frame.end
        case .inline(_, _, let next), .skip(let next): start = next
        case .incomplete, .invalid: return
        }
    }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzCommand(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    guard input.count > 2 else { return 0 }
    let limits = limits(for: input[0])
    var seed = UInt32(input[1])
    let bytes = input.span.extracting(2...)
    let random = {
        seed = seed &* 1_664_525 &+ 1_013_904_223
        return Int(seed >> 28) + 1
    }
    for isStreaming in [false, true] {
        let whole = feed(bytes, limits, isStreaming: isStreaming) { bytes.count }
        precondition(whole == feed(bytes, limits, isStreaming: isStreaming) { 1 })
        let expected = reference(Array(input[2...]), limits)
        precondition(whole.map(\.end) == expected.map(\.0))
        precondition(whole.last?.error == expected.last?.1)
        precondition(whole == feed(bytes, limits, isStreaming: isStreaming, step: random))
    }
    checkEncoding(bytes, limits)
    return 0
}
