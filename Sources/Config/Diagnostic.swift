/// One problem of a configuration file, at the place to fix.
package struct Diagnostic: Sendable, Hashable {
    /// Whether the file can be used despite the problem.
    package enum Severity: String, Sendable, Hashable {
        /// The configuration is refused.
        case error
        /// The configuration is used, but part of it cannot be intended.
        case warning
    }

    /// The line, starting at 1.
    package let line: Int
    /// The column, starting at 1, counted in Unicode scalars.
    package let column: Int
    /// Whether the file can be used despite the problem.
    package let severity: Severity
    /// The dotted name of the key, such as `pools.main.maxOpen`; empty for problems of the file.
    package let path: String
    /// What is wrong, without a final full stop and without a line break.
    package let message: String

    package init(
        line: Int, column: Int, severity: Severity = .error, path: String, message: String
    ) {
        self.line = line
        self.column = column
        self.severity = severity
        self.path = path
        self.message = message
    }

    /// The problem as one line, `FILE:LINE:COLUMN: PATH: MESSAGE`, with `warning: ` before the path
    /// of a warning.
    package func rendered(file: String) -> String {
        let kind = severity == .warning ? "warning: " : ""
        let subject = path.isEmpty ? "" : "\(path): "
        return "\(file):\(line):\(column): \(kind)\(subject)\(message)"
    }

    /// The most problems reported at once. A file with more is best fixed from the top.
    static let limit = 50

    /// The problems in the order of the file, each once, at most `limit` of them. If there are
    /// more, errors come before warnings.
    static func sorted(_ diagnostics: [Diagnostic]) -> [Diagnostic] {
        var seen = Set<Diagnostic>()
        let unique = diagnostics.filter { seen.insert($0).inserted }
        let ordered = unique.enumerated().sorted { left, right in
            (left.element.line, left.element.column, left.offset)
                < (right.element.line, right.element.column, right.offset)
        }.map(\.element)
        let errors = ordered.filter { $0.severity == .error }.prefix(limit)
        guard ordered.count > limit else { return ordered }
        let kept = Set(errors).union(
            ordered.filter { $0.severity == .warning }.prefix(limit - errors.count))
        return ordered.filter { kept.contains($0) }
    }
}

/// The result of reading a configuration file.
package enum ConfigResult: Sendable, Equatable {
    /// The file can be used. Warnings are in the order of the file.
    case valid(Config, warnings: [Diagnostic])
    /// The file is refused. At least one of the problems is an error. They are in the order of the
    /// file, warnings included, at most 50.
    case invalid([Diagnostic])
}
