// What differs between two files, and places in a file, for the messages of a reload.

/// A key whose value differs between two configurations.
package struct ConfigChange: Sendable, Equatable {
    /// The key with its place, such as `pools.main.maxOpen`; `pools.main` for a whole pool.
    package let path: String
    /// The former value in the syntax of the file; nil for a pool that is new.
    package let old: String?
    /// The new value; nil for a pool that is removed.
    package let new: String?
    /// Whether the change takes effect only when the process is started again.
    package let needsRestart: Bool

    /// For people: `threads 1 -> 2`.
    package var text: String {
        switch (old, new) {
        case (let old?, let new?):
            "\(path) \(ConfigChange.shown(old)) -> \(ConfigChange.shown(new))"
        case (nil, _): "\(path) added"
        case (_, nil): "\(path) removed"
        }
    }

    private static func shown(_ value: String) -> String { value.isEmpty ? "\"\"" : value }
}

extension ConfigSource {
    /// What differs in `other`, in the order of its file, removed pools last.
    package func changes(to other: ConfigSource) -> [ConfigChange] {
        let old = Resolution(text: text)
        let new = Resolution(text: other.text)
        var changes: [ConfigChange] = []
        for pool in new.pools {
            let path = "pools.\(pool.name)"
            if let before = old.pools.first(where: { $0.name == pool.name }) {
                changes += ConfigSource.changes(
                    before.settings, pool.settings, Schema.poolKeys, under: path + ".")
            } else {
                changes.append(ConfigChange(path: path, old: nil, new: "", needsRestart: false))
            }
        }
        for (section, specs) in Schema.sections {
            changes += ConfigSource.changes(old.globals, new.globals, specs, under: section)
        }
        for pool in old.pools where !new.pools.contains(where: { $0.name == pool.name }) {
            changes.append(
                ConfigChange(path: "pools.\(pool.name)", old: "", new: nil, needsRestart: false))
        }
        return changes
    }

    private static func changes(
        _ old: [Key: Setting], _ new: [Key: Setting], _ specs: [KeySpec], under path: String
    ) -> [ConfigChange] {
        specs.compactMap { spec in
            let before = old[spec.key].map(shown) ?? standard(of: spec)
            let after = new[spec.key].map(shown) ?? standard(of: spec)
            guard before != after else { return nil }
            return ConfigChange(
                path: path + spec.key.name, old: before, new: after,
                needsRestart: spec.reload == .restart)
        }
    }

    /// The value of a key that has no setting.
    private static func standard(of spec: KeySpec) -> String {
        if case .derived(let text, _) = spec.standard { text } else { "" }
    }

    private static func shown(_ setting: Setting) -> String {
        guard case .list(let elements) = setting.value else { return setting.text }
        return "[" + elements.map(\.text).joined(separator: ", ") + "]"
    }

    /// A problem with a pool's `listen` that only the system can find, with its place in the file.
    package func listenProblem(of pool: String, _ message: String) -> Diagnostic {
        let draft = Resolution(text: text).pools.first { $0.name == pool }
        let place = draft?.settings[.listen]?.position ?? draft?.position
        return Diagnostic(
            line: place?.line ?? 1, column: place?.column ?? 1, path: "pools.\(pool).listen",
            message: message)
    }
}
