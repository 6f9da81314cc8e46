// One connection's TLS. The stream is told the descriptor with each call and makes exactly the
// calls that a plain channel makes: at most one recv for each read, one send for each group of
// records.

internal import CLibevent
internal import CTLS
internal import Glibc

/// Which end of a TLS connection a channel is.
package enum TLSRole {
    /// A client of the server with this name or numeric address, which its certificate must have
    /// if the context says so. The session is one that this server has given before.
    case client(name: String, session: TLSSession?)
    case server
}

/// Why a TLS connection cannot be used.
package struct TLSProblem: Error, Equatable, Sendable {
    package enum Kind: Sendable {
        /// The verification of the certificate has failed.
        case certificate
        /// The certificate is trusted and does not have the name.
        case name
        /// The server wants a client certificate, and there is none.
        case wantsCertificate
        /// The connection has ended behind the handshake, without a word, and the server had asked
        /// for a client certificate. The text is the cause of the end.
        case seemsToWantCertificate
        /// The peer does not speak TLS.
        case notTLS
        /// Anything else.
        case other
    }

    package let kind: Kind
    /// The words of OpenSSL, or of the system.
    package let text: String

    package init(kind: Kind, text: String) {
        self.kind = kind
        self.text = text
    }
}

/// Where a channel's TLS stands.
package enum TLSState: Equatable {
    /// The channel is plain.
    case none
    case handshaking
    /// The peer is verified, and bytes can pass.
    case open
    case failed(TLSProblem)
}

/// What both ends of a TLS connection have agreed on.
package struct TLSFacts: Equatable, Sendable {
    /// `TLSv1.3`.
    package let version: String
    /// OpenSSL's name of it.
    package let cipher: String
    /// The handshake has used a session of an earlier connection.
    package let isResumed: Bool
    /// When the peer's certificate expires, in seconds since 1970; negative if it has none.
    package let expiresAt: Int64
}

/// Memory that the TLS connections of one event loop share: an idle connection has no buffer.
final class TLSScratch {
    /// What one recv can bring.
    static let readSize = 256 << 10
    /// The most plaintext of one record (RFC 8446, 5.1).
    static let recordSize = 16 << 10

    let ciphertext = UnsafeMutableRawPointer.allocate(
        byteCount: TLSScratch.readSize, alignment: 64)
    /// Where small pieces are joined to one record.
    let plaintext = UnsafeMutableRawPointer.allocate(
        byteCount: TLSScratch.recordSize, alignment: 64)
    let window = UnsafeMutablePointer<redpool_tls_window>.allocate(capacity: 1)

    init() { window.initialize(to: redpool_tls_window()) }

    deinit {
        ciphertext.deallocate()
        plaintext.deallocate()
        free(window.pointee.out)
        window.deallocate()
    }
}

/// The TLS of one channel.
final class TLSStream {
    enum Stage {
        case handshaking, open, failed
    }

    /// Nil only if there was no memory for it, and then the stream has failed.
    let ssl: OpaquePointer?
    let context: TLSContext
    let scratch: TLSScratch
    unowned let loop: EventLoop
    let isServer: Bool
    private let notes = UnsafeMutablePointer<redpool_tls_notes>.allocate(capacity: 1)
    var stage = Stage.handshaking
    private var problem: TLSProblem?
    /// The name that the server's certificate must have. Empty at a server.
    private var serverName = ""
    /// The channel's read registration; nil once the channel is closed.
    var readEvent: UnsafeMutablePointer<event>?
    /// The stream is in the loop's list.
    var isListed = false
    /// The channel still wants its read callback for what is kept here.
    var wantsRevisit = false

    /// Ciphertext that has come and is not decrypted, because the caller's buffer was full.
    private var input = KeptBytes()
    /// Something that the next read reports is known already: plaintext, an end or a failure.
    var hasNews = false
    private var hasSeenInput = false
    /// The peer has said close_notify.
    private(set) var peerHasFinished = false

    /// Ciphertext that the socket has refused.
    var output = KeptBytes()
    /// The owner decides when the handshake goes on.
    var isPatient = false
    /// How many bytes of `output` the owner knows of.
    var reported = 0
    /// What a send has failed with, as -errno: it is reported until the end.
    var writeError = 0
    /// The owner waits for writability, and the handshake is not done.
    var awaitsOpening = false
    /// close_notify is behind everything in `output`, and the socket's writing side is shut after
    /// it.
    var shutsBehindOutput = false
    var hasSaidGoodbye = false

    /// Ciphertext that the kernel has taken, and plaintext that is encrypted, since the beginning.
    var handed: Int64 = 0
    var encrypted: Int64 = 0
    var records = TLSRecords()

