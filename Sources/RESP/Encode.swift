/// The two versions of the protocol; the raw value is the number in HELLO.
package enum ProtocolVersion: UInt8, Sendable {
    case resp2 = 2
    case resp3 = 3
}

/// Appends commands and replies of Redpool's own to a buffer.
package enum Encode {
    /// A command as an array of bulk strings. There must be at least one argument: servers ignore
    /// empty arrays and never answer them.
    package static func command(_ arguments: [[UInt8]], into output: inout [UInt8]) {
        precondition(!arguments.isEmpty, "a command has a name")
        arrayHeader(arguments.count, into: &output)
        for argument in arguments { bulk(argument, into: &output) }
    }

    /// The same for text.
    package static func command(_ arguments: [String], into output: inout [UInt8]) {
        precondition(!arguments.isEmpty, "a command has a name")
        arrayHeader(arguments.count, into: &output)
        for argument in arguments { bulk(argument, into: &output) }
    }

    /// `+text`. Line breaks become spaces, as in Redis.
    package static func simpleString(_ text: String, into output: inout [UInt8]) {
        line(Byte.plus, text.utf8, into: &output)
    }

    /// `-text`. The text begins with an error word such as `ERR`. Line breaks become spaces.
    package static func error(_ text: String, into output: inout [UInt8]) {
        line(Byte.minus, text.utf8, into: &output)
    }

    /// `-ERR Protocol error: ...`, byte for byte as Redis sends it.
    package static func error(_ error: ProtocolError, into output: inout [UInt8]) {
        line(Byte.minus, Array("ERR ".utf8) + error.messageBytes, into: &output)
    }

    /// `:value`
    package static func integer(_ value: Int64, into output: inout [UInt8]) {
        header(Byte.colon, value, into: &output)
    }

    /// A bulk string.
    package static func bulk(_ bytes: [UInt8], into output: inout [UInt8]) {
        bulk(bytes, type: Byte.dollar, into: &output)
    }

    /// A bulk string of text in UTF-8.
    package static func bulk(_ text: String, into output: inout [UInt8]) {
        bulk(text.utf8, type: Byte.dollar, into: &output)
    }

    /// A bulk string of bytes in a span; none where the range goes beyond it.
    package static func bulk(_ bytes: Span<UInt8>, _ range: Range<Int>, into output: inout [UInt8])
    {
        let range = range.clamped(to: 0..<bytes.count)
        header(Byte.dollar, Int64(range.count), into: &output)
        let content = bytes.extracting(range)
        unsafe content.withUnsafeBufferPointer { unsafe output.append(contentsOf: $0) }
        lineBreak(into: &output)
    }

    /// A null: `$-1` or `_`.
    package static func null(_ version: ProtocolVersion, into output: inout [UInt8]) {
        switch version {
        case .resp2: header(Byte.dollar, -1, into: &output)
        case .resp3: header(Byte.underscore, nil, into: &output)
        }
    }

    /// The header of an array of `count` elements (0 or more), which follow.
    package static func arrayHeader(_ count: Int, into output: inout [UInt8]) {
        header(Byte.asterisk, Int64(count), into: &output)
    }

    /// The header of a map of `count` pairs (0 or more); keys and values follow in turn. RESP2 has
    /// no maps: there it is the header of an array of twice as many elements.
    package static func mapHeader(
        _ count: Int, _ version: ProtocolVersion, into output: inout [UInt8]
    ) {
        switch version {
        case .resp2: header(Byte.asterisk, 2 * Int64(count), into: &output)
        case .resp3: header(Byte.percent, Int64(count), into: &output)
        }
    }

    /// Plain text in the form that Redis uses for INFO and CLIENT LIST: `=N` with the format `txt`;
    /// in RESP2 a bulk string.
    package static func verbatim(
        _ text: [UInt8], _ version: ProtocolVersion, into output: inout [UInt8]
    ) {
        switch version {
        case .resp2: bulk(text, into: &output)
        case .resp3: bulk(Array("txt:".utf8) + text, type: Byte.equals, into: &output)
        }
    }

    private static func bulk(
        _ bytes: some Collection<UInt8>, type: UInt8, into output: inout [UInt8]
    ) {
        header(type, Int64(bytes.count), into: &output)
        output.append(contentsOf: bytes)
        lineBreak(into: &output)
    }

    private static func line(
        _ type: UInt8, _ text: some Sequence<UInt8>, into output: inout [UInt8]
    ) {
        output.append(type)
        for byte in text {
            let isBreak = byte == Byte.carriageReturn || byte == Byte.lineFeed
            output.append(isBreak ? UInt8(ascii: " ") : byte)
        }
        lineBreak(into: &output)
    }

    private static func header(_ type: UInt8, _ value: Int64?, into output: inout [UInt8]) {
        output.append(type)
        if let value { decimal(value, into: &output) }
        lineBreak(into: &output)
    }

    /// A number in decimal digits.
    package static func decimal(_ value: Int64, into output: inout [UInt8]) {
        if value < 0 { output.append(Byte.minus) }
        // The largest magnitude has 19 digits.
        var digits = InlineArray<19, UInt8>(repeating: 0)
        var first = digits.count
        var rest = value.magnitude
        repeat {
            first -= 1
            digits[first] = Byte.zero + UInt8(rest % 10)
            rest /= 10
        } while rest > 0
        for index in first..<digits.count { output.append(digits[index]) }
    }

    private static func lineBreak(into output: inout [UInt8]) {
        output.append(Byte.carriageReturn)
        output.append(Byte.lineFeed)
    }
}
