import CTLS
import Glibc
import TestCertificates
import TestSupport

@testable import EventLoop

/// A certificate with its key, both PEM.
struct Identity {
    let certificate: [UInt8]
    let key: [UInt8]

    init(
        _ subject: String, names: String? = nil, isAuthority: Bool = false, isRSA: Bool = false,
        days: ClosedRange<Int32> = -1...1, by issuer: Identity? = nil
    ) throws {
        var made: (certificate: UnsafeMutablePointer<CChar>?, key: UnsafeMutablePointer<CChar>?)
        made = (nil, nil)
        let issuerTexts = [issuer?.certificate, issuer?.key].map { $0.map { $0 + [0] } }
        let isDone = subject.withCString { subject in
            Identity.withText(names.map { Array($0.utf8) + [0] }) { names in
                Identity.withText(issuerTexts[0]) { issuer in
                    Identity.withText(issuerTexts[1]) { issuerKey in
                        var request = test_certificate_request(
                            subject: subject, names: names, is_authority: isAuthority,
                            is_rsa: isRSA, first_day: days.lowerBound, last_day: days.upperBound,
                            issuer: issuer, issuer_key: issuerKey)
                        return test_certificate_make(&request, &made.certificate, &made.key)
                    }
                }
            }
        }
        guard isDone, let certificate = made.certificate, let key = made.key else {
            throw TestFailure("no certificate for \(subject)")
        }
        self.certificate = Array(String(cString: certificate).utf8)
        self.key = Array(String(cString: key).utf8)
        free(certificate)
        free(key)
    }

    private static func withText<Result>(
        _ text: [UInt8]?, _ body: (UnsafePointer<CChar>?) -> Result
    ) -> Result {
        guard let text else { return body(nil) }
        return text.withUnsafeBytes { body($0.assumingMemoryBound(to: CChar.self).baseAddress) }
    }

    /// An authority, and a server's certificate of it for `cache.test` and 127.0.0.1.
    static let authority = try! Identity("authority", isAuthority: true)
    static let server = try! Identity(
        "server", names: "DNS:cache.test,IP:127.0.0.1", by: authority)
    static let rsaServer = try! Identity(
        "server", names: "DNS:cache.test", isRSA: true, by: authority)
    static let client = try! Identity("client", by: authority)
}

extension TLSSettings {
    static func client(
        _ verification: Verification = .full, trusting authority: Identity? = .authority,
        as identity: Identity? = nil
    ) -> TLSSettings {
        TLSSettings(
            side: .client, verification: verification, authorities: authority?.certificate,
            certificate: identity?.certificate ?? [], key: identity?.key ?? [])
    }

    static func server(
        _ identity: Identity = .server, minimum: Version = .v12,
        verifiesClients: Bool = false
    ) -> TLSSettings {
        TLSSettings(
            side: .server, verification: verifiesClients ? .authority : .none, minimum: minimum,
            authorities: verifiesClients ? Identity.authority.certificate : nil,
            certificate: identity.certificate, key: identity.key)
    }
}

/// Two ends that are connected by way of the test, which decides what passes when.
final class Relay {
    let loop: EventLoop
    let client: End
    let server: End
    /// The ends of the relay, towards client and server.
    private let towards: (client: Int32, server: Int32)
    /// Bytes that the relay has read and not passed on.
    var fromClient: [UInt8] = []
    var fromServer: [UInt8] = []

    init(
        _ clientSettings: TLSSettings = .client(), _ serverSettings: TLSSettings = .server(),
        name: String = "cache.test", session: TLSSession? = nil, maximum: Int32? = nil
    ) throws {
        loop = EventLoop()!
        let one = try connectedPair(.unix)
        let other = try connectedPair(.unix)
        client = End(one.0, loop)
        server = End(other.0, loop)
        towards = (one.1, other.1)
        let serverContext = try TLSContext(serverSettings)
        if let maximum {
            SSL_CTX_ctrl(
                serverContext.handle, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(maximum), nil)
        }
        server.channel.beginTLS(serverContext, as: .server, on: loop)
        client.channel.beginTLS(
            try TLSContext(clientSettings), as: .client(name: name, session: session), on: loop)
    }

    deinit {
        close(towards.client)
        close(towards.server)
    }

    /// Takes what the ends have written. False if there was nothing.
    @discardableResult
    func collect() -> Bool {
        let before = fromClient.count + fromServer.count
        fromClient += read(towards.client)
        fromServer += read(towards.server)
        return fromClient.count + fromServer.count > before
    }

    private func read(_ descriptor: Int32) -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count <= 0 { return all }
            all += buffer[..<count]
        }
    }

    func passToServer(_ count: Int) {
        pass(Array(fromClient.prefix(count)), towards.server)
        fromClient.removeFirst(min(count, fromClient.count))
    }

    func passToClient(_ count: Int) {
        pass(Array(fromServer.prefix(count)), towards.client)
        fromServer.removeFirst(min(count, fromServer.count))
    }

    private func pass(_ bytes: [UInt8], _ descriptor: Int32) {
        guard !bytes.isEmpty else { return }
        let sent = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        precondition(sent == bytes.count, "the socket has no room for \(bytes.count) bytes")
    }

    /// Ends the stream towards the client, as the server's kernel would.
    func endTowardsClient() { shutdown(towards.client, Int32(SHUT_WR)) }

    /// Passes everything on, in pieces of `size`, until nothing comes any more. Returns what the
    /// ends have read meanwhile.
    @discardableResult
    func settle(pieces size: Int = .max) -> (client: [UInt8], server: [UInt8]) {
        var got: (client: [UInt8], server: [UInt8]) = ([], [])
        while collect() || !fromClient.isEmpty || !fromServer.isEmpty {
            while !fromClient.isEmpty {
                passToServer(min(size, 32_768))
                got.server += server.readAll().bytes
            }
            while !fromServer.isEmpty {
                passToClient(min(size, 32_768))
                got.client += client.readAll().bytes
            }
        }
        return got
    }

    /// Finishes the handshake.
    func open() throws {
        settle()
        guard client.channel.tlsState == .open, server.channel.tlsState == .open else {
            throw TestFailure("\(client.channel.tlsState), \(server.channel.tlsState)")
        }
    }
}

/// `#expect` cannot take a channel apart, because it cannot be copied.
extension End {
    var tlsState: TLSState { channel.tlsState }
    var keepsOutput: Bool { channel.keepsOutput }
    var peerHasFinished: Bool { channel.peerHasFinished }
    var isResumed: Bool { channel.isResumed }
    var recordCount: Int { channel.recordCount }
    func drain() -> Int { channel.drain() }
    func offer(_ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { channel.offer($0.baseAddress!, count: $0.count) }
    }
    func takeSession() -> TLSSession? { channel.takeSession() }
    func receivedBound(isOrderly: Bool) -> Int64? {
        channel.receivedBound(isOrderly: isOrderly)
    }
}
