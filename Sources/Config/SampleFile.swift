// Writes config/redpool.yaml from the schema.

extension Config {
    /// The text of `config/redpool.yaml`: every key with its default and its purpose. Keys whose
    /// default is derived from others are comments, so that they stay derived.
    package static func sampleFile() -> String {
        var lines = [
            "# Redpool's configuration: every key with its default. See docs/configuration.md.",
            "# `redpool check FILE` reports every mistake in a file, or prints the configuration in effect.",
            "# Durations need a unit (ms, s, m, h), sizes too (b, kb, mb, gb; 1kb is 1024 bytes).",
            "",
            "pools:",
            "  main:  # 1 to 32 of a-z, 0-9, _ and -; names the pool in the log",
        ]
        lines += [
            "    # \(doc(.listen)).",
            "    # host:port, \"[v6]:port\", \"*:port\" or unix:/path; with TLS: rediss://host:port.",
            "    listen:",
            "      - 127.0.0.1:6380",
            "    # \(doc(.upstream)):",
            "    # host:port, \"[v6]:port\", unix:/path or redis://[user@]host[:port][/db];",
            "    # with TLS: rediss://[user@]host[:port][/db].",
            "    upstream: 127.0.0.1:6379",
            "    # In place of upstream, \(doc(.sentinels, isSentence: false)),",
            "    # and \(doc(.primaryName, isSentence: false)):",
            "    # sentinels: [10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379]",
            "    # primaryName: mymaster",
            "    # Or \(doc(.cluster, isSentence: false)):",
            "    # cluster: [10.0.0.1:6379, 10.0.0.2:6379, 10.0.0.3:6379]",
            "",
            "# For every pool. A pool may set each of these keys itself.",
            "defaults:",
        ]
        for spec in Schema.poolKeys where spec.scope == .pool {
            lines += sample(spec, indent: 2)
        }
        for spec in Schema.globalKeys {
            lines.append("")
            lines += sample(spec, indent: 0)
        }
        for (name, specs) in [
            ("log", Schema.logKeys), ("admin", Schema.adminKeys), ("http", Schema.httpKeys),
        ] {
            lines += ["", "\(name):"]
            for spec in specs { lines += sample(spec, indent: 2) }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func doc(_ key: Key, isSentence: Bool = true) -> String {
        let text = Schema.keys.first { $0.key == key }?.doc ?? ""
        if !isSentence { return text }
        return text.prefix(1).uppercased() + text.dropFirst()
    }

    private static func sample(_ spec: KeySpec, indent: Int) -> [String] {
        let margin = String(repeating: " ", count: indent)
        let name = spec.key.name
        let comment = "\(margin)# \(doc(spec.key))."
        switch spec.standard {
        case .required, .depends:
            return []
        case .text(let text):
            let value = quotedYAML(text, isMode: spec.kind.isMode)
            return [comment, annotated("\(margin)\(name): \(value)", spec.kind.range)]
        case .list(let texts):
            let items = texts.map { "\(margin)  - \(quotedYAML($0))" }
            return [comment, annotated("\(margin)\(name):", spec.kind.range)] + items
        case .derived(let text, let rule):
            return [comment, annotated("\(margin)# \(name): \(text)", "unless set: \(rule)")]
        }
    }
}
