import Testing

@testable import Config

/// The file name that the tests parse under.
let file = "/etc/redpool/redpool.yaml"

/// Parses with password files that a test hands in; all others do not exist.
func parse(_ text: String, files: [String: String] = [:]) -> ConfigResult {
    Config.parse(text: text, file: file) { path throws(Config.FileError) in
        guard let contents = files[path] else {
            throw Config.FileError(message: "No such file or directory", code: 2)
        }
        return Array(contents.utf8)
    }
}

/// The problems of a text as lines `LINE:COLUMN: PATH: MESSAGE`, warnings included.
func problems(_ text: String, files: [String: String] = [:]) -> [String] {
    let diagnostics: [Diagnostic]
    switch parse(text, files: files) {
    case .valid(_, let warnings): diagnostics = warnings
    case .invalid(let errors): diagnostics = errors
    }
    return diagnostics.map { String($0.rendered(file: "").dropFirst()) }
}

/// The configuration of a text that has to be valid.
func valid(
    _ text: String, files: [String: String] = [:],
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> Config {
    switch parse(text, files: files) {
    case .valid(let config, _):
        return config
    case .invalid(let errors):
        Issue.record("\(errors.map { $0.rendered(file: "") })", sourceLocation: sourceLocation)
        throw Invalid()
    }
}

/// The text of a test's configuration is not valid.
struct Invalid: Error {}

/// A pool `main` with a line of its own for `lines`, which begins at line 5.
func pool(_ lines: String...) -> String {
    let head = ["pools:", "  main:", "    listen: 127.0.0.1:6380", "    upstream: 127.0.0.1:6379"]
    return (head + lines.map { "    \($0)" }).joined(separator: "\n") + "\n"
}
