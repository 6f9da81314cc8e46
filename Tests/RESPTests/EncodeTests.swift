import RESP
import Testing

@Suite("encoding")
struct EncodeTests {
    private static func text(_ write: (inout [UInt8]) -> Void) -> String {
        var output = utf8("before|")
        write(&output)
        return String(String(decoding: output, as: UTF8.self).dropFirst(7))
    }

    @Test("each form has its bytes")
    func forms() {
        #expect(
            Self.text { Encode.command(["GET", ""], into: &$0) } == "*2\r\n$3\r\nGET\r\n$0\r\n\r\n")
        #expect(Self.text { Encode.command([[0x61]], into: &$0) } == "*1\r\n$1\r\na\r\n")
        #expect(Self.text { Encode.simpleString("OK", into: &$0) } == "+OK\r\n")
        #expect(Self.text { Encode.error("ERR a\r\nb", into: &$0) } == "-ERR a  b\r\n")
        #expect(Self.text { Encode.bulk("é", into: &$0) } == "$2\r\né\r\n")
        #expect(Self.text { Encode.bulk([0x61, 0x0D], into: &$0) } == "$2\r\na\r\r\n")
        #expect(Self.text { Encode.null(.resp2, into: &$0) } == "$-1\r\n")
        #expect(Self.text { Encode.null(.resp3, into: &$0) } == "_\r\n")
        #expect(Self.text { Encode.arrayHeader(0, into: &$0) } == "*0\r\n")
        #expect(Self.text { Encode.mapHeader(7, .resp2, into: &$0) } == "*14\r\n")
        #expect(Self.text { Encode.mapHeader(7, .resp3, into: &$0) } == "%7\r\n")
        #expect(Self.text { Encode.verbatim(utf8("a\n"), .resp2, into: &$0) } == "$2\r\na\n\r\n")
        #expect(
            Self.text { Encode.verbatim(utf8("a\n"), .resp3, into: &$0) } == "=6\r\ntxt:a\n\r\n")
    }

    @Test(
        "integers of the whole range", arguments: [0, 9, 10, -1, 1234567890, .max, .min] as [Int64])
    func integers(value: Int64) {
        #expect(Self.text { Encode.integer(value, into: &$0) } == ":\(value)\r\n")
    }

    @Test(
        "protocol errors read as Redis writes them",
        arguments: [
            (.invalidMultibulkLength, "invalid multibulk length"),
            (.invalidBulkLength, "invalid bulk length"),
            (.expectedDollar(got: 0x3A), "expected '$', got ':'"),
            (.expectedDollar(got: 0x0D), "expected '$', got ' '"),
            (.expectedDollar(got: 0x0A), "expected '$', got ' '"),
            (.expectedDollar(got: 0x01), "expected '$', got '\u{1}'"),
            (.tooBigMultibulkCountString, "too big mbulk count string"),
            (.tooBigBulkCountString, "too big bulk count string"),
            (.tooBigInlineRequest, "too big inline request"),
            (.unbalancedQuotes, "unbalanced quotes in request"),
            (.unauthenticatedMultibulkLength, "unauthenticated multibulk length"),
            (.unauthenticatedBulkLength, "unauthenticated bulk length"),
        ] as [(ProtocolError, String)])
    func protocolErrors(error: ProtocolError, text: String) {
        #expect(error.message == "Protocol error: \(text)")
        #expect(
            Self.text { Encode.error(error, into: &$0) } == "-ERR Protocol error: \(text)\r\n")
    }

    @Test("the unexpected byte is sent raw, whatever it is")
    func rawByte() {
        var output: [UInt8] = []
        Encode.error(ProtocolError.expectedDollar(got: 0xFF), into: &output)
        #expect(output == utf8("-ERR Protocol error: expected '$', got '") + [0xFF] + utf8("'\r\n"))
        #expect(ProtocolError.expectedDollar(got: 0xFF).message.hasSuffix("got 'ÿ'"))
    }
}
