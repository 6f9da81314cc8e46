// A socket and its libevent registrations. They are closed in a fixed order: events first, then the
// descriptor. After `close()` no callback of this channel can start.

internal import CLibevent
internal import Glibc

/// Owns one non-blocking descriptor. Read interest is a persistent registration that lasts as long
/// as the channel, because re-adding it in each iteration would cost an epoll_ctl each time. Write
/// interest is one-shot, and armed only after a short write.
package struct Channel: ~Copyable {
    package private(set) var descriptor: Int32
    private var interest = Interest.none
    /// The event also holds the base, the callback and its argument; nil once closed.
    private var readEvent: UnsafeMutablePointer<event>?
    private var writeEvent: UnsafeMutablePointer<event>?
    private let onWritable: EventCallback?

    /// What the persistent registration waits for. Changes freely: `none` <-> `reading` <->
    /// `endOnly`.
    private enum Interest: UInt8 {
        case none
        case reading
        /// Reading is paused, but the end of the connection is still noticed.
        case endOnly
    }

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
    }

    private mutating func register(_ wanted: Interest, flags: Int16) {
        guard interest != wanted, let event = readEvent else { return }
        if interest != .none { event_del(event) }
        // The registrations of a descriptor must be all edge-triggered, or none of them.
        let isWriteArmed = isWriteArmed
        if isWriteArmed, let writeEvent { event_del(writeEvent) }
        event_assign(
            event, event_get_base(event), descriptor, flags, event_get_callback(event),
            event_get_callback_arg(event))
        event_add(event, nil)
        interest = wanted
        if isWriteArmed, let writeEvent { arm(writeEvent) }
    }

    private var isWriteArmed: Bool {
        writeEvent.map { event_pending($0, redpool_ev_write, nil) != 0 } ?? false
    }

    private func arm(_ event: UnsafeMutablePointer<event>) {
        guard let readEvent else { return }
        let edge = interest == .endOnly ? redpool_ev_edge : 0
        event_assign(
            event, event_get_base(readEvent), descriptor, redpool_ev_write | edge, onWritable,
            event_get_callback_arg(readEvent))
        event_add(event, nil)
    }

    /// Requests one call of `onWritable` when the socket accepts bytes again or has finished
    /// connecting.
    package mutating func awaitWritable() {
        guard readEvent != nil, !isWriteArmed else { return }
        let event = writeEvent ?? .allocate(capacity: 1)
        writeEvent = event
        arm(event)
    }

    /// Frees the memory of the write registration once it is no longer needed.
    package mutating func forgetWritable() {
        guard let event = writeEvent else { return }
        event_del(event)
        event.deallocate()
        writeEvent = nil
    }

    /// Closes the descriptor and removes every registration. Idempotent.
    package mutating func close() {
        guard descriptor >= 0 else { return }
        stopReading()
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
        if let event = writeEvent {
            event_del(event)
            event.deallocate()
        }
        _ = Glibc.close(descriptor)
    }

    /// Reads at most `count` bytes. Returns the number read, 0 at the end of the stream, or -errno.
    package func receive(into buffer: UnsafeMutableRawPointer, count: Int) -> Int {
        redpool_recv(descriptor, buffer, count)
    }

    /// Writes at most `count` bytes. Returns the number accepted, or -errno.
    package func send(_ buffer: UnsafeRawPointer, count: Int) -> Int {
        redpool_send(descriptor, buffer, count)
    }

    /// Writes several pieces with one call. Returns the number of bytes accepted, or -errno.
    package func send(_ parts: UnsafeMutableBufferPointer<IOPart>) -> Int {
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
    package var hasInput: Bool { descriptor >= 0 && redpool_is_readable(descriptor) }

    /// Shuts down the writing side. Bytes that the peer still sends can be read.
    package func finishWriting() {
        _ = redpool_shutdown_write(descriptor)
    }

    /// Bytes that the peer's kernel has acknowledged since the connection was made; nil where the
    /// transport does not report it (unix sockets).
    package func acknowledged() -> Int64? {
        let count = redpool_bytes_acknowledged(descriptor)
        return count < 0 ? nil : count
    }

    /// Bytes written that the peer has not taken yet: not acknowledged by its kernel, or, on a unix
    /// socket, not read.
    package func bytesWaiting() -> Int { Int(redpool_bytes_waiting(descriptor)) }

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