    /// Plaintext that has come, in bytes.
    private var decrypted: Int64 = 0
    private var hello = TLSHelloGuard()

    private static let mostIdleRecords: Int32 = 32
    static let recordsPerGroup = 4
    static let brokenProtocol = -Int(EPROTO)

    init(_ context: TLSContext, as role: TLSRole, loop: EventLoop) {
        self.context = context
        self.loop = loop
        scratch = loop.tlsScratch()
        notes.initialize(to: redpool_tls_notes())
        notes.pointee.most_idle_records = TLSStream.mostIdleRecords
        isServer = context.side == .server
        ssl = redpool_tls_new(
            context.handle, TLSStream.method, scratch.window, notes, isServer)
        switch role {
        case .server where isServer: if ssl == nil { fail(.other, "no memory") }
        case .client(let name, let session) where !isServer:
            guard ssl != nil, expect(name) else {
                fail(.other, "the name cannot be verified")
                return
            }
            serverName = name
            if let session, session.isProof(of: name, to: context) {
                _ = redpool_tls_set_session(ssl, session.handle)
            }
        default: fail(.other, "a context of the other side")
        }
    }

    private nonisolated(unsafe) static let method = redpool_tls_method()

    private func expect(_ name: String) -> Bool {
        redpool_tls_expect(ssl, name, context.verification == .full)
    }

    deinit {
        if let ssl { redpool_tls_free(ssl, notes) }
        notes.deallocate()
    }

    var state: TLSState {
        switch stage {
        case .handshaking: .handshaking
        case .open: .open
        case .failed: .failed(problem ?? TLSProblem(kind: .other, text: "unknown error"))
        }
    }

    /// Nil before the end of the handshake.
    var facts: TLSFacts? {
        guard stage == .open, let ssl else { return nil }
        return TLSFacts(
            version: SSL_get_version(ssl).map { String(cString: $0) } ?? "",
            cipher: redpool_tls_cipher(ssl).map { String(cString: $0) } ?? "",
            isResumed: isResumed, expiresAt: redpool_tls_peer_expiry(ssl))
    }

    var isOpen: Bool { stage == .open }
    /// The server has asked for a client certificate, and there is none. A server of TLS 1.3 that
    /// insists refuses behind the handshake; if our first command is there before that, its answer
    /// is a reset.
    var lacksCertificate: Bool { notes.pointee.was_asked }
    var isFailed: Bool { stage == .failed }
    var isHandshaking: Bool { stage == .handshaking }
    /// The handshake has used an earlier session.
    var isResumed: Bool { ssl.map { SSL_session_reused($0) == 1 } ?? false }
    /// Ciphertext that the socket has refused, in bytes.
    var unsent: Int { output.count }
    /// The next read returns something without a read from the socket.
    var keepsInput: Bool { input.count > 0 || hasNews }

    /// The newest session that the server has given. Each is returned once.
    func takeSession() -> TLSSession? {
        guard let session = notes.pointee.session else { return nil }
        notes.pointee.session = nil
        return TLSSession(session, of: serverName, verifiedBy: context)
    }

    func fail(_ kind: TLSProblem.Kind, _ text: String) {
        stage = .failed
        problem = TLSProblem(kind: kind, text: text)
    }

    func fail(_ error: redpool_tls_error) {
        var error = error
        let text = TLSContext.text(of: error)
        if redpool_tls_is_unverified(&error) {
            var words: UnsafePointer<CChar>?
            let verdict = redpool_tls_verdict(ssl, &words)
            let kind: TLSProblem.Kind =
                redpool_tls_is_name_mismatch(verdict) ? .name : .certificate
            fail(kind, words.map { String(cString: $0) } ?? text)
        } else if notes.pointee.was_asked, redpool_tls_is_refusal(&error) {
            fail(.wantsCertificate, text)
        } else if redpool_tls_is_bare(&error) {
            fail(.wantsCertificate, text)
        } else {
            fail(.other, text)
        }
    }
}

// MARK: - Reading

extension TLSStream {
    /// Begins the handshake: a client speaks first.
    func begin(_ descriptor: Int32) {
        guard stage == .handshaking, !isServer else { return }
        shakeHands()
        _ = flush(descriptor)
    }

