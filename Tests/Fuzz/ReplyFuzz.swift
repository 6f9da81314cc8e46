// Fuzzes the reply scanner. However the bytes are cut, the boundaries must be the same, and the
// cursor must end a whole reply where the scanner does.

private struct Event: Equatable {
    var end: Int
    var type: UInt8
    var integer: Int64
    var head: [UInt8]
    var error: ReplyError?
}

/// Scans pieces, each a span of its own; `step` gives the size of each.
private func feed(_ bytes: Span<UInt8>, step: () -> Int) -> [Event] {
    var scanner = ReplyScanner()
    var events: [Event] = []
    var base = 0
    while base < bytes.count {
        let span = bytes.extracting(base..<min(bytes.count, base + step()))
        var position = 0
        scanning: while position < span.count {
            switch scanner.scan(span, from: position) {
            case .complete(let end):
                precondition(end > position && end <= span.count && !scanner.isInside)
                position = end
                events.append(
                    Event(
                        end: base + end, type: scanner.type, integer: scanner.integer,
                        head: scanner.head.bytes, error: nil))
            case .incomplete:
                precondition(scanner.isInside)
                break scanning
            case .invalid(let error):
                return events + [Event(end: -1, type: 0, integer: 0, head: [], error: error)]
            }
        }
        base += span.count
    }
    return events
}

@c(LLVMFuzzerTestOneInput)
public func fuzzReply(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    guard input.count > 1 else { return 0 }
    var seed = UInt32(input[0])
    let bytes = input.span.extracting(1...)
    let whole = feed(bytes) { bytes.count }
    precondition(whole == feed(bytes) { 1 })
    precondition(
        whole
            == feed(bytes) {
                seed = seed &* 1_664_525 &+ 1_013_904_223
                return Int(seed >> 28) + 1
            })
    var start = 0
    for event in whole {
        var cursor = ReplyCursor(from: start)
        guard event.end >= 0 else {
            while let item = cursor.next(bytes) {
                precondition(item.start + item.length <= bytes.count)
            }
            break
        }
        while let item = cursor.next(bytes) {
            precondition(item.start + item.length <= event.end && item.depth >= 0)
        }
        precondition(cursor.position == event.end)
        start = event.end
    }
    return 0
}
