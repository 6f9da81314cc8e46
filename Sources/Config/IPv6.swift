/// The IPv6 address in the form of RFC 5952 (lower case, the longest run of zeros as `::`), so that
/// equal addresses are equal text; nil if the text is not one. A zone is refused.
func canonicalIPv6(_ text: String) -> String? {
    let halves = splitCompression(text)
    guard let halves, halves.count <= 2 else { return nil }
    guard var groups = parseGroups(halves[0], allowsIPv4: halves.count == 1) else { return nil }
    if halves.count == 2 {
        guard let tail = parseGroups(halves[1], allowsIPv4: true) else { return nil }
        let missing = 8 - groups.count - tail.count
        guard missing >= 1 else { return nil }
        groups += Array(repeating: 0, count: missing) + tail
    }
    return groups.count == 8 ? formatGroups(groups) : nil
}

/// The parts around `::`: one part without it, two with it, nil if it occurs more than once.
private func splitCompression(_ text: String) -> [Substring]? {
    let bytes = Array(text.utf8)
    let places = bytes.indices.dropLast().filter {
        bytes[$0] == UInt8(ascii: ":") && bytes[$0 + 1] == UInt8(ascii: ":")
    }
    guard let place = places.first else { return [text[...]] }
    guard places.count == 1 else { return nil }
    let start = text.utf8.index(text.startIndex, offsetBy: place)
    return [text[..<start], text[text.utf8.index(start, offsetBy: 2)...]]
}

private func parseGroups(_ text: Substring, allowsIPv4: Bool) -> [UInt16]? {
    if text.isEmpty { return [] }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    var groups: [UInt16] = []
    for (index, part) in parts.enumerated() {
        if allowsIPv4, index == parts.count - 1, isIPv4(String(part)) {
            let bytes = part.split(separator: ".").compactMap { UInt16($0) }
            groups += [bytes[0] << 8 | bytes[1], bytes[2] << 8 | bytes[3]]
            continue
        }
        guard (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit),
            let group = UInt16(part, radix: 16)
        else { return nil }
        groups.append(group)
    }
    return groups
}

private func formatGroups(_ groups: [UInt16]) -> String {
    var best = 0..<0
    var start = 0
    while start < 8 {
        var end = start
        while end < 8, groups[end] == 0 { end += 1 }
        if end - start > max(1, best.count) { best = start..<end }
        start = max(end, start + 1)
    }
    let words = groups.map { String($0, radix: 16) }
    guard !best.isEmpty else { return words.joined(separator: ":") }
    let head = words[..<best.lowerBound].joined(separator: ":")
    let tail = words[best.upperBound...].joined(separator: ":")
    return head + "::" + tail
}
