import Testing

@testable import RESP

@Suite("Examples of malformed bytes")
struct ProtocolErrorTests {
    private static let all: [ProtocolError] = [
        .invalidMultibulkLength, .invalidBulkLength, .expectedDollar(got: UInt8(ascii: "x")),
        .expectedDollar(got: 13), .tooBigMultibulkCountString, .tooBigBulkCountString,
        .tooBigInlineRequest,
    ]

    /// What the scanner says to `bytes`, behind a frame's first line if `isInside`.
    private func found(_ bytes: [UInt8], isInside: Bool) -> CommandScan {
        let all = (isInside ? Array("*3\r\n$3\r\nSET\r\n".utf8) : []) + bytes
        var scanner = CommandScanner()
        return scanner.scan(all.span, frameStart: 0, limits: CommandLimits())
    }

    @Test("an example is malformed in the way that it is one of", arguments: all)
    func examples(error: ProtocolError) {
        #expect(found(error.example(isInside: false), isInside: false) == .invalid(error))
        switch error {
        case .invalidBulkLength, .expectedDollar, .tooBigBulkCountString:
            #expect(found(error.example(isInside: true), isInside: true) == .invalid(error))
        default: break
        }
    }

    @Test("an example of what is only refused before a login is refused behind one too")
    func unauthenticated() {
        let bytes = ProtocolError.unauthenticatedBulkLength.example(isInside: false)
        #expect(found(bytes, isInside: false) == .invalid(.invalidBulkLength))
        #expect(InlineParser.split(Array("\"x".utf8).span) == nil)
    }
}
