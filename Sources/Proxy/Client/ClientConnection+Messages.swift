// What a client that listens does with a message: it goes behind what waits for the client, or, if
// the client has had a part of a frame, behind the end of that frame. Where frames end is seen in
// the bytes that the client gets, whichever way they have come.

import Config
import EventLoop
import Pool
import RESP
import Session

/// What is known of a client as a listener of messages.
struct Listening: OptionSet {
    let rawValue: UInt8
    /// Messages may come between its replies.
    static let isOn = Listening(rawValue: 1)
    /// The client has had a part of a frame: see `OpenFrame`.
    static let isInside = Listening(rawValue: 2)
    /// It is closed in this iteration.
    static let isDoomed = Listening(rawValue: 4)
}

/// A frame of which a listener has had a part, and the messages that wait for its end.
final class OpenFrame {
    fileprivate var scanner: ReplyScanner
    fileprivate var parked = OutputBuffer()

    fileprivate init(_ scanner: ReplyScanner) { self.scanner = scanner }
}

extension ClientConnection {
    /// The most that the kernel takes for a listener and has not sent, in bytes. Without a limit a
    /// listener that does not read ties up megabytes there.
    private static let unsentLimit: Int32 = 128 << 10

    /// Messages come from now on. What the client has been sent ends with a whole frame.
    func beginListening() {
        guard !listening.contains(.isOn), channel.isOpen else { return }
        listening.insert(.isOn)
        channel.limitUnsent(to: ClientConnection.unsentLimit)
    }

    /// No message comes any more.
    func endListening() {
        guard listening.contains(.isOn), channel.isOpen else { return }
        listening.remove(.isOn)
        channel.limitUnsent(to: 0)
    }

    /// Takes a message. Nothing is written or closed before the epilogue.
    func receive(_ message: inout SharedMessage) {
        guard channel.isOpen, !listening.contains(.isDoomed) else { return }
        if case .closing = mode { return }
        assert(listening.contains(.isOn), "a message for a client that does not listen")
        let part = worker.part(of: &message, as: key.protocolVersion == 3 ? .push : .array)
        if listening.contains(.isInside), let open = extras?.openFrame {
            open.parked.append(part, waitsLong: true, pool: worker.chunks)
        } else {
            let isFull = channel.isAwaitingWritable
            output.append(part, waitsLong: isFull, pool: worker.chunks)
            if !isFull { worker.writeLater(self) }
        }
        if messageBytes > ClientConnection.outputHighWater { boundMessages() }
    }

    /// Takes a message that nobody else gets, in the form that this client wants. It is copied.
    func receive(alone frame: UnsafeRawBufferPointer) {
        guard channel.isOpen, !listening.contains(.isDoomed), let base = frame.baseAddress
        else { return }
        if case .closing = mode { return }
        if listening.contains(.isInside), let open = extras?.openFrame {
            open.parked.append(base, count: frame.count, pool: worker.chunks)
        } else {
            output.append(base, count: frame.count, pool: worker.chunks)
            worker.markDirty(self)
        }
        if messageBytes > ClientConnection.outputHighWater { boundMessages() }
    }

    /// Bytes that wait for the client.
    private var messageBytes: Int { output.count + parkedBytes }

    /// Bytes of messages that wait for the end of a frame.
    var parkedBytes: Int {
        listening.contains(.isInside) ? extras?.openFrame?.parked.count ?? 0 : 0
    }

    /// Nothing holds messages back, so a listener that does not read them is closed.
    private func boundMessages() {
        guard messageBytes > pool.config.clientOutputLimit else { return }
        listening.insert(.isDoomed)
        worker.doom(self, .output_limit)
    }

    /// The end of a listener that was doomed in this iteration.
    func closeListener(_ reason: ClientCloseReason) {
        guard channel.isOpen else { return }
        if reason == .output_limit { closeAtLimit() } else { close(reason) }
    }

    /// Writes what waits, when this listener comes to its write. Returns false if there is nothing
    /// to do: it has been written meanwhile, or the socket is full.
    func writeMessages() -> Bool {
        lists.remove(.fanOut)
        guard channel.isOpen, !output.isEmpty, !channel.isAwaitingWritable else { return false }
        flush()
        return true
    }

    // MARK: Frames

    /// Takes bytes of replies to a listener, and puts parked messages behind the first frame that
    /// ends in them.
    func follow(_ bytes: UnsafeRawPointer, count: Int) {
        let open = extras?.openFrame
        var scanner = open?.scanner ?? ReplyScanner()
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        var start = 0
        while start < count {
            let isParking = open?.parked.isEmpty == false
            guard let end = scan(buffer.span, from: start, &scanner, isParking) else {
                // Nobody knows any more where a message may stand.
                listening.insert(.isDoomed)
                worker.doom(self, .upstream_lost)
                return
            }
            put(bytes + start, count: end - start)
            start = end
            if isParking, !scanner.isInside, let open {
                output.append(all: &open.parked)
                worker.writeLater(self)
            }
        }
        keep(scanner, open)
    }

    /// The end of the bytes, or, if messages are parked, of the first frame that ends in them. Nil
    /// if they are no frames.
    private func scan(
        _ span: Span<UInt8>, from start: Int, _ scanner: inout ReplyScanner, _ isParking: Bool
    ) -> Int? {
        var position = start
        while position < span.count {
            if !scanner.isInside { scanner.passesLines = monitorFilter != nil }
            switch scanner.scan(span, from: position) {
            case .complete(let end):
                position = end
                if isParking { return end }
            case .incomplete: return span.count
            case .invalid: return nil
            }
        }
        return position
    }

    private func keep(_ scanner: ReplyScanner, _ open: OpenFrame?) {
        if !scanner.isInside {
            guard open != nil else { return }
            listening.remove(.isInside)
            extras?.openFrame = nil
        } else if let open {
            open.scanner = scanner
        } else {
            listening.insert(.isInside)
            ownExtras.openFrame = OpenFrame(scanner)
        }
    }

    /// The rest of the frame never comes, or the client is closed: nor do the messages behind it.
    func dropParked() {
        guard let open = extras?.openFrame else { return }
        open.parked.drop(pool: worker.chunks)
        extras?.openFrame = nil
        listening.remove(.isInside)
    }
}
