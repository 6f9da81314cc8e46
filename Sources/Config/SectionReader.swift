/// Reads one mapping of the file by the schema.
struct SectionReader {
    /// The keys that the section may have.
    let specs: [KeySpec]
    /// The section's path; empty for the top of the file.
    let path: String
    /// Names that are no keys of the schema but may be meant by a wrong one.
    let otherNames: [String]
    /// The origin of the values.
    let origin: Setting.Origin

    /// The keys with a valid value.
    private(set) var settings: [Key: Setting] = [:]
    /// The keys with an invalid value.
    private(set) var broken: Set<Key> = []
    private(set) var diagnostics: [Diagnostic] = []
    private var isMapping = true

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
        case .scalar("", isQuoted: false, _) where origin == .defaults || path == "log":
            // A section whose keys are all commented out.
            break
        default:
            isMapping = false
            report(section.value.position, nil, "has to be a mapping of keys to values")
        }
    }

    /// Reads the section's keys.
    mutating func read(_ entries: [Tree.Entry]) {
        for entry in entries {
            guard let spec = specs.first(where: { $0.key.rawValue == entry.key }) else {
                report(entry.position, entry.key, unknown(entry.key))
                continue
            }
            do throws(ValueProblem) {
                settings[spec.key] = try read(spec, entry.value)
            } catch {
                broken.insert(spec.key)
                let isListed = spec.key == .listen
                report(
                    isListed ? failedElement ?? entry.value.position : entry.value.position,
                    entry.key, error.message)
            }
        }
    }

    private var failedElement: Position?

    private mutating func read(_ spec: KeySpec, _ tree: Tree) throws(ValueProblem) -> Setting {
        failedElement = nil
        if case .listen = spec.kind, case .sequence(let elements, let position) = tree {
            return try readList(elements, position)
        }
        guard case .scalar(let text, let isQuoted, let position) = tree else {
            throw ValueProblem("has to be one value, not a list or a mapping")
        }
        if !isQuoted, ["", "~", "null"].contains(text) {
            throw ValueProblem("has no value")
        }
        let value = try spec.kind.parse(text)
        return Setting(
            value: value, text: text, origin: origin, position: position, elements: [position])
    }

    private mutating func readList(
        _ elements: [Tree], _ position: Position
    ) throws(ValueProblem) -> Setting {
        var addresses: [ListenAddress] = []
        if elements.isEmpty { throw ValueProblem("at least one address is needed") }
        for element in elements {
            failedElement = element.position
            guard case .scalar(let text, _, _) = element else {
                throw ValueProblem("an address has to be text; [v6]:port needs quotes")
            }
            addresses.append(try parseListen(text))
        }
        return Setting(
            value: .listen(addresses), text: "", origin: origin, position: position,
            elements: elements.map(\.position))
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
        if let spec = Schema.keys.first(where: { $0.key.rawValue == name }) {
            return "does not belong here; it is a key of \(place(of: spec))"
        }
        let hint = didYouMean(name, among: specs.map(\.key.rawValue) + otherNames)
        return "unknown key\(hint)"
    }

    private func place(of spec: KeySpec) -> String {
        switch spec.scope {
        case .poolOnly: "a pool (pools.<name>.\(spec.key.rawValue))"
        case .pool: "a pool (pools.<name>.\(spec.key.rawValue)) or of defaults"
        case .global: "the top of the file"
        case .log: "log"
        }
    }
}

extension SectionReader {
    /// The section's values, then those of `defaults`, then the schema's. Keys whose value is
    /// broken, here or there, stay away, so that no further problem is made of them.
    func completed(
        with defaults: [Key: Setting] = [:], broken: Set<Key> = [],
        position: Position = Position(line: 1, column: 1)
    ) -> [Key: Setting] {
        var result = settings
        for spec in specs where result[spec.key] == nil && !self.broken.contains(spec.key) {
            if let setting = defaults[spec.key] {
                result[spec.key] = setting
            } else if !broken.contains(spec.key), case .text(let text) = spec.standard,
                let value = try? spec.kind.parse(text)
            {
                result[spec.key] = Setting(
                    value: value, text: text, origin: .schema, position: position)
            }
        }
        derive(into: &result, broken: self.broken.union(broken), position: position)
        return result
    }

    /// The required keys that the section lacks.
    func missing(at position: Position) -> [Diagnostic] {
        guard isMapping else { return [] }
        return specs.compactMap { spec in
            guard case .required = spec.standard, settings[spec.key] == nil,
                !broken.contains(spec.key)
            else { return nil }
            return Diagnostic(
                line: position.line, column: position.column,
                path: "\(path).\(spec.key.rawValue)", message: "is required (\(spec.doc))")
        }
    }

    /// Fills in the sizes that follow from `maxOpen`.
    private func derive(
        into result: inout [Key: Setting], broken: Set<Key>, position: Position
    ) {
        guard case .integer(let maxOpen)? = result[.maxOpen]?.value else { return }
        func fill(_ key: Key, _ number: Int) {
            guard result[key] == nil, !broken.contains(key) else { return }
            result[key] = Setting(
                value: .integer(number), text: "\(number)", origin: .derived, position: position)
        }
        fill(.maxPinned, maxOpen - max(1, maxOpen / 8))
        fill(.maxIdle, maxOpen)
        guard case .integer(let maxIdle)? = result[.maxIdle]?.value else { return }
        fill(.minIdle, min(1, maxIdle))
    }
}
