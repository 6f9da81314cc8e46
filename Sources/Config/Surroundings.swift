// What a file has to fit: groups, directories, password files, and the commands of servers.

import Pool

/// Answers about the machine and the servers, for checks of a file. A check whose question is nil
/// is left out.
package struct Surroundings: Sendable {
    /// Whether there is a group with this name or number.
    package var hasGroup: (@Sendable (String) -> Bool)?
    /// Why no socket can be made in the directory with this path; nil if one can.
    package var directoryProblem: (@Sendable (String) -> String?)?
    /// Whether the machine itself has this name for a loopback address.
    package var isLoopbackName: (@Sendable (String) -> Bool)?
    /// Who can read the file with this path; nil if that is not known.
    package var readers: (@Sendable (String) -> Readers?)?
    /// All commands that servers have: lower case, a subcommand as `script|debug`.
    package var commands: [String]?
    /// Where a system has the authorities that it trusts; the first one that there is counts.
    package var authorities: [String]
    /// Why the files of TLS cannot be used; nil if they can.
    package var judgeTLS: (@Sendable (UpstreamTLS) -> UpstreamTLS.Problem?)?
    /// The same for the files of TLS for clients.
    package var judgeListenTLS: (@Sendable (ListenTLS) -> UpstreamTLS.Problem?)?

    /// Who can read a file.
    package struct Readers: Sendable {
        /// Whether every user of the machine has the right.
        package var isOpen: Bool
        /// Whether every user, or a group that is not root's, can write it.
        package var isWritable: Bool
        /// Whether the user `redpool` can read it; nil if there is no such user.
        package var isForService: Bool?

        package init(isOpen: Bool, isWritable: Bool = false, isForService: Bool?) {
            self.isOpen = isOpen
            self.isWritable = isWritable
            self.isForService = isForService
        }
    }

    package init(
        hasGroup: (@Sendable (String) -> Bool)? = nil,
        directoryProblem: (@Sendable (String) -> String?)? = nil,
        readers: (@Sendable (String) -> Readers?)? = nil, commands: [String]? = nil,
        authorities: [String] = [],
        judgeTLS: (@Sendable (UpstreamTLS) -> UpstreamTLS.Problem?)? = nil,
        judgeListenTLS: (@Sendable (ListenTLS) -> UpstreamTLS.Problem?)? = nil,
        isLoopbackName: (@Sendable (String) -> Bool)? = nil
    ) {
        self.hasGroup = hasGroup
        self.directoryProblem = directoryProblem
        self.readers = readers
        self.commands = commands
        self.authorities = authorities
        self.judgeTLS = judgeTLS
        self.judgeListenTLS = judgeListenTLS
        self.isLoopbackName = isLoopbackName
    }
}

extension Surroundings {
    /// Why there can be no socket with this path, as far as its directory is concerned.
    fileprivate func problem(ofSocket path: String) -> String? {
        guard let slash = path.lastIndex(of: "/"), path.hasPrefix("/") else { return nil }
        let folder = path.prefix(through: slash)
        let directory = folder.count > 1 ? String(folder.dropLast()) : "/"
        return directoryProblem?(directory).map { "\(shown(directory)): \($0)" }
    }

    /// Why a socket cannot be given to this group. Empty is the group of the process.
    fileprivate func problem(ofGroup name: String) -> String? {
        guard !name.isEmpty, hasGroup?(name) == false else { return nil }
        return "there is no group \(shown(name))"
    }
}

extension Resolution {
    /// Reports what does not fit the surroundings. `file` is the path of the configuration.
    mutating func check(_ surroundings: Surroundings, file: String) {
        let found = pools.flatMap { pool in
            checkSockets(pool, surroundings) + checkDenied(pool, surroundings.commands)
                + checkReaders(pool, file: file, surroundings.readers)
                + checkExposure(pool, isHere: surroundings.isLoopbackName ?? { _ in false })
        }
        diagnostics += found + checkThreads() + checkConsole(surroundings)
    }

