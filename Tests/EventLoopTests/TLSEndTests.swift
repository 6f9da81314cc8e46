import CTLS
import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite("TLS: how a connection ends, and what is refused")
struct TLSEndTests {
    @Test("a server's close_notify is no end of the stream: its FIN is")
    func serverSaysGoodbye() throws {
        let relay = try Relay()
        try relay.open()
        relay.server.send([1, 2])
        relay.server.channel.finishWriting()
        relay.collect()
        relay.passToClient(.max)
        #expect(relay.client.readAll() == Input([1, 2], -Int(EAGAIN)))
        #expect(relay.client.peerHasFinished)
        #expect(relay.client.readAll() == Input([], -Int(EAGAIN)))
        // The other direction is still there.
        #expect(relay.client.send([3]) == 1)
        #expect(relay.settle().server == [3])
        relay.endTowardsClient()
        #expect(relay.client.readAll() == Input([], 0))
    }

    @Test("a client's close_notify is its end, whether or not a FIN follows")
    func clientSaysGoodbye() throws {
        let relay = try Relay()
        try relay.open()
        relay.client.send([1, 2])
        relay.client.channel.finishWriting()
        relay.collect()
        relay.passToServer(.max)
        #expect(relay.server.readAll() == Input([1, 2], 0))
        #expect(relay.server.readAll() == Input([], 0))
        #expect(relay.server.send([3]) == 1)
        #expect(relay.settle().client == [3])
    }

    @Test("closing says goodbye")
    func closing() throws {
        let relay = try Relay()
        try relay.open()
        relay.server.channel.close()
        relay.collect()
        relay.passToClient(.max)
        #expect(relay.client.readAll() == Input([], -Int(EAGAIN)))
        #expect(relay.client.peerHasFinished)
    }

    @Test("a FIN without close_notify is an end as on a plain connection")
    func truncated() throws {
        let relay = try Relay()
        try relay.open()
        relay.server.send([1, 2])
        relay.server.send([3, 4])
        relay.collect()
        relay.passToClient(relay.fromServer.count - 1)
        relay.endTowardsClient()
        #expect(relay.client.readAll() == Input([1, 2], 0))
        #expect(!relay.client.peerHasFinished)
    }

    @Test("an end in the handshake is an end")
    func endInHandshake() throws {
        let relay = try Relay()
        relay.endTowardsClient()
        #expect(relay.client.readAll() == Input([], 0))
        #expect(relay.client.tlsState == .handshaking)
    }

    @Test("no byte of a changed record passes, and the connection has failed", arguments: 0..<60)
    func changedRecord(_ place: Int) throws {
        let relay = try Relay()
        try relay.open()
        relay.server.send([1, 2])
        relay.server.send([UInt8](repeating: 7, count: 40))
        relay.collect()
        let first = 5 + Int(relay.fromServer[3]) << 8 + Int(relay.fromServer[4])
        guard first + place < relay.fromServer.count else { return }
        relay.fromServer[first + place] ^= 0x10
        // A longer length makes the record incomplete.
        relay.fromServer += [UInt8](repeating: 0, count: 1 << 14)
        relay.passToClient(.max)
        #expect(relay.client.readAll() == Input([1, 2], -Int(EPROTO)))
        guard case .failed = relay.client.tlsState else {
            Issue.record("it has not failed")
            return
        }
        #expect(relay.client.readAll() == Input([], -Int(EPROTO)))
        #expect(relay.client.send([1]) == -Int(EPROTO))
    }

    @Test("a repeated record is refused")
    func repeatedRecord() throws {
        let relay = try Relay()
        try relay.open()
        relay.server.send([1, 2])
        relay.collect()
        relay.fromServer += relay.fromServer
        relay.passToClient(.max)
        #expect(relay.client.readAll() == Input([1, 2], -Int(EPROTO)))
    }

    @Test("the owner is called for a failure behind bytes")
    func failureBehindBytes() throws {
        let relay = try Relay()
        try relay.open()
        relay.server.send([1, 2])
        relay.collect()
        relay.fromServer += relay.fromServer
        relay.passToClient(.max)
        var results: [Int] = []
        relay.client.onReadable = { end in
            var buffer = [UInt8](repeating: 0, count: 100)
            results.append(
                buffer.withUnsafeMutableBytes {
                    end.channel.receive(into: $0.baseAddress!, count: $0.count)
                })
            if results.count == 2 { end.channel.close() }
        }
        relay.client.channel.startReading()
        try relay.loop.run(until: "the failure") { results.count == 2 }
        #expect(results == [2, -Int(EPROTO)])
    }

    @Test("what is no TLS is found by its first byte")
    func plainPeers() throws {
        let relay = try Relay()
        relay.fromServer = Array("-ERR unknown command\r\n".utf8)
        relay.passToClient(.max)
        #expect(relay.client.readAll() == Input([], -Int(EPROTO)))
        #expect(relay.client.tlsState == .failed(wrongVersion))
        relay.fromClient = Array("PING\r\n".utf8)
        relay.passToServer(.max)
        #expect(relay.server.readAll() == Input([], -Int(EPROTO)))
        #expect(relay.server.tlsState == .failed(wrongVersion))
    }

    private var wrongVersion: TLSProblem {
        TLSProblem(kind: .notTLS, text: "wrong version number")
    }

