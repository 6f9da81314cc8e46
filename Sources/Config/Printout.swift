// Prints the configuration in effect, with the origin of each value.

extension Config {
    /// The configuration in effect: a valid file with every key, its value, and a comment with the
    /// origin of the value (`FILE:LINE`, or the default). Nil if the text has errors. Password
    /// files are named, not read; the result has no secrets.
    package static func effectiveYAML(text: String, file: String) -> String? {
        let resolution = Resolution(text: text)
        guard resolution.isValid else { return nil }
        let printer = EffectivePrinter(file: file)
        return printer.print(resolution)
    }
}

/// Prints one `key: value  # origin` line per key.
private struct EffectivePrinter {
    let file: String

    func print(_ resolution: Resolution) -> String {
        var lines = ["# The effective configuration of \(shown(file)).", "pools:"]
        for pool in resolution.pools {
            lines.append("  \(quotedYAML(pool.name)):")
            for spec in Schema.poolKeys {
                guard let setting = pool.settings[spec.key] else {
                    if case .depends(let rule) = spec.standard {
                        lines.append(annotated("    # \(spec.key.name):", rule))
                    }
                    continue
                }
                lines += print(spec, pool.userFromURL(spec.key) ?? setting, indent: 4)
            }
        }
        for spec in Schema.globalKeys {
            guard let setting = resolution.globals[spec.key] else { continue }
            lines += print(spec, setting, indent: 0)
        }
        lines.append("log:")
        for spec in Schema.logKeys {
            guard let setting = resolution.globals[spec.key] else { continue }
            lines += print(spec, setting, indent: 2)
        }
        lines.append("admin:")
        for spec in Schema.adminKeys {
            if let setting = resolution.globals[spec.key] {
                lines += print(spec, setting, indent: 2)
            } else if case .derived(let text, let rule) = spec.standard {
                // Only the running daemon knows.
                lines.append(annotated("  # \(spec.key.name): \(text)", "default: \(rule)"))
            }
        }
        lines.append("http:")
        for spec in Schema.httpKeys {
            guard let setting = resolution.globals[spec.key] else { continue }
            lines += print(spec, setting, indent: 2)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func print(_ spec: KeySpec, _ setting: Setting, indent: Int) -> [String] {
        let margin = String(repeating: " ", count: indent)
        if case .list(let elements) = setting.value {
            return print(elements, of: setting, spec, margin: margin)
        }
        let value = quotedYAML(setting.text, isMode: spec.kind.isMode)
        return [annotated("\(margin)\(spec.key.name): \(value)", origin(of: setting, spec))]
    }

    /// A list in block style. Each element has its place in the file as a comment; a list that is
    /// not in the file, or is empty, has its origin next to the key.
    private func print(
        _ elements: [Element], of setting: Setting, _ spec: KeySpec, margin: String
    ) -> [String] {
        let head = "\(margin)\(spec.key.name):"
        if elements.isEmpty { return [annotated("\(head) []", origin(of: setting, spec))] }
        let items = elements.map { "\(margin)  - \(quotedYAML($0.text))" }
        guard !setting.elements.isEmpty else {
            return [annotated(head, origin(of: setting, spec))] + items
        }
        return [head]
            + zip(items, setting.elements).map { item, place in
                annotated(item, origin(of: setting, spec, at: place))
            }
    }

    private func origin(of setting: Setting, _ spec: KeySpec, at place: Position? = nil) -> String {
        let line = (place ?? setting.position).line
        switch setting.origin {
        case .own: return "\(shown(file)):\(line)"
        case .defaults: return "\(shown(file)):\(line), defaults"
        case .schema: return "default"
        case .derived:
            guard case .derived(_, let rule) = spec.standard else { return "default" }
            return "default: \(rule)"
        }
    }
}

/// A line with a comment, in a fixed column if the line is short enough.
func annotated(_ line: String, _ comment: String, column: Int = 36) -> String {
    let gap = max(2, column - line.unicodeScalars.count)
    return line + String(repeating: " ", count: gap) + "# " + comment
}

/// Text as a YAML scalar. It is quoted unless every YAML reader, old or new, reads it unquoted as
/// the same text.
func quotedYAML(_ text: String, isMode: Bool = false) -> String {
    let isPlain =
        text.split(separator: " ", omittingEmptySubsequences: false).allSatisfy(isPlainWord)
        && !["null", "yes", "no", "on", "off"].contains(text.lowercased())
    if isPlain, !isMode { return text }
    var result = "\""
    for scalar in text.unicodeScalars {
        if scalar == "\"" || scalar == "\\" { result += "\\" }
        result.unicodeScalars.append(scalar)
    }
    return result + "\""
}

/// Whether YAML needs no quotes for this word at the beginning of a value or after a space.
private func isPlainWord(_ word: Substring) -> Bool {
    word.utf8.first.map { isWordByte($0) || $0 == UInt8(ascii: "/") } == true
        && word.utf8.allSatisfy { isWordByte($0) || "/:@-".utf8.contains($0) }
        && !word.hasSuffix(":")
}

private func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
    default: false
    }
}
