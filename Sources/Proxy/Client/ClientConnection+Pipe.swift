// A pipe: bytes pass through unchanged in both directions. The client's commands are still scanned,
// so a command that the pool refuses does not get through.

import Config
import EventLoop
import Pool
import RESP
import Session
import Telemetry

extension ClientConnection {
    /// The state of a pipe.
    struct Pipe: Equatable {
        var view = PipeView.watching
        /// Bytes have gone to the server since its last ones came, so it probably owes a reply.
        var isOwed = false
    }

    /// How the client's bytes are treated.
    enum PipeView {
        /// At the start of a command, or inside one whose name is not complete.
        case watching
        /// Inside a long command that is passed on.
        case passing
        /// Inside a long command that is refused.
        case dropping
        /// The client has sent bytes that are not RESP. The server has been sent such bytes as
        /// well; it answers with an error and closes.
        case blind
    }

    /// The pipe of a client that has one.
    private var pipe: Pipe {
        get { if case .piped(let pipe) = mode { pipe } else { Pipe() } }
        set { if case .piped = mode { mode = .piped(newValue) } }
    }

    /// The server has sent bytes.
    func pipeIsAnswered() { pipe.isOwed = false }

    func pass(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard let upstream, count > 0 else { return }
        pipe.isOwed = true
        upstream.stream(bytes, count: count)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
    }

    private func countPiped() {
        counted.commands &+= 1
        pool.traffic.commandsPinned += 1
    }

    /// Passes on the command at `start`, or as much of it as has come. Returns the new position.
    func passCommand(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int) -> Int {
        if pipe.view == .blind { return count }
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        switch scanner.scan(buffer.span, frameStart: start, limits: worker.limits.loggedIn) {
        case .command(let frame):
            countPiped()
            let isRefused =
                pipe.view == .watching
                ? refuses(buffer.span, frame) : pipe.view == .dropping
            if isRefused, pipe.view == .watching { passStandIn() }
            if !isRefused { pass(bytes + start, frame.end - start) }
            pipe.view = .watching
            return frame.end
        case .inline(let lineStart, let lineEnd, let next):
            worker.turn.spend(Turn.line)
            countPiped()
            if refusesLine(buffer, lineStart, lineEnd) {
                passStandIn()
            } else {
                pass(bytes + start, next - start)
            }
            return next
        case .skip(let next):
            worker.turn.spend(Turn.blank)
            pass(bytes + start, next - start)
            return next
        case .incomplete:
            return passUnfinished(bytes, buffer.span, start)
        case .invalid(let error):
            passMalformed(error)
            return count
        }
    }

    /// Ends a pipe after bytes that are not RESP. The server has other limits, and might read these
    /// bytes as commands that Redpool has not checked. So Redpool sends other bytes with the same
    /// error. Every server rejects those with an error and closes.
    private func passMalformed(_ error: ProtocolError) {
        // The first line of this frame is already at the server.
        let isInside = pipe.view == .passing
        pipe.view = .blind
        error.example(isInside: isInside).withUnsafeBytes {
            if let base = $0.baseAddress { pass(base, $0.count) }
        }
    }

    /// Passes on an incomplete command as soon as its name is known.
    private func passUnfinished(
        _ bytes: UnsafeMutableRawPointer, _ span: Span<UInt8>, _ start: Int
    ) -> Int {
        if pipe.view == .watching {
            let isRefused: Bool
            switch unfinishedCommand(span, start) {
            case .notYet: return start
            case .known(_, let isDenied): isRefused = isDenied
            case .impossible: isRefused = true
            }
            if isRefused { passStandIn() }
            pipe.view = isRefused ? .dropping : .passing
        }
        let end = start + scanner.scanned
        if pipe.view == .passing { pass(bytes + start, end - start) }
        scanner.takeScanned()
        return end
    }

    private func refuses(_ span: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        let command = worker.table.find(span, frame)
        if let info = worker.table.info(command) {
            return pool.denyList.refuses(command) || !info.isNamedExactly(span, frame)
                || mayNotPass(command, arguments: frame.argumentCount)
        }
        let name = UnknownName(frame, in: span, table: worker.table)
        // A server might read an invalid name as that of a refused command.
        return pool.deniedStrangers.refuses(name.asRead) || !name.canBeAskedFor
            || pool.withholds(name)
    }

    private func refusesLine(
        _ buffer: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int
    ) -> Bool {
        let line = UnsafeBufferPointer(rebasing: buffer[start..<end])
        guard let words = InlineParser.split(line.span), !words.isEmpty else { return false }
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        var once = CommandScanner()
        guard
            case .command(let frame) = once.scan(
                encoded.span, frameStart: 0, limits: worker.limits.loggedIn)
        else { return false }
        return refuses(encoded.span, frame)
    }

    /// Replaces a refused command by one that the server refuses. So the number and the order of
    /// replies stay the same.
    private func passStandIn() {
        pool.warnRefused(
            Outage.denied,
            "a command in denyCommands of pool \(pool.config.name), or a login, in a pipe")
        ClientConnection.refusedCommand.withUnsafeBytes {
            if let base = $0.baseAddress { pass(base, $0.count) }
        }
    }
}
