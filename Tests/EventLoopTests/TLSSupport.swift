import CTLS
import Glibc
import TestSupport

@testable import EventLoop

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