    /// Reads plaintext with at most one recv. Returns the number of bytes, 0 at the end of the
    /// stream, -EAGAIN when no plaintext has come of it, or -errno; EPROTO if TLS has failed.
    func receive(_ descriptor: Int32, into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        if stage == .failed { return TLSStream.brokenProtocol }
        guard count > 0 else { return -Int(EAGAIN) }
        if keepsInput {
            let result = decryptKept(into: buffer, count: count)
            _ = flush(descriptor)
            if result != -Int(EAGAIN) { return result }
        }
        if isServer, peerHasFinished { return 0 }
        let wanted = min(max(count, 4096), TLSScratch.readSize)
        let came = redpool_recv(descriptor, scratch.ciphertext, wanted)
        if came <= 0 { return came }
        // Nothing follows close_notify. The server's end of the stream is its FIN, which has the
        // last acknowledgement.
        if peerHasFinished { return -Int(EAGAIN) }
        if !hasSeenInput, !isTLS() {
            fail(.notTLS, "wrong version number")
            return TLSStream.brokenProtocol
        }
        if isServer, stage == .handshaking, !allowsHello(came) {
            fail(.other, "ClientHello of more than \(TLSHelloGuard.longestHello) bytes")
            return TLSStream.brokenProtocol
        }
        scratch.window.pointee.in = UnsafePointer(
            scratch.ciphertext.assumingMemoryBound(to: UInt8.self))
        scratch.window.pointee.in_left = came
        let result = decrypt(into: buffer, count: count)
        let left = scratch.window.pointee.in_left
        if left > 0, stage == .open, !peerHasFinished {
            input.append(scratch.window.pointee.in, left)
        }
        scratch.window.pointee.in_left = 0
        _ = flush(descriptor)
        return result
    }

    private func allowsHello(_ count: Int) -> Bool {
        hello.allows(
            UnsafeRawBufferPointer(start: scratch.ciphertext, count: count),
            isVersion13: SSL_version(ssl) >= TLS1_3_VERSION)
    }

    /// The first byte belongs to a handshake or to an alert (RFC 8446, 5.1). A client begins with
    /// a handshake.
    private func isTLS() -> Bool {
        hasSeenInput = true
        let first = scratch.ciphertext.load(as: UInt8.self)
        return first == 0x16 || (first == 0x15 && !isServer)
    }

    private func decryptKept(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        hasNews = false
        let before = input.count
        scratch.window.pointee.in = UnsafePointer(
            input.bytes?.assumingMemoryBound(to: UInt8.self))
        scratch.window.pointee.in_left = before
        let result = decrypt(into: buffer, count: count)
        input.consume(before - scratch.window.pointee.in_left)
        if stage == .failed || peerHasFinished { input.consume(input.count) }
        scratch.window.pointee.in_left = 0
        return result
    }

    /// A client may send some records without data, and one more for each 64 KB.
    private func noteData(_ count: Int32) {
        decrypted += Int64(count)
        notes.pointee.most_idle_records =
            TLSStream.mostIdleRecords
            + Int32(
                clamping: decrypted >> 16)
    }

    private func shakeHands() {
        var error = redpool_tls_error()
        switch redpool_tls_handshake(ssl, &error) {
        case 1:
            if context.verification != .none, !redpool_tls_is_verified(ssl) {
                fail(.certificate, "no certificate was verified")
            } else if context.verification != .none, redpool_tls_has_expired(ssl) {
                fail(.certificate, "certificate has expired")
            } else {
                stage = .open
            }
        case redpool_tls_wants_input.rawValue: break
        default: fail(error)
        }
    }

    /// Handles the ciphertext in the window.
    private func decrypt(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        if stage == .handshaking { shakeHands() }
        if stage == .handshaking { return -Int(EAGAIN) }
        var got = 0
        var error = redpool_tls_error()
        while stage == .open, got < count {
            let result = redpool_tls_read(
                ssl, buffer + got, Int32(clamping: count - got), &error)
            let isBusy = notes.pointee.idle_records > notes.pointee.most_idle_records
            if result > 0 {
                got += Int(result)
                noteData(result)
                // Asking for more would take a buffer and give it back, for nothing.
                if scratch.window.pointee.in_left == 0, SSL_pending(ssl) == 0 { break }
            } else if isBusy {
                fail(.other, "too many records without data")
            } else if result == redpool_tls_wants_input.rawValue {
                return got > 0 ? got : -Int(EAGAIN)
            } else if result == redpool_tls_ended.rawValue {
                peerHasFinished = true
                hasNews = isServer && got > 0
                return got > 0 ? got : isServer ? 0 : -Int(EAGAIN)
            } else {
                fail(error)
            }
        }
        if stage == .failed {
            hasNews = got > 0
            return got > 0 ? got : TLSStream.brokenProtocol
        }
        hasNews = SSL_pending(ssl) > 0
        return got
    }
}
