import RESP
import Testing

@Suite("arguments and canonical form")
struct CommandArgumentsTests {
    private static func frame(_ bytes: [UInt8], at start: Int = 0) -> CommandFrame? {
        var scanner = CommandScanner()
        let scan = scanner.scan(bytes.span, frameStart: start, limits: .init())
        guard case .command(let frame) = scan else { return nil }
        return frame
    }

    @Test("arguments are found in a frame in the middle of a buffer")
    func middle() throws {
        let lead = utf8("PING\r\n")
        let bytes = lead + utf8("*3\r\n$5\r\nXREAD\r\n$0\r\n\r\n$5\r\nBLOCK\r\n*1\r\n")
        let frame = try #require(Self.frame(bytes, at: lead.count))
        let arguments = argumentsOf(frame, bytes.span)
        #expect(arguments == [utf8("XREAD"), [], utf8("BLOCK")])
    }

    @Test("a walk over bytes that are gone ends instead of trapping")
    func gone() throws {
        let bytes = utf8("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n")
        let frame = try #require(Self.frame(bytes))
        for count in 0..<bytes.count {
            let span = bytes.span.extracting(0..<count)
            var walk = CommandArguments(span, frame: frame)
            var found = 0
            while walk.next(span) != nil { found += 1 }
            #expect(found < 2)
        }
    }

    @Test("every unchecked byte becomes CR LF and no other byte changes")
    func canonical() throws {
        let sound = utf8("*3\r\n$3\r\nSET\r\n$4\r\n\r\rXX\r\n$0\r\n\r\n")
        let unchecked = [3, 7, 11, 12, 16, 21, 22, 26, 27, 28]
        for mask in 0..<(1 << unchecked.count) {
            var bytes = sound
            for (bit, index) in unchecked.enumerated() where mask & (1 << bit) != 0 {
                bytes[index] = 0x58
            }
            let frame = try #require(Self.frame(bytes))
            #expect(frame.isCanonical == (bytes == sound))
            var span = bytes.mutableSpan
            canonicalize(&span, frame: frame)
            #expect(bytes == sound)
        }
    }

    @Test("only the frame itself is rewritten")
    func neighbours() throws {
        var bytes = utf8("*1\rX$1\rXaXX*1\rX$1\rXbXX*1\rX$1\rXcXX")
        let frame = try #require(Self.frame(bytes, at: 11))
        var span = bytes.mutableSpan
        canonicalize(&span, frame: frame)
        #expect(bytes == utf8("*1\rX$1\rXaXX*1\r\n$1\r\nb\r\n*1\rX$1\rXcXX"))
    }
}
