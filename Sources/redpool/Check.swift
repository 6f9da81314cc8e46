import Config

/// Validates a configuration without starting anything, and prints what is in effect.
func check(_ file: String) throws {
    let (_, warnings, _) = try loadConfiguration(file)
    for warning in warnings { complain(warning) }
    print(try Config.effectiveYAML(path: file) ?? "", terminator: "")
}

/// Reads and validates a configuration. The error's message has every problem, one per line.
func loadConfiguration(
    _ path: String
) throws -> (config: Config, warnings: [String], source: ConfigSource) {
    let result: ConfigResult
    let source: ConfigSource
    do {
        (result, source) = try Config.loadWithSource(path: path)
    } catch {
        throw StartFailure(
            code: Sysexit.noInput, message: "redpool: cannot read \(path): \(error.message)")
    }
    switch result {
    case .valid(let config, let warnings):
        return (config, warnings.map { $0.rendered(file: path) }, source)
    case .invalid(let problems):
        var lines = problems.map { $0.rendered(file: path) }
        let count = problems.filter { $0.severity == .error }.count
        lines.append(count == 1 ? "1 problem." : "\(count) problems.")
        throw StartFailure(code: Sysexit.config, message: lines.joined(separator: "\n"))
    }
}
