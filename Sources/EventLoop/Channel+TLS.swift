// What a channel does differently when it speaks TLS. Nothing is hidden from the loop: while
// reading is on, input that the stream keeps has the owner called again in the next turn.

internal import CLibevent
internal import Glibc

/// What few channels have: a registration for writability, or TLS.
struct ChannelRare {
    /// The first field, so that a pointer to it is a pointer to the whole.
    fileprivate var event = CLibevent.event()
    /// The registration has been made.
    var hasWriteEvent = false
    var stream: TLSStream?

    static func make() -> UnsafeMutablePointer<ChannelRare> {
        let made = UnsafeMutablePointer<ChannelRare>.allocate(capacity: 1)
        made.initialize(to: ChannelRare())
        return made
    }
}

extension UnsafeMutablePointer<ChannelRare> {
    var writeEvent: UnsafeMutablePointer<event> {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: event.self)
    }

    func free() {
        deinitialize(count: 1)
        deallocate()
    }
}

extension Channel {
    /// Begins TLS on a connected channel on which nothing has been sent or read. What is read and
    /// written from here on is plaintext.
    package mutating func beginTLS(_ context: TLSContext, as role: TLSRole, on loop: EventLoop) {
        guard descriptor >= 0 else { return }
        let rare = rare ?? ChannelRare.make()
        self.rare = rare
        let stream = TLSStream(context, as: role, loop: loop)
        stream.readEvent = readEvent
        rare.pointee.stream = stream
        marks |= Channel.markOfTLS
        stream.begin(descriptor)
        reconsiderOutput(stream)
    }

    /// As `beginTLS` for a server, whose handshake is not gone on with by `receive`: that returns
    /// -EINPROGRESS when there is input for it, and the owner calls `shakeHands`.
    package mutating func beginPatientTLS(_ context: TLSContext, on loop: EventLoop) {
        beginTLS(context, as: .server, on: loop)
        rare?.pointee.stream?.isPatient = true
    }

    /// Goes on with a handshake that `receive` leaves alone. Otherwise as `receive`.
    package func shakeHands(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        guard let rare, let stream = rare.pointee.stream else { return -Int(EBADF) }
        let result = stream.receive(descriptor, into: buffer, count: count)
        reconsiderOutput(stream)
        reconsiderInput(rare)
        return result
    }

    /// Where TLS stands.
    package var tlsState: TLSState { rare?.pointee.stream?.state ?? .none }

    /// The handshake is not over.
    package var isHandshaking: Bool { rare?.pointee.stream?.isHandshaking ?? false }

    /// The handshake has used a session of an earlier connection.
    package var isResumed: Bool { rare?.pointee.stream?.isResumed ?? false }

    /// The server has asked for a client certificate, and there is none.
    package var lacksCertificate: Bool { rare?.pointee.stream?.lacksCertificate ?? false }

    /// What the ends have agreed on; nil without TLS, and before the end of the handshake.
    package var tlsFacts: TLSFacts? { rare?.pointee.stream?.facts }

    /// The peer has said that it sends nothing more. The end of a server's stream is still to
    /// come: it is the FIN, because only that has the last acknowledgement.
    package var peerHasFinished: Bool { rare?.pointee.stream?.peerHasFinished ?? false }

    /// The newest session that the server has given; nil if there is none that was not taken.
    package func takeSession() -> TLSSession? { rare?.pointee.stream?.takeSession() }

    /// Writes ciphertext of bytes that were taken and are not sent. Returns 0 when there is none,
    /// -EAGAIN while something is left, or -errno. Always 0 without TLS.
    package func drain() -> Int {
        guard let rare, let stream = rare.pointee.stream else { return 0 }
        return stream.drain(descriptor)
    }

    /// Bytes that were taken are not sent yet. Always false without TLS.
    package var keepsOutput: Bool {
        guard let rare, let stream = rare.pointee.stream else { return false }
        return stream.unsent > 0
    }

    /// How many bytes of ciphertext are not sent yet. Always 0 without TLS.
    package var bytesKept: Int { rare?.pointee.stream?.unsent ?? 0 }

    /// By how much `bytesKept` has changed since the last call.
    package func keptChange() -> Int {
        guard let stream = rare?.pointee.stream else { return 0 }
        defer { stream.reported = stream.unsent }
        return stream.unsent - stream.reported
    }

    /// How much of the bytes taken since the connection's first one the peer may have read, at
    /// most. `isOrderly` says that the stream has ended with a FIN: what the peer's kernel has not
    /// acknowledged by then, it never gets. Nil without TLS.
    package func receivedBound(isOrderly: Bool) -> Int64? {
        guard let stream = rare?.pointee.stream else { return nil }
        return stream.receivedBound(acknowledged: isOrderly ? acknowledged() : nil)
    }

    /// Nobody asks `receivedBound` about the bytes before this position any more.
    package func forgetRecords(upTo position: Int64) {
        rare?.pointee.stream?.forgetRecords(upTo: position)
    }

    /// For tests: how many records `receivedBound` looks at, what it would say if the peer's
    /// kernel had this much ciphertext, and how much ciphertext the kernel has taken.
    var recordCount: Int { rare?.pointee.stream?.recordCount ?? 0 }
    func boundForTests(_ ciphertext: Int64) -> Int64 {
        rare?.pointee.stream?.receivedBound(acknowledged: ciphertext) ?? 0
    }
    var handedForTests: Int64 { rare?.pointee.stream?.handed ?? 0 }

    @inline(never)
    func receiveTLS(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        // A channel that is closed has no stream.
        guard let stream = rare?.pointee.stream else { return -Int(EBADF) }
        if stream.isPatient, stream.isHandshaking { return -Int(EINPROGRESS) }
        return shakeHands(into: buffer, count: count)
    }

    @inline(never)
    func offerTLS(_ buffer: UnsafeRawPointer, count: Int) -> Int {
        var part = IOPart(base: UnsafeMutableRawPointer(mutating: buffer), count: count)
        return withUnsafeMutablePointer(to: &part) {
            offerTLS(UnsafeMutableBufferPointer(start: $0, count: 1))
        }
    }

    @inline(never)
    func offerTLS(_ parts: UnsafeMutableBufferPointer<IOPart>) -> Int {
        guard let rare, let stream = rare.pointee.stream else { return -Int(EBADF) }
        let result = stream.send(descriptor, parts)
        reconsiderOutput(stream)
        // A failure is reported by the next read.
        reconsiderInput(rare)
        let count = parts.reduce(0) { $0 + $1.count }
        return result == count && stream.unsent > 0 ? count + 1 : result
    }

    func finishWriting(_ stream: TLSStream) {
        stream.finishWriting(descriptor)
        reconsiderOutput(stream)
    }

    /// Says goodbye if nothing is in its way, in one attempt. The stream is not called again.
    func endTLS() {
        guard let stream = rare?.pointee.stream else { return }
        if stream.unsent == 0 { stream.sayGoodbye(descriptor) }
        stream.readEvent = nil
        rare?.pointee.stream = nil
    }
}
