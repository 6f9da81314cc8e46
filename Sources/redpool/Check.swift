// `redpool check`, and reading the configuration for the other subcommands.

import Config
import EventLoop
import Glibc
import Proxy
import Session

/// Validates a configuration without starting anything, and prints what is in effect. Returns the
/// exit code.
func check(_ request: CheckRequest) throws -> Int32 {
    let isStandardInput = request.file == "-"
    let name = isStandardInput ? "<stdin>" : request.file
    let bytes = try reading(name) { () throws(Config.FileError) in
        try isStandardInput ? Config.readStandardInput() : Config.readBytes(path: request.file)
    }
    let result = Config.load(bytes, file: name, surroundings: .ofCheck)
    let (config, warnings) = try valid(result, name)
    for warning in warnings { complain(warning) }
    print(Config.effectiveYAML(bytes, file: name) ?? "", terminator: "")
    fflush(nil)
    guard request.isOnline else {
        complain("\(name) is valid")
        return 0
    }
    let (lines, unwell) = config.askServers()
    for line in lines { complain(line) }
    let verdict = unwell.isEmpty ? "" : ", but not well: \(unwell.joined(separator: ", "))"
    complain("\(name) is valid\(verdict)")
    return unwell.isEmpty ? 0 : Sysexit.unwell
}

/// All commands. The table is never freed, so that one is made.
let commandTable = CommandTable()

/// Reads and validates a configuration. The error's message has every problem, one per line.
func loadConfiguration(
    _ path: String
) throws -> (config: Config, warnings: [String], source: ConfigSource) {
    let (result, source) = try reading(path) { () throws(Config.FileError) in
        try Config.loadWithSource(path: path, surroundings: .ofStart)
    }
    let (config, warnings) = try valid(result, path)
    return (config, warnings, source)
}

/// The same for a text that another program of this process has read from the file, with the files
/// that it names.
///
/// - Parameter first: the text whose keys that need a restart stay in effect. Files that it names
///   may be gone.
func loadConfiguration(
    _ path: String, text: String, files: NamedFiles, first: String?
) throws -> (config: Config, warnings: [String], source: ConfigSource) {
    var surroundings = Surroundings.ofStart
    // The other program has asked; the file of names may be another one by now.
    surroundings.isLoopbackName = nil
    let result = Config.load(
        Array(text.utf8), file: path, surroundings: surroundings, files: files)
    var (config, warnings) = try valid(result, path)
    if let first { config = config.keeping(restartKeysOf: try withoutFiles(first, path)) }
    return (config, warnings, ConfigSource(file: path, text: text))
}

/// A configuration without passwords.
private func withoutFiles(_ text: String, _ path: String) throws -> Config {
    let result = Config.parse(text: text, file: path) { _ in Array("unknown unknown".utf8) }
    return try valid(result, path).config
}

/// The pools of a configuration without their passwords: a probe need not have the right to read
/// those.
func loadListeners(_ path: String) throws -> [PoolConfig] {
    let bytes = try reading(path) { () throws(Config.FileError) in
        try Config.readBytes(path: path)
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        return try valid(Config.load(bytes, file: path, surroundings: Surroundings()), path)
            .config.pools
    }
    return try withoutFiles(text, path).pools
}

private func reading<Value>(
    _ name: String, _ read: () throws(Config.FileError) -> Value
) throws -> Value {
    do throws(Config.FileError) {
        return try read()
    } catch {
        throw StartFailure(
            code: Sysexit.noInput, message: "redpool: cannot read \(name): \(error.message)")
    }
}

private func valid(
    _ result: ConfigResult, _ name: String
) throws -> (config: Config, warnings: [String]) {
    switch result {
    case .valid(let config, let warnings):
        return (config, warnings.map { $0.rendered(file: name) })
    case .invalid(let problems):
        var lines = problems.map { $0.rendered(file: name) }
        let count = problems.filter { $0.severity == .error }.count
        lines.append(count == 1 ? "1 problem." : "\(count) problems.")
        throw StartFailure(code: Sysexit.config, message: lines.joined(separator: "\n"))
    }
}

extension Surroundings {
    /// The user that the packaged unit runs as.
    private static let serviceUser = "redpool"

    /// For `redpool check`: all questions.
    fileprivate static var ofCheck: Surroundings {
        Surroundings(
            hasGroup: Accounts.hasGroup, directoryProblem: directoryProblem,
            readers: { path in
                Accounts.isOpen(path).map {
                    Readers(
                        isOpen: $0, isWritable: Accounts.isWritable(path),
                        isForService: Accounts.canRead(path, user: serviceUser))
                }
            }, commands: commandTable.all.map(\.name),
            authorities: TLSContext.systemFiles, judgeTLS: { $0.problem },
            judgeListenTLS: { $0.problem }, isLoopbackName: { Hosts.isLoopback($0) })
    }

    /// For a start: without those that binding the listeners and reading the files answer.
    fileprivate static var ofStart: Surroundings {
        Surroundings(
            readers: { path in
                Accounts.isOpen(path).map {
                    Readers(
                        isOpen: $0, isWritable: Accounts.isWritable(path), isForService: nil)
                }
            }, commands: commandTable.all.map(\.name),
            authorities: TLSContext.systemFiles, judgeTLS: { $0.problem },
            judgeListenTLS: { $0.problem }, isLoopbackName: { Hosts.isLoopback($0) })
    }

    /// For a reload: only files of TLS, as no password file is looked at but for its contents.
    static var ofReload: Surroundings {
        Surroundings(
            authorities: TLSContext.systemFiles, judgeTLS: { $0.problem },
            judgeListenTLS: { $0.problem },
            isLoopbackName: { Hosts.isLoopback($0) })
    }

    /// The packaged unit makes `/run/redpool` when it starts.
    private static func directoryProblem(_ path: String) -> String? {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            let error = errno
            if error == ENOENT, ["/run/redpool", "/var/run/redpool"].contains(path) { return nil }
            return error == ENOENT ? "there is no such directory" : System.errorText(error)
        }
        return facts.st_mode & S_IFMT == S_IFDIR ? nil : "not a directory"
    }
}
