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
        if refuseUnfinished(span, start) { return }
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

    /// A large command that the pool refuses is answered, and thrown away as it comes.
    private func refuseUnfinished(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard let command = unfinishedCommand(span, start), pool.denyList.refuses(command) else {
            return false
        }
        lastCommand = command
        if refuseCommand() == .done { mode = .swallowing }
        return true
    }

    /// The command whose arguments are still coming in; nil while it cannot be told, because its
    /// name, or the first argument of one with subcommands, has not come.
    func unfinishedCommand(_ span: Span<UInt8>, _ start: Int) -> Command? {
        guard let partial = scanner.partialFrame else { return nil }
        let name = (start: start + partial.nameStart, length: partial.nameLength)
        if let first = scanner.partialFirst {
            return worker.table.find(
                span, name: name, first: (start: start + first.start, length: first.length))
        }
        let command = worker.table.find(span, nameStart: name.start, nameLength: name.length)
        let isContainer = worker.table.info(command)?.hasSubcommands == true
        return isContainer && partial.argumentCount > 1 ? nil : command
    }

    /// True for commands with one reply and no effect on the session.
    private func canStream(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard let command = unfinishedCommand(span, start),
            let info = worker.table.info(command), !info.hasSubcommands
        else { return false }
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
        switch scanner.scan(buffer.span, frameStart: start, limits: limits) {
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
            mode = upstream?.hold == nil ? .open : .held
        }
        return end
    }
}
