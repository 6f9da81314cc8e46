// A socket and its libevent registrations. They are closed in a fixed order: events first, then the
// descriptor. After `close()` no callback of this channel can start.
//
// A channel may speak TLS. Its owner sees plaintext then, by the same functions; Channel+TLS has
// the rest.

internal import CLibevent
internal import Glibc

/// Owns one non-blocking descriptor. Read interest is a persistent registration that lasts as long
/// as the channel, because re-adding it in each iteration would cost an epoll_ctl each time. Write
/// interest is one-shot, and armed only after a short write.
package struct Channel: ~Copyable {
    package private(set) var descriptor: Int32
    /// The interest, and whether the channel speaks TLS. One field, because a channel is passed in
    /// registers: a second one would cost every call.
    var marks: UInt8 = 0
    /// The event also holds the base, the callback and its argument; nil once closed.
    var readEvent: UnsafeMutablePointer<event>?
    /// What few channels have. Nil unless the channel waits for writability or speaks TLS.
    var rare: UnsafeMutablePointer<ChannelRare>?
    private let onWritable: EventCallback?

    /// What the persistent registration waits for. Changes freely: `none` <-> `reading` <->
    /// `endOnly`.
    private enum Interest: UInt8 {
        case none = 0
        case reading
        /// Reading is paused, but the end of the connection is still noticed.
        case endOnly
    }

    private var interest: Interest {
        get { Interest(rawValue: marks & 3) ?? .none }
        set { marks = marks & ~3 | newValue.rawValue }
    }

    static let markOfTLS: UInt8 = 4

    /// The channel speaks TLS: what is read and written is plaintext.
    package var isTLS: Bool { marks & Channel.markOfTLS != 0 }

    /// A channel that has never been open, for an owner that is not initialized yet.
    package init() {
        descriptor = -1
        onWritable = nil
    }

    /// Takes ownership of `descriptor`. The callbacks get `owner` unretained, so it must outlive
    /// the channel.
    package init(
        descriptor: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        onReadable: @escaping EventCallback, onWritable: @escaping EventCallback
    ) {
        self.descriptor = descriptor
        self.onWritable = onWritable
        let event = UnsafeMutablePointer<event>.allocate(capacity: 1)
        event_assign(event, loop.base, descriptor, redpool_ev_read, onReadable, owner)
        readEvent = event
    }

    package var isOpen: Bool { descriptor >= 0 }
    package var isReading: Bool { interest == .reading }

    /// Starts calling `onReadable`. Idempotent.
    package mutating func startReading() {
        register(.reading, flags: redpool_ev_read | redpool_ev_persist)
    }

    /// Stops reading, but still calls `onReadable` when the state of the peer has changed; `peer`
    /// has the new state. It is edge-triggered, because unread bytes stay unread. It also waits for
    /// reads, because libevent reports a broken connection as readable.
    package mutating func pauseReading() {
        register(
            .endOnly,
            flags: redpool_ev_read | redpool_ev_closed | redpool_ev_persist | redpool_ev_edge)
    }

    /// Stops reading without any notice of the peer.
    package mutating func stopReading() {
        guard interest != .none, let event = readEvent else { return }
        event_del(event)
        interest = .none
        rare?.pointee.stream?.wantsRevisit = false
    }

    private mutating func register(_ wanted: Interest, flags: Int16) {
        guard interest != wanted, let event = readEvent else { return }
        if interest != .none { event_del(event) }
        // The registrations of a descriptor must be all edge-triggered, or none of them.
        let isWriteArmed = isWriteArmed
        if isWriteArmed, let rare { event_del(rare.writeEvent) }
        event_assign(
            event, event_get_base(event), descriptor, flags, event_get_callback(event),
            event_get_callback_arg(event))
        EventLoop.add(event)
        interest = wanted
        if let rare {
            if isWriteArmed { arm(rare) }
            reconsiderInput(rare)
        }
    }

    /// The owner is to be called when the socket accepts bytes again.
    package var isAwaitingWritable: Bool {
        guard let rare else { return false }
        return rare.pointee.stream?.awaitsOpening == true || isWriteArmed
    }

    private var isWriteArmed: Bool {
        guard let rare, rare.pointee.hasWriteEvent else { return false }
        return event_pending(rare.writeEvent, redpool_ev_write, nil) != 0
    }

    private func arm(_ rare: UnsafeMutablePointer<ChannelRare>) {
        guard let readEvent else { return }
        let edge = interest == .endOnly ? redpool_ev_edge : 0
        event_assign(
            rare.writeEvent, event_get_base(readEvent), descriptor, redpool_ev_write | edge,
            onWritable, event_get_callback_arg(readEvent))
        rare.pointee.hasWriteEvent = true
        event_add(rare.writeEvent, nil)
    }

    /// Requests one call of `onWritable` when the socket accepts bytes again or has finished
    /// connecting. While a TLS handshake needs nothing of the socket, the call comes after it.
    package mutating func awaitWritable() {
        guard readEvent != nil, !isWriteArmed else { return }
        let rare = rare ?? ChannelRare.make()
        self.rare = rare
        if let stream = rare.pointee.stream, stream.isHandshaking, stream.unsent == 0 {
            stream.awaitsOpening = true
        } else {
            arm(rare)
        }
    }

    /// Arms the write registration if the stream has ciphertext that the socket has refused, or if
    /// the handshake that the owner waits for is done.
    func reconsiderOutput(_ stream: TLSStream) {
        guard let rare, stream.unsent > 0 || (stream.awaitsOpening && !stream.isHandshaking)
        else { return }
        stream.awaitsOpening = false
        if !isWriteArmed { arm(rare) }
    }

    /// Calls the owner again for input that the stream keeps, while reading is on.
    func reconsiderInput(_ rare: UnsafeMutablePointer<ChannelRare>) {
        guard let stream = rare.pointee.stream else { return }
        if isReading, stream.keepsInput {
            stream.loop.revisit(stream)
        } else {
            stream.wantsRevisit = false
        }
    }

    /// Frees the memory of the write registration once it is no longer needed. Returns whether the
    /// channel speaks TLS, which costs who asks nothing here.
    @discardableResult
    package mutating func forgetWritable() -> Bool {
        guard let rare else { return false }
        if rare.pointee.hasWriteEvent { event_del(rare.writeEvent) }
        rare.pointee.hasWriteEvent = false
        if rare.pointee.stream != nil { return true }
        rare.free()
        self.rare = nil
        return false
    }

    /// Closes the descriptor and removes every registration. Idempotent.
    package mutating func close() {
        guard descriptor >= 0 else { return }
        stopReading()
        endTLS()
        readEvent?.deallocate()
        readEvent = nil
        forgetWritable()
        _ = Glibc.close(descriptor)
        descriptor = -1
    }

    deinit {
        guard descriptor >= 0 else { return }
        if let event = readEvent {
            event_del(event)
            event.deallocate()
        }
        if let rare {
            if rare.pointee.hasWriteEvent { event_del(rare.writeEvent) }
            rare.pointee.stream?.readEvent = nil
            rare.free()
        }
        _ = Glibc.close(descriptor)
    }

    /// Reads at most `count` bytes. Returns the number read, 0 at the end of the stream, or
    /// -errno.
    package func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        if isTLS { return receiveTLS(into: buffer, count: count) }
        return redpool_recv(descriptor, buffer, count)
    }

    /// Writes at most `count` bytes. Returns the number accepted, or -errno.
    package func send(_ buffer: UnsafeRawPointer, count: Int) -> Int {
        min(offer(buffer, count: count), count)
    }

    /// As `send`, but the number that it returns is greater than `count` if all bytes were accepted
    /// and not all of them are sent yet, which only TLS does. Who compares it with `count` anyway
    /// needs no other test. `drain` sends the rest.
    package func offer(_ buffer: UnsafeRawPointer, count: Int) -> Int {
        if isTLS { return offerTLS(buffer, count: count) }
        return redpool_send(descriptor, buffer, count)
    }

    /// Offers several pieces with one call.
    package func offer(_ parts: UnsafeMutableBufferPointer<IOPart>) -> Int {
        if isTLS { return offerTLS(parts) }
        guard let base = parts.baseAddress else { return 0 }
        return base.withMemoryRebound(to: iovec.self, capacity: parts.count) {
            redpool_send_vector(descriptor, $0, parts.count)
        }
    }

    /// The state of the peer, found without reading.
    package var peer: PeerState {
        switch redpool_peer_end(descriptor) {
        case 0: .there
        case 1: .ended
        default: .broken
        }
    }

    /// True when bytes or the end of the stream can be read.
    package var hasInput: Bool {
        guard descriptor >= 0 else { return false }
        return rare?.pointee.stream?.keepsInput == true || redpool_is_readable(descriptor)
    }

    /// Shuts down the writing side. Bytes that the peer still sends can be read.
    package func finishWriting() {
        if let stream = rare?.pointee.stream {
            finishWriting(stream)
        } else {
            _ = redpool_shutdown_write(descriptor)
        }
    }

    /// Bytes that the peer's kernel has acknowledged since the connection was made; nil where the
    /// transport does not report it (unix sockets). With TLS they are ciphertext: `receivedBound`.
    package func acknowledged() -> Int64? {
        let count = redpool_bytes_acknowledged(descriptor)
        return count < 0 ? nil : count
    }

    /// Bytes written that the peer has not taken yet: not acknowledged by its kernel, or, on a
    /// unix socket, not read.
    package func bytesWaiting() -> Int {
        Int(redpool_bytes_waiting(descriptor)) + (rare?.pointee.stream?.unsent ?? 0)
    }

    /// Bounds what the kernel takes and has not sent yet, in bytes; 0 for no bound. Only TCP has
    /// one: the kernel keeps little for a unix socket.
    package func limitUnsent(to bytes: Int32) {
        _ = redpool_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, bytes)
    }

    /// The socket's pending error as a positive errno; 0 when it is connected without an error.
    package func pendingError() -> Int32 {
        redpool_socket_error(descriptor)
    }
}

/// One piece of a vectored write, laid out as C's `struct iovec`.
package struct IOPart {
    package var base: UnsafeMutableRawPointer?
    package var count: Int

    package init(base: UnsafeMutableRawPointer?, count: Int) {
        self.base = base
        self.count = count
    }
}

/// The state of a socket's peer, independent of unread bytes.
package enum PeerState {
    /// It may send more.
    case there
    /// It has finished sending. The bytes that it has sent can still be read.
    case ended
    /// The connection is broken.
    case broken
}
