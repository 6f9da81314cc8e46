// Which patterns match a name, as Redis decides (7.0 util.c, stringmatchlen, case-sensitive).

/// Redis's glob-style patterns: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal character.
package enum Glob {
    /// Whether the pattern matches the whole name. Nil if that takes more than `left` comparisons,
    /// of which it takes those that it makes: a pattern of many `*` takes the product of both
    /// lengths.
    package static func matches(
        _ pattern: Span<UInt8>, _ name: Span<UInt8>, left: inout Int
    ) -> Bool? {
        // A pattern of `*` alone does not match the empty name.
        if name.isEmpty { return pattern.isEmpty }
        var place = 0
        var next = 0
        // Where to go on if the rest behind the last `*` does not match: it takes one byte more.
        var retry: (place: Int, next: Int)?
        while left > 0 {
            left -= 1
            if place < pattern.count, pattern[place] == star {
                while place + 1 < pattern.count, pattern[place + 1] == star { place += 1 }
                if place + 1 == pattern.count { return true }
                place += 1
                retry = (place, next)
                continue
            }
            if let end = element(pattern, at: place, matches: name[next]) {
                place = end
                next += 1
                if next < name.count { continue }
                while place < pattern.count, pattern[place] == star { place += 1 }
                if place == pattern.count { return true }
            }
            guard let last = retry, last.next + 1 < name.count else { return false }
            retry = (last.place, last.next + 1)
            place = last.place
            next = last.next + 1
        }
        return nil
    }

    private static let star = UInt8(ascii: "*")
    private static let backslash = UInt8(ascii: "\\")

    /// The index behind the element at `place`, if that matches the byte; else nil.
    private static func element(
        _ pattern: Span<UInt8>, at place: Int, matches byte: UInt8
    ) -> Int? {
        guard place < pattern.count else { return nil }
        switch pattern[place] {
        case UInt8(ascii: "?"): return place + 1
        case UInt8(ascii: "["): return set(pattern, from: place + 1, matches: byte)
        case backslash where place + 1 < pattern.count:
            return pattern[place + 1] == byte ? place + 2 : nil
        case let other: return other == byte ? place + 1 : nil
        }
    }

    /// The same for a set, whose first element is at `start`. One without an end reaches to the end
    /// of the pattern.
    private static func set(_ pattern: Span<UInt8>, from start: Int, matches byte: UInt8) -> Int? {
        var place = start
        let isNegated = place < pattern.count && pattern[place] == UInt8(ascii: "^")
        if isNegated { place += 1 }
        var isFound = false
        while place < pattern.count, pattern[place] != UInt8(ascii: "]") {
            if pattern[place] == backslash, place + 1 < pattern.count {
                if pattern[place + 1] == byte { isFound = true }
                place += 2
            } else if place + 2 < pattern.count, pattern[place + 1] == UInt8(ascii: "-") {
                if isInside(byte, pattern[place], pattern[place + 2]) { isFound = true }
                place += 3
            } else {
                if pattern[place] == byte { isFound = true }
                place += 1
            }
        }
        guard isFound != isNegated else { return nil }
        return min(place + 1, pattern.count)
    }

    /// The bounds may come in any order. They are compared as C's `char`, which has a sign on x86.
    private static func isInside(_ byte: UInt8, _ first: UInt8, _ second: UInt8) -> Bool {
        let value = Int8(bitPattern: byte)
        let (one, other) = (Int8(bitPattern: first), Int8(bitPattern: second))
        return value >= min(one, other) && value <= max(one, other)
    }
}
