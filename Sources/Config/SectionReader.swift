import Pool

/// Reads one mapping of the file by the schema.
struct SectionReader {
    /// The keys that the section may have.
    let specs: [KeySpec]
    /// The section's path; empty for the top of the file.
    let path: String
    /// Names that are not keys of the schema, but may be meant by a misspelled key.
    let otherNames: [String]
    /// The origin of the values.
    let origin: Setting.Origin

    /// The keys with a valid value.
    private(set) var settings: [Key: Setting] = [:]
    /// The keys with an invalid value.
    private(set) var broken: Set<Key> = []
    private(set) var diagnostics: [Diagnostic] = []
    private(set) var isMapping = true

    init(specs: [KeySpec], path: String, otherNames: [String], origin: Setting.Origin) {
        self.specs = specs
        self.path = path
        self.otherNames = otherNames
        self.origin = origin
    }

    /// Reads a section by its entry in the mapping above.
    mutating func read(section: Tree.Entry) {
        switch section.value {
        case .mapping(let entries, _):
            read(entries)
        case .scalar("", isQuoted: false, _)
        where origin == .defaults || ["log", "admin", "http"].contains(path):
            // All keys of the section are commented out.
            break
        default:
            isMapping = false
            let hint = section.value.text.map { BrokenPair.hint($0) } ?? ""
            report(section.value.position, nil, "has to be a mapping of keys to values\(hint)")
        }
    }

    /// Reads the section's keys.
    mutating func read(_ entries: [Tree.Entry]) {
        for entry in entries {
            guard let spec = specs.first(where: { $0.key.name == entry.key }) else {
                if let pair = BrokenPair(entry.key) {
                    report(entry.position, pair.key, pair.problem)
                    if let spec = specs.first(where: { $0.key.name == pair.key }) {
                        broken.insert(spec.key)
                    }
                } else {
                    report(entry.position, entry.key, unknown(entry.key))
                }
                continue
            }
            settings[spec.key] = read(entry, by: spec)
            if settings[spec.key] == nil { broken.insert(spec.key) }
        }
    }

    /// Reads a key's value. If it is invalid, reports that and returns nil.
    private mutating func read(_ entry: Tree.Entry, by spec: KeySpec) -> Setting? {
        do throws(ValueProblem) {
            if case .list(let kind, let empty) = spec.kind,
                case .sequence(let trees, _) = entry.value
            {
                guard !trees.isEmpty || empty != nil else {
                    throw ValueProblem("at least one \(kind.noun) is needed")
                }
                return readList(trees, of: kind, entry)
            }
            return try readScalar(entry.value, spec.kind)
        } catch {
            report(entry.value.position, entry.key, error.message)
            return nil
        }
    }

    private func readScalar(_ tree: Tree, _ kind: Kind) throws(ValueProblem) -> Setting {
        guard case .scalar(let text, let isQuoted, let position) = tree else {
            if case .list = kind {
                throw ValueProblem("has to be one value or a list, not a mapping")
            }
            throw ValueProblem("has to be one value, not a list or a mapping")
        }
        if !isQuoted, isAbsent(text) {
            throw ValueProblem("has no value")
        }
        return Setting(
            value: try kind.parse(text), text: text, origin: origin, position: position,
            elements: [position])
    }

    /// Whether unquoted text is YAML for no value.
    private func isAbsent(_ text: String) -> Bool {
        ["", "~", "null"].contains(text)
    }

    /// Reads a list to its end, so that every problem is reported.
    private mutating func readList(
        _ trees: [Tree], of kind: ElementKind, _ entry: Tree.Entry
    ) -> Setting? {
        var elements: [Element] = []
        var lines: [String: Int] = [:]
        for tree in trees {
            do throws(ValueProblem) {
                guard case .scalar(let text, let isQuoted, _) = tree else {
                    throw ValueProblem(kind.notText)
                }
                if !isQuoted, isAbsent(text) { throw ValueProblem("an element has no value") }
                let element = try kind.parse(text)
                if kind.isSet, let line = lines[element.text] {
                    throw ValueProblem("\(element.text) appears twice (first at line \(line))")
                }
                lines[element.text] = tree.position.line
                elements.append(element)
            } catch {
                report(tree.position, entry.key, error.message)
            }
        }
        guard elements.count == trees.count else { return nil }
        return Setting(
            value: .list(elements), text: "", origin: origin, position: entry.value.position,
            elements: trees.map(\.position))
    }

    private mutating func report(_ position: Position, _ key: String?, _ message: String) {
        let parts = [path, key.map { shown($0) } ?? ""].filter { !$0.isEmpty }
        diagnostics.append(
            Diagnostic(
                line: position.line, column: position.column,
                path: parts.joined(separator: "."), message: message))
    }

    private func unknown(_ name: String) -> String {
        if name == "<<" { return "merge keys (<<) are not supported" }
        if let spec = Schema.keys.first(where: { $0.key.name == name }) {
            return "does not belong here; it is a key of \(place(of: spec))"
        }
        let hint = didYouMean(name, among: specs.map(\.key.name) + otherNames)
        return "unknown key\(hint)"
    }

    private func place(of spec: KeySpec) -> String {
        switch spec.scope {
        case .poolOnly: "a pool (pools.<name>.\(spec.key.name))"
        case .pool: "a pool (pools.<name>.\(spec.key.name)) or of defaults"
        case .global: "the top of the file"
        case .log: "log"
        case .admin: "admin"
        case .http: "http"
        }
    }
}

extension SectionReader {
    /// The section's values, then those of `defaults`, then the schema's. Keys with an invalid
    /// value in either section are left out, so that no further problem is reported for them.
    func completed(
        with defaults: [Key: Setting] = [:], broken: Set<Key> = [],
        position: Position = Position(line: 1, column: 1)
    ) -> [Key: Setting] {
        var result = settings
        for spec in specs where result[spec.key] == nil && !self.broken.contains(spec.key) {
            if let setting = defaults[spec.key] {
                result[spec.key] = setting
            } else if !broken.contains(spec.key), let (value, text) = spec.standardValue {
                result[spec.key] = Setting(
                    value: value, text: text, origin: .schema, position: position)
            }
        }
        derive(into: &result, broken: self.broken.union(broken), position: position)
        return result
    }

    /// A problem for each required key that the section lacks.
    func missing(at position: Position) -> [Diagnostic] {
        guard isMapping else { return [] }
        return specs.compactMap { spec in
            guard case .required = spec.standard, settings[spec.key] == nil,
                !broken.contains(spec.key)
            else { return nil }
            return Diagnostic(
                line: position.line, column: position.column,
                path: "\(path).\(spec.key.name)", message: "is required (\(spec.doc))")
        }
    }

    /// Adds the sizes that are derived from `maxOpen`.
    private func derive(
        into result: inout [Key: Setting], broken: Set<Key>, position: Position
    ) {
        guard case .integer(let maxOpen)? = result[.maxOpen]?.value else { return }
        func fill(_ key: Key, _ number: Int) {
            guard result[key] == nil, !broken.contains(key) else { return }
            result[key] = Setting(
                value: .integer(number), text: "\(number)", origin: .derived, position: position)
        }
        fill(.maxPinned, PoolLimits.standardPins(of: maxOpen))
        fill(.maxIdle, maxOpen)
        guard case .integer(let maxIdle)? = result[.maxIdle]?.value else { return }
        fill(.minIdle, min(1, maxIdle))
    }
}
