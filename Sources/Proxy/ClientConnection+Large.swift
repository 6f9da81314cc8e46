// Large commands: they do not wait for their own end, but stream through an upstream of their own.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// A command that is still coming in.
    func handleUnfinished(_ span: Span<UInt8>, _ start: Int) {
        let size = scanner.scanned + scanner.payloadRemaining
        // Without its end it will never be a command.
        guard size > ClientConnection.streamThreshold, !inputEnded else { return }
        if refuseIfDenied() {
            mode = .swallowing
            return
        }
        if inFlight > 0 {
            mode = .barrier
            return
        }
        if mode == .held {
            _ = becomePipe()
            return
        }
        guard canStream(span, start) else {
            _ = beginPipe()
            if mode == .open { mode = .swallowing }
            return
        }
        guard let own = lease(.pin, key) else {
            if mode == .open { mode = .swallowing }
            return
        }
        take(own, .plain, 0, bytes: 0)
        mode = .streaming
    }

    /// True for commands with one reply and no effect on the session.
    private func canStream(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard let partial = scanner.partialFrame else { return false }
        let command = worker.table.find(
            span, nameStart: start + partial.nameStart, nameLength: partial.nameLength)
        guard let info = worker.table.info(command), !info.hasSubcommands else { return false }
        switch info.commandClass {
        case .share, .shareSlow, .admin, .pinReply, .pinReplyIfBlock: return true
        default: return false
        }
    }

    /// Passes on (or throws away) what has come of a large command. Returns the next position.
    func streamOn(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int) -> Int {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let end: Int
        let isWhole: Bool
        switch scanner.scan(buffer.span, frameStart: start, limits: ClientConnection.limits) {
        case .command(let frame):
            end = frame.end
            isWhole = true
        case .incomplete:
            end = start + scanner.scanned
            scanner.takeScanned()
            isWhole = false
        case .inline, .skip:
            preconditionFailure("a command cannot turn into something else half-way")
        case .invalid(let error):
            var reply: [UInt8] = []
            Encode.error(error, into: &reply)
            replyBytes(reply)
            closeAfterFlush(.protocol_error)
            return count
        }
        if mode == .streaming, let upstream {
            upstream.stream(bytes + start, count: end - start)
            if isWhole { mode = .exclusive(isBlocking: false) }
            if upstream.isFull(for: self) { pause(.upstreamFull) }
        } else if isWhole {
            mode = .open
        }
        return end
    }
}
