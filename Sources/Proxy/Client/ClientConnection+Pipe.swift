// A pipe: bytes go through as they are, both ways. The client's are still looked at, so that what
// the pool refuses does not get through here either.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// What is known of a pipe.
    struct Pipe: Equatable {
        var view = PipeView.watching
        /// The last bytes went to the server, so it probably owes an answer.
        var isOwed = false
    }

    /// How the bytes of a pipe's client are looked at.
    enum PipeView {
        /// At the beginning of a command, or inside one whose name is still coming in.
        case watching
        /// Inside of a long command that may pass.
        case passing
        /// Inside of a long command that may not.
        case dropping
        /// Not RESP any more: the server is told so in its place, says so, and closes.
        case blind
    }

    /// The pipe of a client that has one.
    private var pipe: Pipe {
        get { if case .piped(let pipe) = mode { pipe } else { Pipe() } }
        set { if case .piped = mode { mode = .piped(newValue) } }
    }

    /// Bytes have come for it.
    func pipeIsAnswered() { pipe.isOwed = false }

    func pass(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard let upstream, count > 0 else { return }
        pipe.isOwed = true
        upstream.stream(bytes, count: count)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
    }

    /// Passes on the command at `start`, or as much of it as has come. Returns where it has got to.
    func passCommand(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int) -> Int {
        if pipe.view == .blind { return count }
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        switch scanner.scan(buffer.span, frameStart: start, limits: worker.limits.loggedIn) {
        case .command(let frame):
            let isRefused =
                pipe.view == .watching
                ? refuses(buffer.span, frame) : pipe.view == .dropping
            if isRefused, pipe.view == .watching { passStandIn() }
            if !isRefused { pass(bytes + start, frame.end - start) }
            pipe.view = .watching
            return frame.end
        case .inline(let lineStart, let lineEnd, let next):
            worker.turn.spend(Turn.line)
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

    /// What is malformed to us may be well-formed to the server, which has other limits, and it has
    /// not been looked at: the server gets something that is malformed in the same way to any
    /// server, says so, and closes.
    private func passMalformed(_ error: ProtocolError) {
        // Of a frame that passes already, the first line has been sent.
        let isInside = pipe.view == .passing
        pipe.view = .blind
        error.example(isInside: isInside).withUnsafeBytes {
            if let base = $0.baseAddress { pass(base, $0.count) }
        }
    }

    /// A command that is still coming in passes as soon as it is known what it is.
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
        }
        let name = UnknownName(frame, in: span, table: worker.table)
        // A name that no command can have might be read as one that is denied.
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

    /// In place of a refused command: one that the server refuses in its own way, so that order and
    /// number of replies stay what they are.
    private func passStandIn() {
        ClientConnection.refusedCommand.withUnsafeBytes {
            if let base = $0.baseAddress { pass(base, $0.count) }
        }
    }
}
