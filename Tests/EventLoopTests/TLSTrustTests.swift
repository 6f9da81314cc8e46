import CTLS
import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite("TLS: who is trusted")
struct TLSTrustTests {
    private static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    /// What the client's handshake comes to.
    private func outcome(
        _ client: TLSSettings, _ server: TLSSettings, name: String = "cache.test",
        maximum: Int32
    ) throws -> TLSState {
        let relay = try Relay(client, server, name: name, maximum: maximum)
        relay.settle()
        return relay.client.tlsState
    }

    private func failure(_ kind: TLSProblem.Kind, _ text: String) -> TLSState {
        .failed(TLSProblem(kind: kind, text: text))
    }

    @Test("a certificate has the name or the address that was asked for", arguments: versions)
    func names(_ version: Int32) throws {
        let mismatch = failure(.name, "hostname mismatch")
        let wrongAddress = failure(.name, "IP address mismatch")
        let names: [(String, TLSState)] = [
            ("cache.test", .open), ("127.0.0.1", .open), ("other.test", mismatch),
            ("a.cache.test", mismatch), ("127.0.0.2", wrongAddress), ("::1", wrongAddress),
        ]
        for (name, expected) in names {
            #expect(
                try outcome(.client(), .server(), name: name, maximum: version) == expected,
                "\(name)")
            let unnamed = try outcome(
                .client(.authority), .server(), name: name, maximum: version)
            #expect(unnamed == .open, "\(name)")
        }
        let wild = try Identity("wild", names: "DNS:*.cache.test", by: .authority)
        for (name, expected) in [("a.cache.test", .open), ("a.b.cache.test", mismatch)] {
            #expect(try outcome(.client(), .server(wild), name: name, maximum: version) == expected)
        }
        let six = try Identity("six", names: "IP:::1", by: .authority)
        #expect(try outcome(.client(), .server(six), name: "::1", maximum: version) == .open)
    }

    @Test("foreign, expired and early certificates are refused", arguments: versions)
    func certificates(_ version: Int32) throws {
        let names = "DNS:cache.test"
        let foreign = try Identity("foreign", isAuthority: true)
        let refused: [(Identity, String)] = [
            (
                try Identity("s", names: names, by: foreign),
                "unable to get local issuer certificate"
            ),
            (try Identity("s", names: names), "self-signed certificate"),
            (
                try Identity("s", names: names, days: -2 ... -1, by: .authority),
                "certificate has expired"
            ),
            (
                try Identity("s", names: names, days: 1...2, by: .authority),
                "certificate is not yet valid"
            ),
        ]
        for (identity, text) in refused {
            for verification in [TLSSettings.Verification.full, .authority] {
                #expect(
                    try outcome(.client(verification), .server(identity), maximum: version)
                        == failure(.certificate, text))
            }
            #expect(
                try outcome(.client(.none, trusting: nil), .server(identity), maximum: version)
                    == .open)
        }
    }

    @Test("the refusal of a certificate is told to the server, and no byte goes there")
    func refusalIsTold() throws {
        let relay = try Relay(name: "other.test")
        relay.settle()
        #expect(relay.client.send([1]) == -Int(EPROTO))
        guard case .failed(let problem) = relay.server.tlsState else {
            Issue.record("the server knows nothing")
            return
        }
        #expect(problem.text.hasSuffix("bad certificate"))
    }

    @Test("a server that wants a client certificate gets one", arguments: versions)
    func clientCertificates(_ version: Int32) throws {
        let server = TLSSettings.server(verifiesClients: true)
        let foreign = try Identity("foreign")
        for (identity, isAccepted) in [(Identity.client, true), (foreign, false)] {
            let relay = try Relay(.client(as: identity), server, maximum: version)
            relay.settle()
            #expect((relay.server.tlsState == .open) == isAccepted)
        }
        let relay = try Relay(.client(), server, maximum: version)
        relay.settle()
        // With TLS 1.3 the refusal comes behind the handshake, for the first read.
        _ = relay.client.readAll()
        guard case .failed(let problem) = relay.client.tlsState else {
            Issue.record("not refused")
            return
        }
        #expect(problem.kind == .wantsCertificate)
        #expect(relay.server.tlsState != .open)
    }

    /// Shakes hands, and returns the session that the server has given.
    private func shakeHands(
        _ clients: TLSContext, _ servers: TLSContext, name: String = "cache.test",
        with session: TLSSession?, resumes: Bool
    ) throws -> TLSSession? {
        let pair = try Connection(.unix)
        pair.far.channel.beginTLS(servers, as: .server, on: pair.loop)
        pair.near.channel.beginTLS(
            clients, as: .client(name: name, session: session), on: pair.loop)
        try eventually("the handshake") {
            _ = pair.near.readAll()
            _ = pair.far.readAll()
            return pair.near.tlsState == .open && pair.far.tlsState == .open
        }
        _ = pair.near.readAll()
        #expect(pair.near.isResumed == resumes)
        let given = pair.near.takeSession()
        #expect(given?.isUsable == true)
        #expect(pair.near.takeSession() == nil)
        return given
    }

    @Test("a session is resumed once, and its certificate is still valid", arguments: versions)
    func sessions(_ version: Int32) throws {
        let (client, server) = (TLSSettings.client(), TLSSettings.server())
        let clients = try TLSContext.shared(client)
        let servers = try TLSContext.shared(server)
        #expect(try TLSContext.shared(client) === clients)
        var session: TLSSession?
        for round in 0..<3 {
            session = try shakeHands(clients, servers, with: session, resumes: round > 0)
        }
    }

    @Test("a session proves nothing of another name, nor to other settings")
    func foreignSessions() throws {
        let servers = try TLSContext.shared(.server())
        let (full, lax) = (try TLSContext.shared(.client()), try TLSContext.shared(.client(.none)))
        let session = try shakeHands(full, servers, with: nil, resumes: false)
        _ = try shakeHands(full, servers, name: "127.0.0.1", with: session, resumes: false)
        let unproven = try shakeHands(lax, servers, with: nil, resumes: false)
        _ = try shakeHands(full, servers, with: unproven, resumes: false)
    }

    @Test("contexts are shared by equal settings, and forgotten with their last user")
    func sharing() throws {
        let settings = TLSSettings.client(as: try Identity("me", by: .authority))
        var first: TLSContext? = try TLSContext.shared(settings)
        weak let weakly = first
        #expect(try TLSContext.shared(settings) === first)
        #expect(try TLSContext.shared(.client()) !== first)
        TLSContext.letGo()
        #expect(try TLSContext.shared(settings) === first)
        first = nil
        #expect(weakly == nil)
        _ = try TLSContext.shared(settings)
    }

    @Test("files that cannot be used are named, with the reason")
    func files() throws {
        let good = Identity.client
        let text = Array("nothing\n".utf8)
        var cases: [(TLSSettings, TLSSettingsProblem.Part, String)] = []
        var settings = TLSSettings.client()
        settings.authorities = text
        cases.append((settings, .authorities, "has no certificate"))
        settings.authorities = good.certificate.filter { $0 != UInt8(ascii: "M") }
        cases.append((settings, .authorities, "has a certificate that cannot be read"))
        settings = .client(as: good)
        settings.certificate = text
        cases.append((settings, .certificate, "has no certificate"))
        settings = .client(as: good)
        settings.key = text
        cases.append((settings, .key, "has no private key without a passphrase"))
        settings.key = Identity.server.key
        cases.append((settings, .key, "does not belong to the certificate"))
        settings.key = Identity.rsaServer.key
        cases.append((settings, .key, "does not belong to the certificate"))
        settings = .server()
        settings.key = []
        cases.append((settings, .key, "has no private key without a passphrase"))
        for (settings, part, message) in cases {
            do {
                _ = try TLSContext(settings)
                Issue.record("no problem: \(message)")
            } catch {
                #expect(error.part == part)
                #expect(error.message.hasPrefix(message))
            }
        }
    }

    @Test("a context of the wrong side is never plain")
    func wrongSide() throws {
        let pair = try Connection(.unix)
        pair.near.channel.beginTLS(try TLSContext(.client()), as: .server, on: pair.loop)
        guard case .failed = pair.near.tlsState else {
            Issue.record("it goes on")
            return
        }
        #expect(pair.near.send([1]) == -Int(EPROTO))
        #expect(pair.near.readAll() == Input([], -Int(EPROTO)))
    }
}
