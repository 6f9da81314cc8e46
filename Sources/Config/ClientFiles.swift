// Reads `clientPasswordFile` and `clientUsersFile`.

extension Resolution {
    /// Reads the files of all pools that say who may come in, and reports those that cannot be
    /// used. The result has one element per pool; nil for a pool whose clients need no login.
    mutating func readClientUsers(file: String, readFile: Config.ReadFile) -> [ClientUsers?] {
        var result: [ClientUsers?] = []
        for pool in pools {
            var users = ClientUsers()
            let hasPassword = addPassword(of: pool, to: &users, file: file, readFile: readFile)
            let hasUsers = addUsers(of: pool, to: &users, file: file, readFile: readFile)
            result.append(hasPassword || hasUsers ? users : nil)
        }
        return result
    }

    /// The path in a key; nil if it is empty.
    func path(in key: Key, of pool: PoolDraft, besides file: String) -> String? {
        guard case .text(let name)? = pool.settings[key]?.value, !name.isEmpty else { return nil }
        return Resolution.absolute(name, besides: file)
    }

    /// `clientPasswordFile`: its first line is the password of the user `default`.
    private mutating func addPassword(
        of pool: PoolDraft, to users: inout ClientUsers, file: String, readFile: Config.ReadFile
    ) -> Bool {
        guard let path = path(in: .clientPasswordFile, of: pool, besides: file) else {
            return false
        }
        do throws(ValueProblem) {
            var bytes = try Resolution.contents(of: path, by: readFile)
            defer { Secret.wipe(&bytes) }
            let line = try Resolution.firstLine(of: bytes)
            guard line.count <= ClientUsers.longestPassword else {
                throw ValueProblem(
                    "its first line is longer than \(ClientUsers.longestPassword) bytes")
            }
            guard line.contains(where: { $0 > 0x20 }) else {
                throw ValueProblem("its first line is empty")
            }
            _ = users.add(ClientUsers.standardName, Digest(of: line))
        } catch {
            report(pool, .clientPasswordFile, "\(shownPath(path)): \(error.message)")
        }
        return true
    }

    /// `clientUsersFile`.
    private mutating func addUsers(
        of pool: PoolDraft, to users: inout ClientUsers, file: String, readFile: Config.ReadFile
    ) -> Bool {
        guard let path = path(in: .clientUsersFile, of: pool, besides: file) else { return false }
        do throws(ValueProblem) {
            var bytes = try Resolution.contents(of: path, by: readFile)
            defer { Secret.wipe(&bytes) }
            guard bytes.count <= Document.sizeLimit else {
                throw ValueProblem("the file is longer than 1 MiB")
            }
            var found = ClientUsers()
            let problems = found.read(lines: bytes)
            for problem in problems {
                report(
                    pool, .clientUsersFile, "\(shownPath(path)):\(problem.line): \(problem.message)"
                )
            }
            if found.isEmpty, problems.isEmpty { throw ValueProblem("the file has no user") }
            guard users.isEmpty || !found.has(ClientUsers.standardName) else {
                throw ValueProblem(
                    "the file has a user default, whose password is in clientPasswordFile")
            }
            users.add(all: found)
        } catch {
            report(pool, .clientUsersFile, "\(shownPath(path)): \(error.message)")
        }
        return true
    }

    private mutating func report(_ pool: PoolDraft, _ key: Key, _ message: String) {
        let place = pool.settings[key]?.position ?? pool.position
        report(place, pool.path(key), message)
    }
}

extension ClientUsers {
    /// Adds the users of another file.
    fileprivate mutating func add(all other: ClientUsers) {
        for (name, digests) in other.digests {
            for digest in digests { _ = add(name, digest) }
        }
    }
}