    /// The directory of each unix socket in `listen`, and the group of them all.
    private func checkSockets(_ pool: PoolDraft, _ surroundings: Surroundings) -> [Diagnostic] {
        guard let listen = pool.settings[.listen], case .list(let addresses) = listen.value else {
            return []
        }
        var found: [Diagnostic] = []
        var hasSocket = false
        for (element, place) in zip(addresses, listen.elements) {
            guard case .listen(.unix(let path)) = element else { continue }
            hasSocket = true
            guard let problem = surroundings.problem(ofSocket: path) else { continue }
            found.append(diagnostic(.listen, of: pool, at: place, message: problem))
        }
        if hasSocket, case .text(let group)? = pool.settings[.socketGroup]?.value,
            let problem = surroundings.problem(ofGroup: group)
        {
            found.append(diagnostic(.socketGroup, of: pool, message: problem))
        }
        return found
    }

    /// The same for the console, if its socket is in the file: by default it may be missing.
    private func checkConsole(_ surroundings: Surroundings) -> [Diagnostic] {
        guard let socket = globals[.socket], socket.origin == .own, let group = globals[.group],
            case .text(let path) = socket.value, case .text(let name) = group.value,
            !path.isEmpty
        else { return [] }
        let problems = [
            (Key.socket, socket.position, surroundings.problem(ofSocket: path)),
            (Key.group, group.position, surroundings.problem(ofGroup: name)),
        ]
        return problems.compactMap { key, position, problem in
            problem.map {
                Diagnostic(
                    line: position.line, column: position.column, path: "admin.\(key.rawValue)",
                    message: $0)
            }
        }
    }

    /// Warns of names in `denyCommands` that deny nothing. A name with a dot may be that of a
    /// module's command.
    private func checkDenied(_ pool: PoolDraft, _ commands: [String]?) -> [Diagnostic] {
        guard let commands, let denied = pool.settings[.denyCommands],
            case .list(let elements) = denied.value
        else { return [] }
        return zip(elements, denied.elements).compactMap { element, place in
            guard case .command(let name) = element, !commands.contains(name),
                !name.contains(".")
            else { return nil }
            let candidates = commands.map { Element.command($0).text }
            let hint = didYouMean(element.text, among: candidates)
            return diagnostic(
                .denyCommands, of: pool, at: place, severity: .warning,
                message: "no server knows \(element.text)\(hint)")
        }
    }

    /// The keys that name files with passwords or keys.
    private static let secretFiles: [Key] = [
        .passwordFile, .sentinelPasswordFile, .tlsKeyFile, .listenKeyFile, .clientPasswordFile,
        .clientUsersFile,
    ]

    /// Warns of a file with passwords that others can read or write, or that the service cannot
    /// read.
    private func checkReaders(
        _ pool: PoolDraft, file: String, _ readers: ((String) -> Surroundings.Readers?)?
    ) -> [Diagnostic] {
        Resolution.secretFiles.flatMap { checkReaders(of: $0, pool, file: file, readers) }
    }

    private func checkReaders(
        of key: Key, _ pool: PoolDraft, file: String,
        _ readers: ((String) -> Surroundings.Readers?)?
    ) -> [Diagnostic] {
        guard let path = path(in: key, of: pool, besides: file), let found = readers?(path) else {
            return []
        }
        let remedy = "(chown root:redpool, chmod 0640)"
        var messages: [String] = []
        if found.isOpen { messages.append("\(shown(path)): every user can read it \(remedy)") }
        if found.isWritable { messages.append("\(shown(path)): others can write it \(remedy)") }
        if found.isForService == false {
            messages.append("\(shown(path)): user redpool cannot read it \(remedy)")
        }
        return messages.map {
            diagnostic(key, of: pool, severity: .warning, message: $0)
        }
    }

    /// Warns if there are more threads than any pool is spread over.
    private func checkThreads() -> [Diagnostic] {
        guard let setting = globals[.threads], case .integer(let threads) = setting.value else {
            return []
        }
        var most: (count: Int, pool: PoolDraft)?
        for pool in pools {
            guard case .integer(let maxOpen)? = pool.settings[.maxOpen]?.value,
                case .integer(let maxIdle)? = pool.settings[.maxIdle]?.value
            else { return [] }
            let count = PoolLimits.mostWorkers(maxOpen: maxOpen, maxIdle: maxIdle)
            if count > most?.count ?? 0 { most = (count, pool) }
        }
        guard let most, threads > most.count else { return [] }
        let owner = pools.count == 1 ? "pool \(most.pool.name)" : "any pool"
        return [
            Diagnostic(
                line: setting.position.line, column: setting.position.column, severity: .warning,
                path: Key.threads.rawValue,
                message: "\(setting.text) is more than \(owner) can use: \(most.count) "
                    + "(half of maxOpen, at most maxIdle)")
        ]
    }
}
