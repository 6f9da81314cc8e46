import Testing

@testable import Config

/// A machine with one group and one directory, on which servers have five commands.
private let machine = Surroundings(
    hasGroup: { $0 == "www-data" },
    directoryProblem: { $0 == "/run" ? nil : "there is no such directory" },
    readers: { path in
        path == "/none"
            ? nil
            : Surroundings.Readers(
                isOpen: path == "/open", isWritable: path == "/writable",
                isForService: path == "/ours" || path == "/writable")
    },
    commands: ["get", "keys", "config", "script", "script|debug"])

private func found(_ text: String) -> [String] {
    let result = Config.parse(text: text, file: file, surroundings: machine) { _ in [0x78] }
    let diagnostics: [Diagnostic]
    switch result {
    case .valid(_, let warnings): diagnostics = warnings
    case .invalid(let problems): diagnostics = problems
    }
    return diagnostics.map { String($0.rendered(file: "").dropFirst()) }
}

@Suite struct SurroundingsTests {
    private func listening(_ address: String, _ more: String = "") -> String {
        "pools: {main: {upstream: h:1, listen: \(address)\(more), denyCommands: []}}\n"
    }

    @Test func socketsNeedTheirDirectory() {
        #expect(found(listening("'unix:/run/x'")) == [])
        #expect(
            found(listening("[127.0.0.1:1, 'unix:/run/no/x', 'unix:/x']")) == [
                "1:53: pools.main.listen: /run/no: there is no such directory",
                "1:71: pools.main.listen: /: there is no such directory",
            ])
    }

    @Test func socketsNeedTheirGroup() {
        #expect(found(listening("'unix:/run/x'", ", socketGroup: www-data")) == [])
        #expect(found(listening("127.0.0.1:1", ", socketGroup: nobodys")) == [])
        #expect(
            found(listening("'unix:/run/x'", ", socketGroup: nobodys")) == [
                "1:67: pools.main.socketGroup: there is no group nobodys"
            ])
        let two = """
            defaults: {socketGroup: nobodys, denyCommands: []}
            pools:
              a: {listen: "unix:/run/a", upstream: h:1}
              b: {listen: "unix:/run/b", upstream: h:1}

            """
        #expect(found(two) == ["1:25: defaults.socketGroup: there is no group nobodys"])
    }

    @Test func theConsoleNeedsThemToo() {
        let pools = listening("127.0.0.1:1")
        func console(_ keys: String) -> [String] { found("admin: {\(keys)}\n" + pools) }
        #expect(console("socket: /run/admin.sock, group: www-data") == [])
        #expect(console("socket: '', group: nobodys") == [])
        #expect(
            console("socket: /no/admin.sock, group: nobodys") == [
                "1:17: admin.socket: /no: there is no such directory",
                "1:40: admin.group: there is no group nobodys",
            ])
        // The default socket is left out where its directory is missing.
        #expect(console("group: nobodys") == [])
    }

    @Test func deniedNamesThatNoServerKnowsAreWarnings() {
        let names = "[GET, KEY, script|debug, SCRIPT DEBUGG, GET KEYS, JSON.GET, NOSUCHTHING]"
        let text = "pools: {main: {upstream: h:1, listen: 127.0.0.1:1, denyCommands: \(names)}}\n"
        #expect(
            found(text) == [
                "1:72: warning: pools.main.denyCommands: no server knows KEY (did you mean KEYS?)",
                "1:91: warning: pools.main.denyCommands: no server knows SCRIPT DEBUGG "
                    + "(did you mean SCRIPT DEBUG?)",
                "1:106: warning: pools.main.denyCommands: no server knows GET KEYS",
                "1:126: warning: pools.main.denyCommands: no server knows NOSUCHTHING",
            ])
        // The default names commands that this machine's servers do not have.
        #expect(found("pools: {main: {upstream: h:1, listen: 127.0.0.1:1}}\n") == [])
    }

    @Test func passwordFilesHaveReaders() {
        func warnings(_ path: String) -> [String] {
            found(listening("127.0.0.1:1", ", passwordFile: \(path)"))
        }
        #expect(warnings("/ours") == [])
        #expect(warnings("/none") == [])
        let start = "1:66: warning: pools.main.passwordFile:"
        let remedy = "(chown root:redpool, chmod 0640)"
        let closed = "user redpool cannot read it \(remedy)"
        #expect(warnings("/closed") == ["\(start) /closed: \(closed)"])
        #expect(
            warnings("/open") == [
                "\(start) /open: every user can read it \(remedy)", "\(start) /open: \(closed)",
            ])
        #expect(warnings("/writable") == ["\(start) /writable: others can write it \(remedy)"])
        #expect(warnings("closed") == ["\(start) /etc/redpool/closed: \(closed)"])
    }

    @Test(arguments: ["clientPasswordFile", "clientUsersFile"])
    func filesOfClientsHaveReaders(key: String) {
        let result = Config.parse(
            text: listening("127.0.0.1:1", ", \(key): /writable"), file: file,
            surroundings: machine
        ) { _ in Array("ann x".utf8) }
        guard case .valid(_, let warnings) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(
            warnings.map { "\($0.path): \($0.message)" } == [
                "pools.main.\(key): /writable: others can write it "
                    + "(chown root:redpool, chmod 0640)"
            ])
    }

    @Test(arguments: [(1, 32, 32, nil), (4, 8, 8, nil), (5, 8, 8, 4), (4, 8, 2, 2), (2, 1, 1, 1)])
    func threadsThatNoPoolCanUse(threads: Int, maxOpen: Int, maxIdle: Int, most: Int?) {
        let sizes = ", maxOpen: \(maxOpen), maxIdle: \(maxIdle)"
        let warnings = found("threads: \(threads)\n" + listening("127.0.0.1:1", sizes))
        let expected = most.map {
            "1:10: warning: threads: \(threads) is more than pool main can use: \($0) "
                + "(half of maxOpen, at most maxIdle)"
        }
        #expect(warnings == [expected].compactMap { $0 })
    }

    @Test func onePoolThatUsesAllThreadsIsEnough() {
        let text = """
            threads: 4
            defaults: {denyCommands: []}
            pools:
              a: {listen: 127.0.0.1:1, upstream: h:1, maxOpen: 2}
              b: {listen: 127.0.0.1:2, upstream: h:1, maxOpen: %}

            """
        #expect(found(text.replacing("%", with: "8")) == [])
        #expect(
            found(text.replacing("%", with: "6")) == [
                "1:10: warning: threads: 4 is more than any pool can use: 3 "
                    + "(half of maxOpen, at most maxIdle)"
            ])
    }
}
