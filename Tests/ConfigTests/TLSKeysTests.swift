import Testing

@testable import Config

/// A pool with TLS to its server and further lines, which begin at line 5.
private func secure(_ lines: String...) -> String {
    let head = [
        "pools:", "  main:", "    listen: 127.0.0.1:6380",
        "    upstream: rediss://cache.example.com:6390",
    ]
    return (head + lines.map { "    \($0)" }).joined(separator: "\n") + "\n"
}

@Suite struct TLSKeysTests {
    private func tls(_ text: String, files: [String: String] = [:]) throws -> UpstreamTLS {
        try #require(try valid(text, files: files).pools[0].upstreamTLS)
    }

    @Test func defaultsAreTheSafeOnes() throws {
        let tls = try tls(secure())
        #expect(tls.verification == .full)
        #expect(tls.minimum == .v12)
        #expect(tls.serverName == "cache.example.com")
        #expect(tls.authorities == nil)
        #expect(tls.certificate.isEmpty)
        #expect(tls.key == nil)
        #expect(try valid(secure()).pools[0].upstream.description == "cache.example.com:6390")
        #expect(try valid(pool()).pools[0].upstreamTLS == nil)
    }

    @Test(arguments: ["rediss://h", "REDISS://h", "valkeys://h", "rediss://app@h/3"])
    func schemes(_ text: String) throws {
        let spec = try parseUpstream(text)
        #expect(spec.isTLS)
        #expect(spec.address == .tcp(host: "h", port: 6379))
        #expect(try !parseUpstream("redis://h").isTLS)
        #expect(try !parseUpstream("h:1").isTLS)
    }