    @Test("a renegotiation is refused, from either side")
    func renegotiation() throws {
        for isServer in [true, false] {
            let pair = try RawPair(rawIsServer: isServer, maximum: TLS1_2_VERSION)
            #expect(pair.raw.renegotiate() == 1)
            try eventually("the refusal") {
                _ = pair.end.readAll()
                return pair.raw.read() == nil && pair.raw.hasFailed
            }
            #expect(pair.end.tlsState == .open)
        }
    }

    @Test("a key update passes unseen, from either side, before and behind data")
    func keyUpdate() throws {
        for isServer in [true, false] {
            let pair = try RawPair(rawIsServer: isServer, maximum: TLS1_3_VERSION)
            for round in 0..<3 {
                #expect(pair.raw.updateKeys() == 1)
                pair.raw.write([UInt8(round), 1])
                try eventually("the data") { pair.end.hasInput }
                #expect(pair.end.readAll().bytes == [UInt8(round), 1])
                #expect(pair.end.send([UInt8(round), 2]) == 2)
                var back: [UInt8] = []
                try eventually("the answer") {
                    back += pair.raw.read() ?? []
                    return back.count >= 2
                }
                #expect(back == [UInt8(round), 2])
            }
            #expect(pair.end.tlsState == .open)
        }
    }
}

/// Each costs new keys and an answer.
@Suite("TLS: records without data") struct TLSIdleRecordsTests {
    @Test("key updates without end are no way to keep a server busy")
    func keyUpdates() throws {
        let pair = try RawPair(rawIsServer: false, maximum: TLS1_3_VERSION)
        for _ in 0..<32 { #expect(pair.raw.updateKeys() == 1 && pair.raw.shakeHands()) }
        try eventually("what they cost") {
            _ = pair.end.readAll()
            return !pair.end.hasInput
        }
        #expect(pair.end.tlsState == .open)
        // As many as the socket takes.
        for _ in 0..<1000 where !(pair.raw.updateKeys() == 1 && pair.raw.shakeHands()) { break }
        try eventually("the end") {
            _ = pair.end.readAll()
            return pair.end.tlsState != .open
        }
        let problem = TLSProblem(kind: .other, text: "too many records without data")
        #expect(pair.end.tlsState == .failed(problem))
        // The answers to a few, and not to a thousand.
        #expect(pair.end.channel.handedForTests < 32 << 10)
    }

    @Test("who sends data may send more of them")
    func data() throws {
        let pair = try RawPair(rawIsServer: false, maximum: TLS1_3_VERSION)
        for _ in 0..<64 {
            #expect(pair.raw.updateKeys() == 1)
            for _ in 0..<8 {
                pair.raw.write([UInt8](repeating: 5, count: 8 << 10))
                try eventually("the data") { pair.end.readAll().bytes.count > 0 }
            }
        }
        #expect(pair.end.tlsState == .open)
    }
}

/// A channel with OpenSSL alone at the other end, over a socket.
private struct RawPair {
    let loop: EventLoop
    let end: End
    let raw: RawPeer

    init(rawIsServer: Bool, maximum: Int32) throws {
        loop = try #require(EventLoop())
        let (one, other) = try connectedPair(.unix)
        end = End(one, loop)
        let server = try TLSContext(.server())
        let client = try TLSContext(.client())
        raw = RawPeer(rawIsServer ? server : client, other, maximum, isServer: rawIsServer)
        end.channel.beginTLS(
            rawIsServer ? client : server,
            as: rawIsServer ? .client(name: "cache.test", session: nil) : .server, on: loop)
        try eventually("the handshake") {
            _ = end.readAll()
            return raw.shakeHands() && end.tlsState == .open
        }
        _ = end.readAll()
        _ = raw.read()
    }
}

private final class RawPeer {
    private let ssl: OpaquePointer
    private let context: TLSContext
    private let descriptor: Int32
    private(set) var hasFailed = false

    init(_ context: TLSContext, _ descriptor: Int32, _ maximum: Int32, isServer: Bool) {
        self.context = context
        self.descriptor = descriptor
        ssl = SSL_new(context.handle)
        SSL_set_fd(ssl, descriptor)
        SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(maximum), nil)
        // SSL_OP_NO_RENEGOTIATION
        SSL_clear_options(ssl, UInt64(1) << 30)
        if isServer { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
    }

    deinit {
        SSL_free(ssl)
        close(descriptor)
    }

    func shakeHands() -> Bool { SSL_do_handshake(ssl) == 1 }

    func renegotiate() -> Int32 {
        SSL_renegotiate(ssl) == 1 ? (SSL_do_handshake(ssl), 1).1 : 0
    }

    func updateKeys() -> Int32 { SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) }

    func write(_ bytes: [UInt8]) {
        let count = bytes.withUnsafeBytes {
            SSL_write(ssl, $0.baseAddress, Int32($0.count))
        }
        precondition(count == bytes.count)
    }

    func read() -> [UInt8]? {
        ERR_clear_error()
        var buffer = [UInt8](repeating: 0, count: 1000)
        let count = SSL_read(ssl, &buffer, Int32(buffer.count))
        if count <= 0 {
            if SSL_get_error(ssl, count) == SSL_ERROR_SSL { hasFailed = true }
            return nil
        }
        return Array(buffer[..<Int(count)])
    }
}
