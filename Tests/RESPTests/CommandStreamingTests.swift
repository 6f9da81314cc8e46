import RESP
import Testing

@Suite("streaming of large commands")
struct CommandStreamingTests {
    private static let frame = "*4\r\n$3\r\nSET\r\n$12\r\nabcdefghijkl\r\n$2\r\nEX\r\n$1\r\n9\r\n"

    @Test("taking the scanned bytes away at any point does not move the end of the frame")
    func takenAnywhere() {
        let bytes = utf8(Self.frame)
        for split in 1..<bytes.count {
            var scanner = CommandScanner()
            let first = scanner.scan(
                bytes.span.extracting(0..<split), frameStart: 0, limits: CommandLimits())
            #expect(first == .incomplete)
            let taken = scanner.scanned
            #expect(taken <= split)
            scanner.takeScanned()
            #expect(scanner.scanned == 0)
            let rest = (bytes + utf8("PING\r\n")).span.extracting(taken...)
            guard case .command(let frame) = scanner.scan(rest, frameStart: 0, limits: .init())
            else {
                Issue.record("no command after a cut at \(split)")
                continue
            }
            #expect(frame.end == bytes.count - taken)
            #expect(frame.argumentCount == 4)
            #expect(frame.isCanonical)
            let next = scanner.scan(rest, frameStart: frame.end, limits: .init())
            #expect(next == .inline(start: frame.end, end: frame.end + 4, next: frame.end + 6))
        }
    }

    @Test("bytes may be taken away after every single byte")
    func takenAlways() {
        let bytes = utf8(Self.frame)
        var scanner = CommandScanner()
        var start = 0
        for visible in 1..<bytes.count {
            let span = bytes.span.extracting(start..<visible)
            let scan1 = scanner.scan(span, frameStart: 0, limits: .init())
            #expect(scan1 == .incomplete)
            start += scanner.scanned
            scanner.takeScanned()
            #expect(visible - start < 5, "only an unfinished header line stays")
        }
        let last = scanner.scan(bytes.span.extracting(start...), frameStart: 0, limits: .init())
        guard case .command(let frame) = last else {
            Issue.record("no command")
            return
        }
        #expect(frame.end == bytes.count - start)
        #expect(frame.nameLength == 0)
        #expect(frame.firstLength == -1)
    }

    @Test("what is known of an unfinished frame is told, and nothing before it is known")
    func partial() throws {
        let bytes = utf8(Self.frame)
        for visible in 1..<bytes.count {
            var scanner = CommandScanner()
            let span = bytes.span.extracting(0..<visible)
            let scan2 = scanner.scan(span, frameStart: 0, limits: .init())
            #expect(scan2 == .incomplete)
            #expect(scanner.announcedArguments == (visible < 4 ? 0 : 4))
            #expect((scanner.partialFrame != nil) == (visible >= 13))
            #expect((scanner.partialFirst != nil) == (visible >= 32))
            if let partial = scanner.partialFrame {
                #expect(partial == (4, 8, 3))
            }
            if let first = scanner.partialFirst { #expect(first == (18, 12)) }
            switch visible {
            case 8..<13: #expect(scanner.payloadRemaining == 13 - visible)
            case 18..<32: #expect(scanner.payloadRemaining == 32 - visible)
            case 13..<18: #expect(scanner.payloadRemaining == 0)
            default: break
            }
            if scanner.payloadRemaining > 0 { #expect(scanner.scanned == visible) }
        }
    }

    @Test("a huge argument is announced by its header alone")
    func announced() {
        let bytes = utf8("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nx")
        var scanner = CommandScanner()
        let scan3 = scanner.scan(bytes.span, frameStart: 0, limits: .init())
        #expect(scan3 == .incomplete)
        #expect(scanner.payloadRemaining == 500_000_001)
        #expect(scanner.scanned == bytes.count)
        scanner.takeScanned()
        #expect(scanner.partialFrame == nil)
        #expect(scanner.partialFirst == nil)
    }

    @Test("what is not canonical in the bytes taken is remembered")
    func nonCanonical() {
        let bytes = utf8("*1\rX$4\r\nPING\r\n")
        var scanner = CommandScanner()
        let head = bytes.span.extracting(0..<6)
        let scan4 = scanner.scan(head, frameStart: 0, limits: .init())
        #expect(scan4 == .incomplete)
        #expect(!scanner.isCanonicalSoFar)
        #expect(scanner.scanned == 4)
        scanner.takeScanned()
        let rest = bytes.span.extracting(4...)
        guard case .command(let frame) = scanner.scan(rest, frameStart: 0, limits: .init()) else {
            Issue.record("no command")
            return
        }
        #expect(!frame.isCanonical)
        #expect(scanner.isCanonicalSoFar, "the next frame begins afresh")
    }
}
