// Makes the `Config` of a checked file: reads password files and fills in derived values.

extension Resolution {
    /// Reads the password files of all pools and reports those that cannot be used. The result has
    /// one element per pool; nil for a pool without a password.
    mutating func readPasswords(
        _ key: Key, file: String, readFile: Config.ReadFile
    ) -> [Secret?] {
        var passwords: [Secret?] = []
        var read: [String: Result<Secret, ValueProblem>] = [:]
        for pool in pools {
            // The key of `defaults` is for the pools that have Sentinels.
            let isMeant = key != .sentinelPasswordFile || pool.settings[.sentinels] != nil
            guard isMeant, let path = path(in: key, of: pool, besides: file) else {
                passwords.append(nil)
                continue
            }
            let result = read[path] ?? Resolution.password(in: path, by: readFile)
            read[path] = result
            switch result {
            case .success(let password): passwords.append(password)
            case .failure(let error):
                passwords.append(nil)
                let place = pool.settings[key]?.position ?? pool.position
                report(place, pool.path(key), "\(shownPath(path)): \(error.message)")
            }
        }
        return passwords
    }

    /// The first line of a password file.
    private static func password(
        in path: String, by readFile: Config.ReadFile
    ) -> Result<Secret, ValueProblem> {
        do throws(ValueProblem) {
            var bytes = try contents(of: path, by: readFile)
            defer { Secret.wipe(&bytes) }
            let line = try firstLine(of: bytes)
            guard isUTF8(line) else { throw ValueProblem("its first line is not UTF-8") }
            return .success(Secret(line))
        } catch {
            return .failure(error)
        }
    }

    /// Makes no copy, as a string would be.
    private static func isUTF8(_ bytes: ArraySlice<UInt8>) -> Bool {
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue: continue
            case .emptyInput: return true
            case .error: return false
            }
        }
    }

    /// A file that has passwords.
    static func contents(
        of path: String, by readFile: Config.ReadFile
    ) throws(ValueProblem) -> [UInt8] {
        do throws(Config.FileError) {
            return try readFile(path)
        } catch {
            throw ValueProblem("cannot be read: \(error.message)")
        }
    }

    /// The first line of a file, without its line break.
    static func firstLine(of bytes: [UInt8]) throws(ValueProblem) -> ArraySlice<UInt8> {
        var line = bytes.prefix { $0 != UInt8(ascii: "\n") }
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        guard !line.isEmpty else { throw ValueProblem("its first line is empty") }
        return line
    }

    /// The path, made absolute with the directory of the configuration file.
    static func absolute(_ path: String, besides file: String) -> String {
        guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
        return String(file[...slash]) + path
    }
}

/// What was read from the files that pools name: an element per pool, nil for a pool without.
struct FileContents {
    let passwords: [Secret?]
    let sentinelPasswords: [Secret?]
    let clientUsers: [ClientUsers?]
    /// For the servers, the Sentinels, or both.
    let tls: [UpstreamTLS?]
    let listenTLS: [ListenTLS?]
}

extension Config {
    /// The configuration of a resolution without errors.
    init(
        _ resolution: Resolution, _ contents: FileContents
    ) {
        let globals = Settings(resolution.globals)
        pools = resolution.pools.indices.map { PoolConfig(resolution.pools[$0], contents, $0) }
        threads = globals.integer(.threads)
        maxClients = globals.optionalInteger(.maxClients)
        totalOutputLimit = globals.size(.totalOutputLimit)
        drainTimeout = globals.duration(.drainTimeout)
        log = LogConfig(
            level: LogConfig.Level(rawValue: globals.text(.level)) ?? .info,
            format: LogConfig.Format(rawValue: globals.text(.format)) ?? .auto,
            clients: globals.boolean(.clients), stats: globals.duration(.stats))
        http = HttpConfig(listen: try? parseListen(globals.text(.httpListen)))
        admin = AdminConfig(
            socket: globals.optionalText(.socket), mode: globals.mode(.mode),
            group: globals.text(.group))
    }
}

