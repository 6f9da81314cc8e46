import Testing

@testable import Config

/// A pool with a TLS listener and further lines, which begin at line 5.
private func secure(_ lines: String..., listen: String = "\"rediss://0.0.0.0:6390\"") -> String {
    let head = ["pools:", "  main:", "    listen: \(listen)", "    upstream: db.example:6379"]
    return (head + lines.map { "    \($0)" }).joined(separator: "\n") + "\n"
}

private let files = [
    "/etc/redpool/c": "C", "/etc/redpool/k": "SECRET", "/etc/redpool/ca": "A",
]

@Suite struct ListenTLSTests {
    @Test(arguments: [
        ("rediss://0.0.0.0:6390", "rediss://0.0.0.0:6390"),
        ("REDISS://localhost:1", "rediss://127.0.0.1:1"),
        ("valkeys://*:1", "rediss://*:1"), ("rediss://[::1]:2", "rediss://[::1]:2"),
        ("rediss://10.0.0.1", "rediss://10.0.0.1:6379"),
    ])
    func addressesWithTLS(_ text: String, _ canonical: String) throws {
        let address = try parseListen(text)
        #expect(address.isTLS)
        #expect(address.description == canonical)
        #expect(try parseListen(canonical) == address)
        #expect(!address.speaking(tls: false).isTLS)
        #expect(address.speaking(tls: false) != address)
        #expect(address.speaking(tls: false).isPlace(of: address))
    }

    @Test func valuesAndFilesAreRead() throws {
        let text = secure(
            "listenCertFile: c", "listenKeyFile: /etc/redpool/k", "listenCaFile: ca",
            "listenClients: verified")
        let pool = try valid(text, files: files).pools[0]
        #expect(
            pool.listenTLS
                == ListenTLS(
                    clients: .verified, authorities: Array("A".utf8), certificate: Array("C".utf8),
                    key: PrivateKey(Array("SECRET".utf8))))
        #expect(pool.listen == [.tcp(host: "0.0.0.0", port: 6390, isTLS: true)])
    }

    @Test func anyClientNeedsNoAuthority() throws {
        let text = secure("listenCertFile: c", "listenKeyFile: k")
        let tls = try #require(try valid(text, files: files).pools[0].listenTLS)
        #expect(tls.clients == .any)
        #expect(tls.authorities.isEmpty)
        let said = secure(
            "listenCertFile: c", "listenKeyFile: k", "listenCaFile: missing", "listenClients: any")
        #expect(try valid(said, files: files).pools[0].listenTLS == tls)
    }

    @Test func plainListenersHaveNone() throws {
        #expect(try valid(pool()).pools[0].listenTLS == nil)
    }

    @Test func keysInDefaultsAreForPoolsWithTLS() throws {
        let text = """
            defaults: {listenCertFile: c, listenKeyFile: k, listenCaFile: ca, listenClients: verified}
            pools:
              a: {listen: 127.0.0.1:1, upstream: h:1}
              b: {listen: [127.0.0.1:2, 'rediss://127.0.0.1:3'], upstream: h:1}

            """
        let pools = try valid(text, files: files).pools
        #expect(pools[0].listenTLS == nil)
        #expect(pools[1].listenTLS?.clients == .verified)
    }

    @Test func noDescriptionHasTheKey() throws {
        let config = try valid(secure("listenCertFile: c", "listenKeyFile: k"), files: files)
        var dumped = ""
        dump(config, to: &dumped)
        for text in [dumped, "\(config)", String(reflecting: config)] {
            #expect(!text.contains("SECRET"))
        }
        #expect("\(try #require(config.pools[0].listenTLS))".contains("***"))
    }

    static let golden = [
        Golden(
            secure(),
            "3:13: pools.main.listen: rediss://0.0.0.0:6390 needs listenCertFile and listenKeyFile"
        ),
        Golden(
            secure(listen: "[127.0.0.1:1, \"rediss://*:2\"]"),
            "3:27: pools.main.listen: rediss://*:2 needs listenCertFile and listenKeyFile"),
        Golden(
            secure("listenCertFile: c"),
            "5:21: pools.main.listenKeyFile: is needed with listenCertFile"),
        Golden(
            secure("listenKeyFile: k"),
            "5:20: pools.main.listenCertFile: is needed with listenKeyFile"),
        Golden(
            secure("listenCertFile: c", "listenKeyFile: x"),
            "6:20: pools.main.listenKeyFile: x cannot be read: No such file or directory"),
        Golden(
            secure("listenCertFile: c", "listenKeyFile: k", "listenClients: verified"),
            "7:20: pools.main.listenClients: verified needs listenCaFile"),
        Golden(
            secure("listenCertFile: c", "listenKeyFile: k", "listenCaFile: ca"),
            "7:19: pools.main.listenCaFile: needs listenClients: verified (or any, to let all in)"),
        Golden(
            secure("listenCertFile: c", "listenKeyFile: k", "listenClients: all"),
            "7:20: pools.main.listenClients: all is not one of any or verified"),
        Golden(
            pool("listenCertFile: c", "listenClients: verified"),
            "5:21: pools.main.listenCertFile: is only for a listener with rediss://",
            "6:20: pools.main.listenClients: is only for a listener with rediss://"),
        Golden(pool("listenCertFile: \"\"", "listenClients: any")),
        Golden(
            secure(listen: "[\"rediss://127.0.0.1:5\", 127.0.0.1:5]"),
            "3:14: pools.main.listen: rediss://127.0.0.1:5 needs listenCertFile and listenKeyFile",
            "3:38: pools.main.listen: 127.0.0.1:5 is taken by this pool (rediss://127.0.0.1:5, "
                + "at line 3)"),
        Golden(
            secure(listen: "\"rediss://app@127.0.0.1:5\""),
            "3:13: pools.main.listen: an address to listen on has no user, database or parameters"),
        Golden(
            secure(listen: "\"rediss://db.example:5\""),
            "3:13: pools.main.listen: db.example:5 has a host name "
                + "(an address to listen on is numeric, localhost or *)"),
        Golden(
            secure(listen: "\"redis://127.0.0.1:5\""),
            "3:13: pools.main.listen: redis:// is not supported here "
                + "(host:port, rediss://host:port, unix:/path, or redis:// upstream)"),
        Golden(
            "http: {listen: \"rediss://127.0.0.1:5\"}\n" + pool(),
            "1:16: http.listen: rediss://127.0.0.1:5 is not a TCP address"),
    ]

    @Test(arguments: golden)
    func problemsAreExact(_ golden: Golden) {
        #expect(problems(golden.text, files: files) == golden.problems)
    }

    @Test func theJudgeSaysWhatIsWrongWithFiles() {
        let text = secure(
            "listenCertFile: c", "listenKeyFile: k", "listenCaFile: ca", "listenClients: verified")
        for (file, expected) in [
            (UpstreamTLS.File.authorities, "7:19: pools.main.listenCaFile: ca is odd"),
            (.certificate, "5:21: pools.main.listenCertFile: c is odd"),
            (.key, "6:20: pools.main.listenKeyFile: k is odd"),
            (nil, "3:13: pools.main.listen: is odd"),
        ] as [(UpstreamTLS.File?, String)] {
            let result = Config.parse(
                text: text, file: "redpool.yaml",
                surroundings: Surroundings(judgeListenTLS: { _ in
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
