// Every key in effect with its value and where that comes from, as rows for the console.

/// A configuration's file and its text, from which the rows are made when somebody asks: that takes
/// less memory than the rows.
package struct ConfigSource: Sendable, Equatable {
    /// The path of the file.
    package let file: String
    /// Its contents.
    package let text: String

    package init(file: String, text: String) {
        self.file = file
        self.text = text
    }

    /// A key in effect.
    package struct Row: Sendable, Equatable {
        /// With its section: `pools.main.maxOpen`.
        package let key: String
        /// In the syntax of the file; nil if it has none.
        package let value: String?
        /// The same for the default.
        package let standard: String?
        /// `FILE:LINE`, or `default`.
        package let source: String
        /// The class of the key for a reload.
        package let change: String
    }

    /// All keys, in the order of the schema; those of each pool together. No row if the text has
    /// errors.
    package var rows: [Row] {
        let resolution = Resolution(text: text)
        guard resolution.isValid else { return [] }
        var rows: [Row] = []
        for pool in resolution.pools {
            rows += Schema.poolKeys.map { spec in
                row(
                    spec, "pools.\(pool.name).",
                    pool.userFromURL(spec.key) ?? pool.settings[spec.key])
            }
        }
        for (section, specs) in Schema.sections {
            rows += specs.map { row($0, section, resolution.globals[$0.key]) }
        }
        return rows
    }

    private func row(_ spec: KeySpec, _ section: String, _ setting: Setting?) -> Row {
        let source: String
        switch setting?.origin {
        case .own, .defaults: source = "\(file):\(setting?.position.line ?? 0)"
        case .derived, .schema, nil: source = "default"
        }
        return Row(
            key: section + spec.key.name, value: setting?.shownValue ?? spec.valueIfUnset,
            standard: spec.shownStandard, source: source, change: spec.reload.rawValue)
    }
}

extension Setting {
    /// The value on one line.
    fileprivate var shownValue: String {
        guard case .list(let elements) = value else { return text }
        return elements.map(\.text).joined(separator: ", ")
    }
}

extension KeySpec {
    /// The value in effect without a setting, if the rule for it always leads to the same one.
    fileprivate var valueIfUnset: String? {
        if case .derived(let text, _) = standard { text } else { nil }
    }

    fileprivate var shownStandard: String? {
        switch standard {
        case .required, .depends: nil
        case .text(let text): text
        case .list(let texts): texts.joined(separator: ", ")
        case .derived(_, let rule): rule
        }
    }
}

extension PoolDraft {
    /// The user from the URL of `upstream` or `cluster`, which overrides a value from `defaults`;
    /// nil for any other key, and if there is none.
    func userFromURL(_ key: Key) -> Setting? {
        guard key == .username, settings[.username]?.origin != .own,
            let user = userOfURL, let source = sourceKey, var setting = settings[source]
        else { return nil }
        setting.value = .text(user)
        setting.text = user
        return setting
    }
}

extension Config {
    /// A duration in the syntax of the file, in nanoseconds; nil for any other text.
    package static func duration(_ text: String) -> Int64? { try? parseDuration(text) }
}
