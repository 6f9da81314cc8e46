// From received bytes to commands on their way: scanning, routing, leasing.

import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// What became of one command.
    private enum Outcome {
        /// It is on its way, or answered: on to the next.
        case done
        /// It has to wait; it stays at the head of the input.
        case blocked
    }

    /// Handles as many commands as possible. Returns the number of bytes that are done with.
    func handle(_ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
        var position = 0
        while position < count, channel.isOpen {
            switch mode {
            case .open:
                guard !isPausedByUpstream, let next = handleNext(bytes, count, position) else {
                    return position
                }
                position = next
            case .streaming, .swallowing:
                guard !isPausedByUpstream else { return position }
                let next = streamOn(bytes, count, position)
                if next == position { return position }
                position = next
            case .piped:
                guard !isPausedByUpstream else { return position }
                pass(bytes + position, count - position)
                return count
            case .closing:
                return count
            case .waiting, .barrier, .asking, .exclusive, .preparing:
                return position
            }
        }
        return position
    }

    /// Handles the command at `start`. Returns where the next begins, nil when it has to wait.
    private func handleNext(
        _ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int
    ) -> Int? {
        let buffer = UnsafeMutableBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        switch scanner.scan(buffer.span, frameStart: start, limits: ClientConnection.limits) {
        case .command(let frame):
            if !frame.isCanonical {
                var span = buffer.mutableSpan
                canonicalize(&span, frame: frame)
            }
            return route(buffer.span, bytes, frame) == .done ? frame.end : nil
        case .inline(let lineStart, let lineEnd, let next):
            return handleInline(buffer, lineStart, lineEnd) == .done ? next : nil
        case .skip(let next):
            return next
        case .incomplete:
            handleUnfinished(buffer.span, start)
            return mode == .streaming || mode == .swallowing ? start : nil
        case .invalid(let error):
            refuseProtocol(error)
            return nil
        }
    }

    private static let limits = CommandLimits()

    /// An inline command is rewritten as an array: the server must never have to guess.
    private func handleInline(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ start: Int, _ end: Int
    ) -> Outcome {
        let line = UnsafeBufferPointer(rebasing: buffer[start..<end])
        guard let words = InlineParser.split(line.span) else {
            refuseProtocol(.unbalancedQuotes)
            return .blocked
        }
        if words.isEmpty { return .done }
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        return encoded.withUnsafeMutableBufferPointer { array in
            var once = CommandScanner()
            guard
                case .command(let frame) = once.scan(
                    array.span, frameStart: 0, limits: ClientConnection.limits)
            else { return .done }
            return route(array.span, UnsafeMutableRawPointer(array.baseAddress!), frame)
        }
    }

    /// Redis's own words, then the end, after everything that came before is answered.
    private func refuseProtocol(_ error: ProtocolError) {
        scanner = CommandScanner()
        if inFlight > 0 {
            mode = .barrier
            return
        }
        replyError("ERR " + error.message)
        closeAfterFlush(.protocol_error)
    }

    // MARK: Routing

    private func route(
        _ span: Span<UInt8>, _ bytes: UnsafeMutableRawPointer, _ frame: CommandFrame
    ) -> Outcome {
        if refuseIfDenied() { return .done }
        let command = worker.table.find(span, frame)
        var way = worker.table.route(command, span, frame)
        if way == .ask {
            guard let learned = routeOfUnknown(span, frame) else { return .blocked }
            way = learned
        }
        let start = UnsafeRawPointer(bytes + frame.start)
        let length = frame.end - frame.start
        switch way {
        case .share, .ask: return forward(.shared, .plain, start, length)
        case .slow: return forward(.slow, .plain, start, length)
        case .mirror:
            guard let change = IdentityChange(span, frame) else {
                return forward(.shared, .plain, start, length)
            }
            let outcome = forward(.shared, change.expectation, start, length)
            if outcome == .done, inFlight > 0 { changes.append(change) }
            return outcome
        case .exclusive:
            let isBlocking = worker.table.info(command)?.isBlocking ?? true
            return forwardExclusive(start, length, isBlocking: isBlocking)
        case .pipe: return beginPipe()
        case .quit, .vanish:
            if inFlight > 0 { return waitForReplies() }
            if way == .quit { reply("+OK\r\n") }
            closeAfterFlush(.client_closed)
            return .done
        }
    }

    private func waitForReplies() -> Outcome {
        mode = .barrier
        return .blocked
    }

    /// True when the pool has refused the lease that the head command waited for; the error is
    /// its answer.
    private func refuseIfDenied() -> Bool {
        guard let refusal else { return false }
        self.refusal = nil
        replyError(pool.errorText(refusal))
        return true
    }

    // MARK: Shared

    private func forward(
        _ kind: LeaseKind, _ expectation: Expectation, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        let target: UpstreamConnection
        if inFlight > 0, let current = upstream {
            // What is in flight keeps its order only on its own upstream.
            pool.machine.add(current.id)
            target = current
        } else {
            guard let leased = lease(kind) else { return mode == .open ? .done : .blocked }
            target = leased
            upstream = leased
            leased.sharers += 1
        }
        inFlight += 1
        worker.statistics.commandsShared += 1
        target.inFlight.append(id, expectation)
        target.send(bytes, count: count)
        if target.isFull(for: self) { pause(.upstreamFull) }
        return .done
    }

    /// An upstream at once, or nil: then either the mode says what is waited for, or an error
    /// reply has been given and the command is done with.
    private func lease(_ kind: LeaseKind) -> UpstreamConnection? {
        if let granted {
            self.granted = nil
            if granted.stage == .ready { return granted }
        }
        switch pool.machine.lease(kind, key: key, for: WaiterID(raw: id.raw), now: worker.now) {
        case .granted(let upstream):
            guard let found = pool[upstream] else {
                preconditionFailure("the pool has lent a connection that does not exist")
            }
            return found
        case .queued(let ticket):
            mode = .waiting(ticket)
            waitsForOwnUpstream = kind == .pin || kind == .control
            pool.hasWork = true
            return nil
        case .refused(let refusal):
            replyError(pool.errorText(refusal))
            return nil
        }
    }

    /// The pool hands over an upstream. False when this client does not wait any more.
    func granted(_ upstream: UpstreamConnection) -> Bool {
        guard channel.isOpen, case .waiting = mode else { return false }
        granted = upstream
        mode = .open
        worker.ready(self)
        return true
    }

    /// The pool has given up on this client's wait.
    func refused(_ refusal: Refusal) {
        guard channel.isOpen, case .waiting = mode else { return }
        self.refusal = refusal
        mode = .open
        worker.ready(self)
    }

    // MARK: An upstream of one's own

    private func forwardExclusive(
        _ bytes: UnsafeRawPointer, _ count: Int, isBlocking: Bool
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin) else { return mode == .open ? .done : .blocked }
        take(own)
        mode = .exclusive(isBlocking: isBlocking)
        own.send(bytes, count: count)
        return .done
    }

    private func take(_ own: UpstreamConnection) {
        upstream = own
        own.isExclusive = true
        own.sharers += 1
        own.inFlight.append(id, .plain)
        inFlight = 1
        worker.statistics.commandsPinned += 1
    }

    private func beginPipe() -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        guard let own = lease(.pin) else { return mode == .open ? .done : .blocked }
        upstream = own
        own.sharers += 1
        mode = .preparing
        worker.statistics.commandsPinned += 1
        own.prepare(for: self)
        return .blocked
    }

    /// The upstream of a pipe is as the client left the ones before.
    func prepared(_ own: UpstreamConnection) {
        guard channel.isOpen, mode == .preparing else { return }
        own.piped = self
        mode = .piped
        worker.ready(self)
    }

    private func pass(_ bytes: UnsafeRawPointer, _ count: Int) {
        guard let upstream else { return }
        isOwed = true
        upstream.stream(bytes, count: count)
        if upstream.isFull(for: self) { pause(.upstreamFull) }
    }

    // MARK: Large commands

    /// A command that is still coming in: a large one does not wait for its end.
    private func handleUnfinished(_ span: Span<UInt8>, _ start: Int) {
        let size = scanner.scanned + scanner.payloadRemaining
        guard size > ClientConnection.streamThreshold else { return }
        if refuseIfDenied() {
            mode = .swallowing
            return
        }
        if inFlight > 0 {
            mode = .barrier
            return
        }
        guard canStream(span, start) else {
            _ = beginPipe()
            if mode == .open { mode = .swallowing }
            return
        }
        guard let own = lease(.pin) else {
            if mode == .open { mode = .swallowing }
            return
        }
        take(own)
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
    private func streamOn(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int) -> Int {
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
            replyError("ERR " + error.message)
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

    // MARK: Unknown commands

    /// The way of a command that is not in the table; nil while the server is being asked.
    private func routeOfUnknown(_ span: Span<UInt8>, _ frame: CommandFrame) -> Route? {
        var name: [UInt8] = []
        for offset in 0..<min(frame.nameLength, UnknownCommands.longestName) {
            name.append(span[frame.nameStart + offset])
        }
        if frame.nameLength > UnknownCommands.longestName { return .share }
        if let known = pool.unknownCommands.route(of: name) { return known }
        if let lesson {
            self.lesson = nil
            return lesson
        }
        var question: [UInt8] = []
        Encode.command([Array("COMMAND".utf8), Array("INFO".utf8), name], into: &question)
        let outcome = question.withUnsafeBytes {
            forward(.shared, .commandInfo, $0.baseAddress!, $0.count)
        }
        switch outcome {
        case .blocked: return nil
        case .done where upstream == nil: return nil
        case .done:
            askedName = name
            mode = .asking
            return nil
        }
    }

    /// The server's answer to COMMAND INFO has come.
    func learnedCommand(_ reply: [UInt8]) {
        let (route, isLasting) = UnknownCommands.judge(reply)
        if isLasting { pool.unknownCommands.learn(askedName, route) } else { lesson = route }
        askedName = []
        if mode == .asking { mode = .open }
        answered(1)
        worker.ready(self)
    }

    /// The oldest change of identity whose reply has come.
    func takeMirror() -> IdentityChange {
        changes.removeFirst()
    }
}
