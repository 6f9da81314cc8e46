// Redis's inline commands, as a person types them into telnet. The rules are exactly those of
// `sdssplitargs` (Redis 7.0, sds.c), so that a client cannot tell the difference.

/// Splits inline lines into words.
package enum InlineParser {
    /// The words of a line (without its CR LF), or nil when its quotes are not balanced: then Redis
    /// answers `ProtocolError.unbalancedQuotes`. An empty or blank line has no words.
    ///
    /// Double quotes know `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` and `\` before any other byte;
    /// single quotes know `\'` only. A blank or the end must follow a closing quote. A NUL ends the
    /// line, as in C.
    package static func split(_ line: Span<UInt8>) -> [[UInt8]]? {
        var words: [[UInt8]] = []
        var position = 0
        while true {
            while isBlank(byte(line, position)) { position += 1 }
            guard byte(line, position) != 0 else { return words }
            guard let word = nextWord(line, &position) else { return nil }
            words.append(word)
        }
    }

    /// The byte at `index`, or the NUL that ends a C string.
    @inline(__always)
    private static func byte(_ line: Span<UInt8>, _ index: Int) -> UInt8 {
        index < line.count ? line[index] : 0
    }

    /// C's `isspace` in the C locale.
    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0D).contains(byte)
    }

    private static func nextWord(_ line: Span<UInt8>, _ position: inout Int) -> [UInt8]? {
        var word: [UInt8] = []
        while true {
            let current = byte(line, position)
            switch current {
            // A vertical tab or form feed separates words only before a word, not after one.
            case 0x20, 0x0A, 0x0D, 0x09, 0: return word
            case UInt8(ascii: "\""):
                position += 1
                return doubleQuoted(line, &position, &word) ? word : nil
            case UInt8(ascii: "'"):
                position += 1
                return singleQuoted(line, &position, &word) ? word : nil
            default:
                word.append(current)
                position += 1
            }
        }
    }

    /// Reads up to the closing quote. False when there is none, or a word continues after it.
    private static func doubleQuoted(
        _ line: Span<UInt8>, _ position: inout Int, _ word: inout [UInt8]
    ) -> Bool {
        while true {
            let current = byte(line, position)
            let following = byte(line, position + 1)
            switch current {
            case 0: return false
            case UInt8(ascii: "\""):
                position += 1
                return following == 0 || isBlank(following)
            case UInt8(ascii: "\\") where following != 0:
                if following == UInt8(ascii: "x"),
                    let high = hexDigit(byte(line, position + 2)),
                    let low = hexDigit(byte(line, position + 3))
                {
                    word.append(high << 4 | low)
                    position += 4
                } else {
                    word.append(escaped(following))
                    position += 2
                }
            default:
                word.append(current)
                position += 1
            }
        }
    }

    private static func singleQuoted(
        _ line: Span<UInt8>, _ position: inout Int, _ word: inout [UInt8]
    ) -> Bool {
        let quote = UInt8(ascii: "'")
        while true {
            let current = byte(line, position)
            let following = byte(line, position + 1)
            if current == 0 { return false }
            if current == quote {
                position += 1
                return following == 0 || isBlank(following)
            }
            let isEscape = current == UInt8(ascii: "\\") && following == quote
            word.append(isEscape ? quote : current)
            position += isEscape ? 2 : 1
        }
    }

    private static func escaped(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "a"): 0x07
        default: byte
        }
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