    @Test func valuesAndFilesAreRead() throws {
        let text = secure(
            "tlsCaFile: ca.pem", "tlsVerify: ca", "tlsServerName: Other.example.com",
            "tlsCertFile: /c.pem", "tlsKeyFile: k.pem", "tlsMinVersion: \"1.3\"")
        let files = ["/etc/redpool/ca.pem": "A", "/c.pem": "C", "/etc/redpool/k.pem": "K"]
        let tls = try tls(text, files: files)
        #expect(
            tls
                == UpstreamTLS(
                    verification: .ca, minimum: .v13, serverName: "other.example.com",
                    authorities: Array("A".utf8), systemFile: nil, certificate: Array("C".utf8),
                    key: PrivateKey(Array("K".utf8))))
    }

    /// A reload finds out whether the system's file has changed.
    @Test func theSystemsAuthoritiesAreRead() throws {
        func read(_ files: [String: String], _ lines: String...) throws -> UpstreamTLS {
            let text = secure("username: \"\"") + lines.map { "    \($0)\n" }.joined()
            let result = Config.parse(
                text: text, file: "/etc/redpool/redpool.yaml",
                surroundings: Surroundings(authorities: ["/none", "/system"]),
                readFile: { path throws(Config.FileError) in
                    guard let file = files[path] else { throw Config.FileError(message: "none") }
                    return Array(file.utf8)
                })
            guard case .valid(let config, _) = result else { throw Wrong() }
            return try #require(config.pools[0].upstreamTLS)
        }
        let first = try read(["/system": "A"])
        #expect(first.authorities == Array("A".utf8))
        #expect(first.systemFile == "/system")
        #expect(try read(["/system": "A"]) == first)
        let second = try read(["/system": "B"])
        #expect(second != first && !second.hasSameFiles(as: first))
        #expect(try read([:]).authorities == nil)
        let own = try read(["/system": "A", "/own": "O"], "tlsCaFile: /own")
        #expect(own.authorities == Array("O".utf8) && own.systemFile == nil)
        #expect(try read(["/system": "A"], "tlsVerify: none").authorities == nil)
    }

    private struct Wrong: Error {}

    @Test func aForgottenKeyIsStillTheSame() {
        let (key, same) = (PrivateKey(Array("K".utf8)), PrivateKey(Array("K".utf8)))
        #expect(key.pem == Array("K".utf8))
        key.forget()
        #expect(key.pem.isEmpty)
        #expect(key == same && key != PrivateKey(Array("L".utf8)))
        #expect(key.fingerprint == same.fingerprint)
    }

    @Test func addressesAreNamesToo() throws {
        let text = "pools: {main: {listen: 127.0.0.1:1, upstream: 'rediss://[2001:DB8::0:1]:1'}}\n"
        #expect(try tls(text).serverName == "2001:db8::1")
        #expect(try tls(secure("tlsServerName: 10.0.0.1")).serverName == "10.0.0.1")
        #expect(try tls(secure("tlsServerName: \"::1\"")).serverName == "::1")
    }

    @Test func noDescriptionHasTheKey() throws {
        let files = ["/etc/redpool/c": "CERTIFICATE", "/etc/redpool/k": "SECRET"]
        let config = try valid(secure("tlsCertFile: c", "tlsKeyFile: k"), files: files)
        var dumped = ""
        dump(config, to: &dumped)
        for text in [dumped, "\(config)", String(reflecting: config)] {
            #expect(!text.contains("SECRET"))
        }
        #expect("\(try #require(config.pools[0].upstreamTLS))".contains("***"))
    }

    static let golden = [
        Golden(
            pool("tlsServerName: a"),
            "5:20: pools.main.tlsServerName: is only for an upstream with rediss://"),
        Golden(
            pool("tlsVerify: ca", "tlsCaFile: ca", "tlsMinVersion: 1.2"),
            "5:16: pools.main.tlsVerify: is only for an upstream with rediss://",
            "6:16: pools.main.tlsCaFile: is only for an upstream with rediss://"),
        Golden(
            secure("tlsCertFile: c"),
            "5:18: pools.main.tlsKeyFile: is needed with tlsCertFile",
            "5:18: pools.main.tlsCertFile: c cannot be read: No such file or directory"),
        Golden(
            secure("tlsKeyFile: k"),
            "5:17: pools.main.tlsCertFile: is needed with tlsKeyFile",
            "5:17: pools.main.tlsKeyFile: k cannot be read: No such file or directory"),
        Golden(
            secure("tlsCaFile: ca"),
            "5:16: pools.main.tlsCaFile: ca cannot be read: No such file or directory"),
        Golden(
            secure("tlsVerify: none"),
            "5:16: warning: pools.main.tlsVerify: none accepts any server"
        ),
        Golden(
            secure("tlsVerify: nome"),
            "5:16: pools.main.tlsVerify: nome is not one of full, ca or none (did you mean none?)"),
        Golden(
            secure("tlsServerName: a..b"),
            "5:20: pools.main.tlsServerName: a..b is not a host name or address"),
        Golden(
            secure("tlsMinVersion: 1.1"),
            "5:20: pools.main.tlsMinVersion: 1.1 is not one of 1.2 or 1.3 (did you mean 1.2?)"),
    ]

    @Test(arguments: golden)
    func problemsAreExact(_ golden: Golden) {
        #expect(problems(golden.text) == golden.problems)
    }

    @Test func keysInDefaultsAreForPoolsWithTLS() throws {
        let text = """
            defaults: {tlsVerify: ca}
            pools:
              a: {listen: 127.0.0.1:1, upstream: h:1}
              b: {listen: 127.0.0.1:2, upstream: 'rediss://h:1'}

            """
        let pools = try valid(text).pools
        #expect(pools[0].upstreamTLS == nil)
        #expect(pools[1].upstreamTLS?.verification == .ca)
    }

    @Test func theJudgeSaysWhatIsWrongWithFiles() {
        let text = secure("tlsCaFile: ca", "tlsCertFile: c", "tlsKeyFile: k")
        for (file, expected) in [
            (UpstreamTLS.File.authorities, "5:16: pools.main.tlsCaFile: ca is odd"),
            (.certificate, "6:18: pools.main.tlsCertFile: c is odd"),
            (.key, "7:17: pools.main.tlsKeyFile: k is odd"),
            (nil, "4:15: pools.main.upstream: is odd"),
        ] as [(UpstreamTLS.File?, String)] {
            let result = Config.parse(
                text: text, file: "redpool.yaml",
                surroundings: Surroundings(judgeTLS: { _ in
                    UpstreamTLS.Problem(file: file, message: "is odd")
                }), readFile: { _ in [1] })
            guard case .invalid(let found) = result else {
                Issue.record("\(expected): accepted")
                continue
            }
            #expect(found.map { String($0.rendered(file: "").dropFirst()) } == [expected])
        }
    }
}