extension PoolConfig {
    fileprivate init(_ draft: PoolDraft, _ contents: FileContents, _ index: Int) {
        let settings = Settings(draft.settings)
        let usesURL = draft.settings[.username]?.origin != .own
        name = draft.name
        listen = settings.addresses(.listen)
        if let target = draft.upstream {
            source = .server(target.address)
            upstreamDatabase = target.database
            upstreamTLS = contents.tls[index]
        } else if let seeds = draft.seeds {
            source = .cluster(
                ClusterSource(
                    seeds, crossSlot: settings.text(.crossSlot),
                    refresh: settings.duration(.clusterRefresh),
                    maxNodes: settings.integer(.maxNodes),
                    commands: settings.text(.clusterCommands), announce: settings.text(.announce)))
            upstreamDatabase = 0
            upstreamTLS = contents.tls[index]
        } else {
            source = .sentinels(
                SentinelSource(
                    addresses: settings.sentinels(.sentinels),
                    primaryName: settings.text(.primaryName),
                    username: settings.text(.sentinelUsername),
                    password: contents.sentinelPasswords[index],
                    tls: settings.boolean(.sentinelTls) ? contents.tls[index] : nil))
            upstreamDatabase = settings.integer(.primaryDatabase)
            upstreamTLS = settings.boolean(.primaryTls) ? contents.tls[index] : nil
        }
        // Values from `defaults` are not for a pool that knows of no replicas.
        let wanted = draft.upstream == nil ? Reads(rawValue: settings.text(.reads)) : nil
        reads = wanted ?? .primary
        maxReplicaLag = settings.duration(.maxReplicaLag)
        username = (usesURL ? draft.userOfURL : nil) ?? settings.text(.username)
        password = contents.passwords[index]
        listenTLS = contents.listenTLS[index]
        clientUsers = contents.clientUsers[index]
        maxOpen = settings.integer(.maxOpen)
        maxPinned = settings.integer(.maxPinned)
        maxIdle = settings.integer(.maxIdle)
        minIdle = settings.integer(.minIdle)
        maxLifetime = settings.duration(.maxLifetime)
        idleTimeout = settings.duration(.idleTimeout)
        pingInterval = settings.duration(.pingInterval)
        connectTimeout = settings.duration(.connectTimeout)
        poolTimeout = settings.duration(.poolTimeout)
        commandTimeout = settings.duration(.commandTimeout)
        slowLog = settings.duration(.slowLog)
        dnsRefresh = settings.duration(.dnsRefresh)
        onUpstreamLoss = OnUpstreamLoss(rawValue: settings.text(.onUpstreamLoss)) ?? .close
        pubsub = PubSub(settings.text(.pubsub), loss: settings.text(.pubsubLoss))
        denyCommands = settings.commands(.denyCommands)
        maxPipeline = settings.integer(.maxPipeline)
        clientIdleTimeout = settings.duration(.clientIdleTimeout)
        transactionTimeout = settings.duration(.transactionTimeout)
        clientOutputLimit = settings.size(.clientOutputLimit)
        keepalive = settings.duration(.keepalive)
        socketMode = settings.mode(.socketMode)
        socketGroup = settings.text(.socketGroup)
    }
}

/// Values by their kinds. A missing key or one of another kind would be an error in the schema. The
/// tests read every key to exclude that.
private struct Settings {
    private let settings: [Key: Setting]

    init(_ settings: [Key: Setting]) {
        self.settings = settings
    }

    func integer(_ key: Key) -> Int {
        guard case .integer(let number)? = settings[key]?.value else { contradiction(key) }
        return number
    }

    func optionalInteger(_ key: Key) -> Int? {
        if case .automatic? = settings[key]?.value { return nil }
        return integer(key)
    }

    /// Nil if the file does not have it.
    func optionalText(_ key: Key) -> String? {
        settings[key] == nil ? nil : text(key)
    }

    func duration(_ key: Key) -> Int64 {
        guard case .duration(let time)? = settings[key]?.value else { contradiction(key) }
        return time
    }

    func size(_ key: Key) -> Int {
        guard case .size(let bytes)? = settings[key]?.value else { contradiction(key) }
        return bytes
    }

    func boolean(_ key: Key) -> Bool {
        guard case .boolean(let flag)? = settings[key]?.value else { contradiction(key) }
        return flag
    }

    func text(_ key: Key) -> String {
        guard case .text(let text)? = settings[key]?.value else { contradiction(key) }
        return text
    }

    func mode(_ key: Key) -> UInt32 {
        guard case .mode(let bits)? = settings[key]?.value else { contradiction(key) }
        return bits
    }

    func addresses(_ key: Key) -> [ListenAddress] {
        elements(key).map { element in
            guard case .listen(let address) = element else { contradiction(key) }
            return address
        }
    }

    func sentinels(_ key: Key) -> [UpstreamAddress] {
        elements(key).map { element in
            guard case .sentinel(let address) = element else { contradiction(key) }
            return address
        }
    }

    func commands(_ key: Key) -> [String] {
        elements(key).map { element in
            guard case .command(let name) = element else { contradiction(key) }
            return name
        }
    }

    private func elements(_ key: Key) -> [Element] {
        guard case .list(let elements)? = settings[key]?.value else { contradiction(key) }
        return elements
    }

    private func contradiction(_ key: Key) -> Never {
        preconditionFailure("the schema gives \(key.rawValue) no value or another kind")
    }
}
