import Testing

@testable import Config

private func exposed(listen: String, upstream: String, _ lines: String...) -> [String] {
    let text =
        ["pools:", "  main:", "    listen: \(listen)", "    upstream: \(upstream)"]
        + lines.map { "    \($0)" }
    return problems(
        text.joined(separator: "\n") + "\n",
        files: ["/etc/redpool/password": "x\n", "/etc/redpool/users": "ann x\n"])
}

@Suite struct ExposureTests {
    private static let ways =
        "set clientPasswordFile or clientUsersFile, or use rediss:// with "
        + "listenClients: verified, or set allowUnauthenticated: true"

    @Test func place() {
        for listen in ["0.0.0.0:5", "\"*:5\"", "\"[::]:5\"", "10.0.0.1:5", "128.0.0.1:5"] {
            for upstream in [
                "127.0.0.1:6379", "127.1.2.3:1", "\"[::1]:1\"", "localhost:1", "unix:/run/x.sock",
                "redis://app.localhost", "0.0.0.0:1", "\"[::ffff:127.0.0.1]:1\"", "\"[::]:1\"",
                "\"[::ffff:0.0.0.0]:1\"",
            ] {
                let found = exposed(listen: listen, upstream: upstream)
                #expect(found.count == 1, "\(listen) \(upstream)")
            }
        }
        #expect(
            exposed(listen: "0.0.0.0:5", upstream: "127.0.0.1:6379") == [
                "3:13: pools.main.listen: 0.0.0.0:5 is open to other machines, and the pool lends "
                    + "its clients its place (127.0.0.1:6379 takes them for clients of this "
                    + "machine): \(ExposureTests.ways)"
            ])
    }

    @Test func login() {
        #expect(
            exposed(
                listen: "[127.0.0.1:5, unix:/run/x.sock, 192.0.2.1:5]", upstream: "db.example:1",
                "passwordFile: password") == [
                    "3:45: pools.main.listen: 192.0.2.1:5 is open to other machines, and the pool "
                        + "lends its clients its login (passwordFile): \(ExposureTests.ways)"
                ])
    }

    @Test func harmless() {
        #expect(exposed(listen: "0.0.0.0:5", upstream: "db.example:1") == [])
        #expect(exposed(listen: "0.0.0.0:5", upstream: "128.0.0.1:1") == [])
        #expect(
            exposed(
                listen: "[127.0.0.1:5, 127.3.0.1:5, \"[::1]:5\", localhost:6, unix:/run/x.sock]",
                upstream: "unix:/run/y.sock", "passwordFile: password") == [])
    }

    @Test func ways() {
        for way in [
            "clientPasswordFile: password", "clientUsersFile: users", "allowUnauthenticated: true",
        ] {
            #expect(
                exposed(
                    listen: "\"*:5\"", upstream: "127.0.0.1:6379", "passwordFile: password", way)
                    == [])
        }
        let text = """
            defaults: {allowUnauthenticated: true}
            pools: {main: {listen: "*:5", upstream: "127.0.0.1:1", allowUnauthenticated: false}}
            """
        #expect(problems(text).count == 1)
    }

    /// Only addresses with TLS ask for a certificate.
    @Test func certificatesOfClients() {
        for (listen, clients, isRefused) in [
            ("rediss://0.0.0.0:5", "verified", false), ("rediss://0.0.0.0:5", "any", true),
            ("[rediss://0.0.0.0:5, 0.0.0.0:6]", "verified", true),
        ] {
            let found = exposed(
                listen: listen, upstream: "127.0.0.1:6379", "listenClients: \(clients)",
                "listenCaFile: ca", "listenCertFile: cert", "listenKeyFile: key")
            #expect(
                found.contains { $0.contains("is open to other machines") } == isRefused,
                "\(listen) \(clients)")
        }
    }

    @Test func identityOfACertificate() {
        let text = """
            pools:
              main: {listen: "*:5", upstream: "rediss://h:1", tlsCertFile: c, tlsKeyFile: k}
            """
        #expect(
            problems(text).contains { $0.contains("lends its clients its login (tlsCertFile)") })
    }

    /// Only the machine knows which of its names lead to itself.
    @Test func names() {
        func found(_ upstream: String, _ more: String = "") -> [String] {
            let text = "pools: {main: {listen: '*:5', upstream: '\(upstream)'\(more)}}\n"
            let surroundings = Surroundings(isLoopbackName: { $0 == "here" })
            let result = Config.parse(text: text, file: file, surroundings: surroundings) { _ in
                Array("ann x".utf8)
            }
            guard case .invalid(let errors) = result else { return [] }
            return errors.map(\.message)
        }
        #expect(found("here:1").count == 1 && found("localhost:1").count == 1)
        #expect(found("there:1") == [])
        #expect(found("here:1", ", clientUsersFile: users") == [])
    }
}
