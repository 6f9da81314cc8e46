/// A value and its origin.
struct Setting: Sendable {
    /// The origin of a value. Earlier cases override later ones.
    enum Origin: Sendable, Equatable {
        /// The key itself, in the pool or at the top of the file.
        case own
        /// The key in `defaults`.
        case defaults
        /// A rule of the schema, applied to the values of other keys.
        case derived
        /// The schema's default.
        case schema
    }

    var value: Value
    /// The value in the syntax of the file.
    var text: String
    var origin: Origin
    /// Where the value is in the file. For a value of the schema, where the pool's name is.
    var position: Position
    /// Where the elements of a list are; empty if the list is not in the file.
    var elements: [Position] = []

    /// The value for messages: `32, from defaults at line 17`.
    var described: String {
        switch origin {
        case .own: "\(text), at line \(position.line)"
        case .defaults: "\(text), from defaults at line \(position.line)"
        case .derived, .schema: "\(text), the default"
        }
    }
}

/// A pool while it is being checked.
struct PoolDraft: Sendable {
    let name: String
    let position: Position
    /// The keys with a valid value: all keys, if the pool has no problem.
    var settings: [Key: Setting]

    /// The value of the key `upstream`; nil if there is no valid one.
    var upstream: UpstreamSpec? {
        if case .upstream(let spec)? = settings[.upstream]?.value { spec } else { nil }
    }

    /// The path of a key: of the pool, or of `defaults` if its value comes from there.
    func path(_ key: Key) -> String {
        settings[key]?.origin == .defaults
            ? "defaults.\(key.rawValue)" : "pools.\(name).\(key.rawValue)"
    }
}

/// A configuration file between text and `Config`: every key with its value and origin, and the
/// problems found.
struct Resolution {
    private(set) var pools: [PoolDraft] = []
    /// The keys at the top of the file and in `log`.
    private(set) var globals: [Key: Setting] = [:]
    var diagnostics: [Diagnostic] = []

    /// True when no problem is an error.
    var isValid: Bool { !diagnostics.contains { $0.severity == .error } }

    /// Reads and checks a text. Does not read the files that it names.
    init(text: String) {
        let document = Document(text: text)
        diagnostics = document.problems
        guard diagnostics.isEmpty else { return }
        switch document.root {
        case nil:
            report(
                Position(line: 1, column: 1), "", "the file is empty; at least one pool is needed")
        case .mapping(let entries, _):
            readRoot(entries)
        case .scalar(let text, _, let position):
            let hint = BrokenPair.hint(text)
            report(position, "", "the file has to be a mapping, such as pools: ...\(hint)")
        case .sequence(_, let position):
            report(position, "", "the file has to be a mapping, such as pools: ...")
        }
        for pool in pools {
            diagnostics += checkSizes(pool) + checkTimes(pool) + checkCredentials(pool)
            diagnostics += checkPubSub(pool)
            diagnostics += checkSentinelCredentials(pool)
            diagnostics += checkTLS(pool) + checkListenTLS(pool) + checkExposure(pool)
        }
        diagnostics += checkAddresses(pools) + checkConsole() + checkHTTP()
    }

    mutating func report(_ position: Position, _ path: String, _ message: String) {
        diagnostics.append(
            Diagnostic(
                line: position.line, column: position.column, path: path, message: message))
    }

    private mutating func readRoot(_ entries: [Tree.Entry]) {
        let sections = ["pools", "defaults", "log", "admin", "http"]
        var defaults: [Key: Setting] = [:]
        var broken: Set<Key> = []
        var reader = SectionReader(
            specs: Schema.globalKeys, path: "", otherNames: sections, origin: .own)
        reader.read(entries.filter { !sections.contains($0.key) })
        globals = reader.completed()
        diagnostics += reader.diagnostics
        if let entry = entries.first(where: { $0.key == "defaults" }) {
            var reader = SectionReader(
                specs: Schema.poolKeys.filter { $0.scope == .pool }, path: "defaults",
                otherNames: [], origin: .defaults)
            reader.read(section: entry)
            (defaults, broken) = (reader.settings, reader.broken)
            diagnostics += reader.diagnostics
        }
        for (name, specs) in [
            ("log", Schema.logKeys), ("admin", Schema.adminKeys), ("http", Schema.httpKeys),
        ] {
            var reader = SectionReader(specs: specs, path: name, otherNames: [], origin: .own)
            if let entry = entries.first(where: { $0.key == name }) { reader.read(section: entry) }
            globals.merge(reader.completed()) { first, _ in first }
            diagnostics += reader.diagnostics
        }
        if let entry = entries.first(where: { $0.key == "pools" }) {
            readPools(entry, defaults: defaults, broken: broken)
        } else {
            report(Position(line: 1, column: 1), "pools", "at least one pool is needed")
        }
    }

    private mutating func readPools(
        _ entry: Tree.Entry, defaults: [Key: Setting], broken: Set<Key>
    ) {
        guard case .mapping(let entries, _) = entry.value else {
            return report(
                entry.value.position, "pools",
                "has to be a mapping of names to pools"
                    + (entry.value.text.map { BrokenPair.hint($0) } ?? ""))
        }
        if entries.isEmpty { report(entry.position, "pools", "at least one pool is needed") }
        for entry in entries {
            let name = shown(entry.key)
            if name == "<<" {
                report(entry.position, "pools.<<", "merge keys (<<) are not supported")
                continue
            }
            if !isPoolName(entry.key) {
                report(
                    entry.position, "pools.\(name)",
                    "a pool's name is 1 to 32 of the characters a-z, 0-9, _ and -")
            }
            var reader = SectionReader(
                specs: Schema.poolKeys, path: "pools.\(name)", otherNames: [], origin: .own)
            reader.read(section: entry)
            diagnostics += reader.diagnostics
            let settings = reader.completed(
                with: defaults, broken: broken, position: entry.position)
            diagnostics += reader.missing(at: entry.position)
            if reader.isMapping { diagnostics += reader.checkSource(at: entry.position) }
            pools.append(PoolDraft(name: name, position: entry.position, settings: settings))
        }
    }

    private func isPoolName(_ name: String) -> Bool {
        (1...32).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
