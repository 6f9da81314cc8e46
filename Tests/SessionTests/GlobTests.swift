import Session
import TestSupport
import Testing

/// Patterns as Redis 7.0 matches them (util.c, stringmatchlen).
@Suite struct GlobTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let pattern: String
        let name: String
        let isMatch: Bool
        var testDescription: String {
            "\(pattern) \(isMatch ? "matches" : "does not match") \(name)"
        }
    }

    static let rows = [
        Row(pattern: "", name: "", isMatch: true), Row(pattern: "", name: "a", isMatch: false),
        Row(pattern: "*", name: "", isMatch: false), Row(pattern: "*", name: "a", isMatch: true),
        Row(pattern: "**", name: "abc", isMatch: true),
        Row(pattern: "a*", name: "a", isMatch: true),
        Row(pattern: "a**", name: "a", isMatch: true),
        Row(pattern: "*a", name: "ba", isMatch: true),
        Row(pattern: "*ab", name: "aab", isMatch: true),
        Row(pattern: "a*b*c", name: "aXbYbc", isMatch: true),
        Row(pattern: "a*b*c", name: "aXbYb", isMatch: false),
        Row(pattern: "?", name: "", isMatch: false), Row(pattern: "a?", name: "a", isMatch: false),
        Row(pattern: "a?c", name: "abc", isMatch: true),
        Row(pattern: "h[ae]llo", name: "hello", isMatch: true),
        Row(pattern: "h[ae]llo", name: "hillo", isMatch: false),
        Row(pattern: "h[^e]llo", name: "hallo", isMatch: true),
        Row(pattern: "h[^e]llo", name: "hello", isMatch: false),
        Row(pattern: "[a-c]", name: "b", isMatch: true),
        Row(pattern: "[c-a]", name: "b", isMatch: true),
        Row(pattern: "[a-c]", name: "d", isMatch: false),
        Row(pattern: "[a-]", name: "-", isMatch: false),
        Row(pattern: "[a-]", name: "]", isMatch: true),
        Row(pattern: "[\\]]", name: "]", isMatch: true),
        Row(pattern: "[a", name: "a", isMatch: true), Row(pattern: "[", name: "a", isMatch: false),
        Row(pattern: "[^", name: "a", isMatch: true), Row(pattern: "[]", name: "a", isMatch: false),
        Row(pattern: "[^]", name: "a", isMatch: true),
        Row(pattern: "\\*", name: "*", isMatch: true),
        Row(pattern: "\\*", name: "a", isMatch: false),
        Row(pattern: "a\\", name: "a\\", isMatch: true),
        Row(pattern: "A", name: "a", isMatch: false), Row(pattern: "a", name: "ab", isMatch: false),
    ]

    @Test(arguments: rows) func matches(_ row: Row) {
        #expect(
            matches(Array(row.pattern.utf8), Array(row.name.utf8)) == row.isMatch)
    }

    private func matches(_ pattern: [UInt8], _ name: [UInt8], steps: Int = 100_000) -> Bool? {
        var left = steps
        return Glob.matches(pattern.span, name.span, left: &left)
    }

    /// Many `*` take the product of both lengths.
    @Test func workIsBounded() {
        let pattern = Array((String(repeating: "a", count: 2000) + "b").utf8)
        let name = [UInt8](repeating: UInt8(ascii: "a"), count: 20_000)
        #expect(matches(Array("*".utf8) + pattern, name) == nil)
        #expect(matches(Array("*".utf8) + pattern, name, steps: .max) == false)
    }

    /// The algorithm of the server, with its recursion.
    @Test(arguments: 1...40) func agreesWithTheRecursion(seed: UInt64) {
        var random = SeededRandom(seed: seed &* 1_000_003)
        let bytes = Array("ab*?[]^-\\\u{7f}".utf8) + [0x80, 0xFF]
        for _ in 0..<2000 {
            let pattern = (0..<random.below(9)).map { _ in bytes[random.below(bytes.count)] }
            let name = (0..<random.below(7)).map { _ in bytes[random.below(bytes.count)] }
            let expected = Recursion.matches(pattern, name)
            #expect(
                matches(pattern, name) == expected, "\(pattern) and \(name)")
        }
    }
}

/// `stringmatchlen` as it is written in C, with a NUL behind the pattern.
private enum Recursion {
    static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        match(pattern[...], name[...])
    }

    private static func match(_ given: ArraySlice<UInt8>, _ left: ArraySlice<UInt8>) -> Bool {
        var (pattern, name) = (given, left)
        while let first = pattern.first, let byte = name.first {
            switch first {
            case UInt8(ascii: "*"):
                while pattern.dropFirst().first == UInt8(ascii: "*") {
                    pattern = pattern.dropFirst()
                }
                let rest = pattern.dropFirst()
                if rest.isEmpty { return true }
                return name.indices.contains { match(rest, name[$0...]) }
            case UInt8(ascii: "?"): break
            case UInt8(ascii: "["):
                guard let end = matchSet(pattern.dropFirst(), byte) else { return false }
                pattern = end
                name = name.dropFirst()
                if name.isEmpty { pattern = pattern.drop { $0 == UInt8(ascii: "*") } }
                continue
            case UInt8(ascii: "\\") where pattern.count >= 2:
                pattern = pattern.dropFirst()
                if pattern.first != byte { return false }
            default: if first != byte { return false }
            }
            pattern = pattern.dropFirst()
            name = name.dropFirst()
            if name.isEmpty { pattern = pattern.drop { $0 == UInt8(ascii: "*") } }
        }
        return pattern.isEmpty && name.isEmpty
    }

    private static func matchSet(_ given: ArraySlice<UInt8>, _ byte: UInt8) -> ArraySlice<UInt8>? {
        var set = given
        let isNegated = set.first == UInt8(ascii: "^")
        if isNegated { set = set.dropFirst() }
        var isFound = false
        while let first = set.first, first != UInt8(ascii: "]") {
            let items = Array(set.prefix(3))
            if first == UInt8(ascii: "\\"), items.count >= 2 {
                isFound = isFound || items[1] == byte
                set = set.dropFirst(2)
            } else if items.count == 3, items[1] == UInt8(ascii: "-") {
                let bounds = [items[0], items[2]].map { Int8(bitPattern: $0) }
                isFound =
                    isFound
                    || (bounds.min()!...bounds.max()!).contains(Int8(bitPattern: byte))
                set = set.dropFirst(3)
            } else {
                isFound = isFound || first == byte
                set = set.dropFirst()
            }
        }
        return isFound != isNegated ? set.dropFirst() : nil
    }
}
